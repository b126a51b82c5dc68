#!/usr/bin/env python3
"""Is the README's recipe for a new stream complete?  Follows it in a copy of the sources, and runs all tests there.

    test/recipe_test.py

The stream is made up and has all that makes one hard: it is a child's child, its rows are bare strings, and its key is
put together by the tap.  MAKE names make.  Output is TAP (Test Anything Protocol).
"""

import sys

sys.dont_write_bytecode = True

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAKE = os.environ.get("MAKE", "make")
# What this run was told about its own build does not hold for the copy's.
FOREIGN = re.compile(r"MAKEFLAGS|MFLAGS|MAKELEVEL|MAKEOVERRIDES|TAP|SEGMENTD|WRAP|BUILD|TEST_R.*|HARNESS_.*|GIT_.*")
CLEAN = {name: value for name, value in os.environ.items() if not FOREIGN.fullmatch(name)}
JOBS = f"-j{os.cpu_count() or 1}"

# --- the recipe

NAME = "subscription_notes"
SCHEMA = """{
  "type": "object",
  "properties": {
    "subscriptionId": {"type": ["null", "string"]},
    "note": {"type": ["null", "string"]}
  }
}
"""
ROW = """\
	{STREAM(subscription_notes, BY_NAME("subscriptionId", "note"), .parent = "destination_subscriptions"),
	 .path = "/destinations/{destinationId}/subscriptions/{id}/notes", PAGED("notes", V1, 200),
	 .shape = ROWS_TEXTS, .add = PAIRS({"subscriptionId", "{id}"}, {"note", "{.}"}),
	 .needs = "access to destinations and their notes",
	 .cost = "D + subscriptions"},
"""
FUNCTIONS = """\
/* ---- Notes ---- */

static size_t notes_count(const struct query *q)
{
	return q->second % 3;
}

static void notes_row(const struct query *q, size_t i, struct row *row)
{
	grandchild_row(q, i, row);
	row->ordinal = i + 1;
}

static bool check_notes(struct query *q)
{
	return q->second / 4 == q->parent ||
	       refuse(q, 404, "not-found", NULL, "The subscription does not belong to this destination.");
}

"""
OPERATION = """\
	{"/destinations/{}/subscriptions/{}/notes", DESTINATIONS, NOTES, "notes", STABLE, PAGED, .model = note,
	 .count = notes_count, .row = notes_row, .flags = TEXTS, .special = {SUBSCRIPTIONS, check_notes}},
"""
MODEL_ROW = """\
    _more(
        "subscription_notes",
        "/destinations/{destinationId}/subscriptions/{id}/notes",
        "notes",
        ("subscriptionId", "note"),
        parent="destination_subscriptions",
        shape="texts",
        add={"subscriptionId": "{id}", "note": "{.}"},
    ),
"""
# Subscriptions 4 to 15 of the demo workspace, as many notes each as its number leaves divided by three.
ROWS = 12

# What stands before which line of which file.
INSERTED = (
    ("streams.c", "\t{STREAM(warehouse_connected_sources,", ROW),
    ("test/segmentd.c", "\tREGULATIONS,\n", "\tNOTES,\n"),
    ("test/segmentd.c", "\t      [RULES] =", '\t      [NOTES] = {"note", 0, 0, 0, 1, 0, SOURCE_CATALOG},\n'),
    (
        "test/segmentd.c",
        "static const struct field regulation[] =",
        'static const struct field note[] = {{"", OWN_TEXT, 0, NULL}, {0}};\n',
    ),
    ("test/segmentd.c", "/* ---- Events by group and day ---- */", FUNCTIONS),
    ("test/segmentd.c", '\t{"/regulations",', OPERATION),
    ("test/segment.py", '    _more(\n        "warehouse_connected_sources",', MODEL_ROW),
)
SCHEMA_FILE = f"schemas/{NAME}.json"
TOUCHED = sorted({SCHEMA_FILE, *(path for path, _, _ in INSERTED)})


def insert(copy, paths):
    """The recipe's lines in some of its files."""
    for path, before, lines in INSERTED:
        if path in paths:
            file = copy / path
            text = file.read_text("utf-8")
            if text.count(before) != 1:
                raise SystemExit(f"Bail out! {path}: stands there not once, which this test counts on: {before!r}")
            file.write_text(text.replace(before, lines + before), "utf-8")


# --- TAP


class Report:
    """Counts checks and prints them."""

    run = failed = 0

    def ok(self, passed, name, *why):
        """One check; why is shown if it failed."""
        self.run += 1
        print("ok" if passed else "not ok", self.run, "-", name, flush=True)
        if not passed:
            self.failed += 1
            print("\n".join(f"# {line}" for text in why for line in str(text).splitlines()[-60:]), flush=True)

    def equal(self, got, expected, name):
        """Are two values the same?"""
        self.ok(got == expected, name, f"expected {expected!r}", f"got      {got!r}")


REPORT = Report()


# --- the copy


class Copy:
    """The sources as git knows them, without anything built; changes are told by a repository of its own beside it."""

    def __init__(self, folder):
        self.path = Path(folder, "tree")
        self.git = ["git", f"--git-dir={folder}/git", f"--work-tree={self.path}"]
        for name in sources():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.path / name, follow_symlinks=False)
        for words in (["init", "-q"], ["add", "-A"]):
            subprocess.run([*self.git, *words], cwd=self.path, env=CLEAN, check=True, capture_output=True)

    def run(self, *command):
        """A command there: its exit status and all that it said."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            status = subprocess.run(
                command, cwd=self.path, env={**CLEAN, "FEW": "1"}, stdout=output, stderr=output
            ).returncode
            output.seek(0)
            return status, output.read()

    def changed(self):
        """Files that are there, or other than they were, and are no products of the build."""
        changed = self.run(*self.git, "diff", "--name-only")[1]
        return sorted((changed + self.run(*self.git, "ls-files", "--others", "--exclude-standard")[1]).split())


def sources():
    """The files that git knows or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, env=CLEAN, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


# --- checks


def check_readme():
    """The recipe names the files that are touched here, and no others."""
    text = (ROOT / "README.md").read_text("utf-8")
    recipe = re.search(r"^### Adding a stream\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    steps = re.findall(r"^\d+\. `([^`]+)`", recipe[1] if recipe else "", re.M)
    REPORT.equal(sorted(steps), sorted(p.replace(NAME, "NAME") for p in TOUCHED), "README.md names the files")
    REPORT.ok(recipe and "`make readme`" in recipe[1], "README.md names make readme")


def check_compiler(copy):
    """A schema without a row, or a row without a schema, is found by the compiler."""
    schema = copy.path / SCHEMA_FILE
    schema.write_text(SCHEMA, "utf-8")
    status, said = copy.run(MAKE, "streams.o")
    found = re.search(r"error.*\ba_row_for_each_schema\b", said)
    REPORT.ok(status != 0 and found, "a schema without a row does not compile", said)
    insert(copy.path, ["streams.c"])
    schema.unlink()
    status, said = copy.run(MAKE, "streams.o")
    found = re.search(rf"error.*\bSCHEMA_AT_{NAME}\b", said)
    REPORT.ok(status != 0 and found, "a row without a schema does not compile", said)
    schema.write_text(SCHEMA, "utf-8")
    insert(copy.path, ["test/segmentd.c", "test/segment.py"])


def check_table(copy):
    """The README's table is the only thing that is behind, and make readme brings it up to date."""
    status, said = copy.run(MAKE, JOBS)
    REPORT.ok(status == 0, "the copy is built", said)
    REPORT.equal(copy.changed(), TOUCHED, "nothing else was touched")
    said = copy.run("test/contrib_test.py")[1]
    failed = re.findall(r"^not ok \d+ - (.*)", said, re.M)
    REPORT.ok(
        failed and all("run: make readme" in name for name in failed), "what is behind says: run make readme", *failed
    )
    before = (copy.path / "README.md").read_text("utf-8").splitlines()
    status, said = copy.run(MAKE, "readme")
    REPORT.ok(status == 0, "make readme", said)
    after = (copy.path / "README.md").read_text("utf-8").splitlines()
    new = [line for line in after if line not in before]
    counts = [re.findall(r"(\d+) streams", line) for line in new]
    REPORT.ok(
        len(after) == len(before) + 1 and len(new) == 2 and any(line.startswith(f"| {NAME} |") for line in new),
        "README.md: a row and a number, nothing else",
        *new,
        counts,
    )


def check_suite(copy):
    """All tests, with the new stream among the others."""
    status, said = copy.run(MAKE, JOBS, "test")
    totals = re.findall(r"^\d+ passed, \d+ failed.*", said, re.M)[-1:]
    (copy.path.parent / "make-test").write_text(said, "utf-8")
    failed = re.findall(r"^not ok .*", said, re.M)[:40]
    REPORT.ok(status == 0 and totals, "make test (all that it said: make-test, beside the copy)", said, *failed)
    print(f"# in the copy: {' '.join(totals)}", flush=True)
    REPORT.equal(copy.changed(), sorted([*TOUCHED, "README.md"]), "only make readme touched anything else")


def check_rows(copy):
    """The new stream, from end to end, and not only as the tests of the copy see it."""
    sys.path.insert(0, str(copy.path / "test"))
    os.environ.pop("SEGMENTD", None)
    import segment

    with segment.Server("--scale", "demo", plain=True) as server:
        config = copy.path / "build" / "config.json"
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f'{{"api_token": "{segment.TOKEN}", "start_date": "2026-01-01", "base_url": "{server.url}"}}', "utf-8"
        )
        config.chmod(0o600)
        command = [str(copy.path / "tap-segment"), "--config", str(config), "--select", NAME]
        done = subprocess.run(command, env=CLEAN, capture_output=True, text=True)
        expected = segment.Model(segment.Client(server)).expect(NAME, segment.Options(0)).records
    messages = [segment.read_json(line) for line in done.stdout.splitlines()]
    records = [m.get("record") for m in messages if m.get("type") == "RECORD" and m.get("stream") == NAME]
    REPORT.equal(done.returncode, 0, "it is read: exit status")
    REPORT.ok(
        len(records) == len(expected) == ROWS and not segment.difference(expected, records),
        f"it is read: all its {ROWS} rows, in order",
        f"{len(records)} of {len(expected)}",
        done.stderr,
    )


def main():
    """All checks; the copy stays if one of them failed."""
    folder = tempfile.mkdtemp(prefix="tap-segment-recipe-")
    check_readme()
    try:
        copy = Copy(folder)
        for check in (check_compiler, check_table, check_suite, check_rows):
            check(copy)
    finally:
        if REPORT.failed:
            print(f"# the copy: {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print(f"1..{REPORT.run}")
    return REPORT.failed != 0


if __name__ == "__main__":
    sys.exit(main())
