#!/usr/bin/env python3
"""Is what is said about the program true of it?  Man page, completions, Meltano plugin, examples, README.md.

    test/contrib_test.py

All is held against what the program itself prints (--help, --about, --discover, and how it judges a configuration),
and checked by the usual checkers where they are installed: a check whose checker is missing is skipped by name.
TAP=COMMAND runs another program (TAP='valgrind -q ./tap-segment').  Output is TAP (Test Anything Protocol).
"""

import sys

sys.dont_write_bytecode = True

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

try:
    import yaml
except ImportError:
    yaml = None

ROOT = Path(__file__).resolve().parent.parent
CONTRIB = ROOT / "contrib"
EXAMPLES = CONTRIB / "examples"
COMPLETIONS = CONTRIB / "completions"
# Whatever the machine's own settings say, a test must not depend on it.
FOREIGN = re.compile(r"(https?|all|no)_proxy|TAP_SEGMENT_.*|TAP|TARGET|STATE|(SINGER_SDK_)?LOG.*|SSL_CERT_.*", re.I)
CLEAN = {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)}


# --- TAP


class Report:
    """The lines of the Test Anything Protocol."""

    run = failed = 0

    def ok(self, passed, name, *why):
        """One check; why is shown if it failed."""
        self.run += 1
        print("ok" if passed else "not ok", self.run, "-", name, flush=True)
        if not passed:
            self.failed += 1
            for line in "\n".join(str(text)[:3000] for text in why).splitlines():
                print("#", line)

    def equal(self, got, expected, name):
        """Are two values the same?"""
        self.ok(got == expected, name, f"expected {expected!r}", f"got      {got!r}")

    def none(self, faults, name):
        """Is the sequence of complaints empty?"""
        faults = list(faults)
        self.ok(not faults, name, *faults[:20])

    def skip(self, name, tool):
        """A check that could not be made here."""
        self.run += 1
        print("ok", self.run, "-", name, f"# SKIP {tool} is not installed: contrib/deps lint", flush=True)

    def checker(self, name, *command, silent=True, **options):
        """Does a checker find nothing to complain about?  Skipped where there is none."""
        if not shutil.which(command[0]):
            self.skip(name, command[0])
            return
        done = subprocess.run(command, capture_output=True, text=True, env=CLEAN, **options)
        quiet = not silent or not done.stdout + done.stderr
        self.ok(done.returncode == 0 and quiet, name, f"exit {done.returncode}", done.stdout, done.stderr)


REPORT = Report()


# --- what the program says of itself


def _command():
    """$TAP, its files made absolute so that a run may take place in another folder."""
    words = shlex.split(os.environ.get("TAP", "./tap-segment"))
    return [os.path.abspath(word) if os.path.isfile(word) else word for word in words]


COMMAND = _command()
BIN = tempfile.mkdtemp(prefix="tap-segment-path-")  # a folder for on_path, gone at the end


def tap(*args, **environment):
    """One run of the program."""
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, env={**CLEAN, **environment})


def judge(config):
    """How the program judges a configuration, without a request: None, or its error."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"api_token": "secret", "start_date": "2026-01-01", **config}, file)
        file.flush()
        done = tap("--config", file.name, "--test=schema")
    return None if done.returncode == 0 and "WARNING" not in done.stderr else done.stderr


@dataclass(frozen=True)
class Option:
    """A row of --help's list of options."""

    name: str
    letter: str  # "" without one
    value: str  # "", required or optional
    file: bool
    choices: tuple

    @property
    def spellings(self):
        """As they are typed."""
        return [f"--{self.name}"] + ([f"-{self.letter}"] if self.letter else [])


OPTION_LINE = re.compile(
    r"  (?:-(?P<letter>\w), |    )--(?P<name>[a-z-]+)"
    r"(?:(?P<join>\[=| )(?P<value>[A-Z]+|[a-z]+(?:\|[a-z]+)+)\]?)? +(?P<text>\S.*)"
)
# "debug, info, warning, error or critical; ..."
LISTED = re.compile(r"((?:\w+, )+\w+ or \w+);")


def read_option(line):
    """An Option from its line in --help."""
    m = OPTION_LINE.fullmatch(line)
    if not m:
        raise SystemExit(f"--help: not understood: {line}")
    value = m["value"] or ""
    listed = LISTED.match(m["text"])
    choices = value.split("|") if "|" in value else re.split(", | or ", listed[1]) if value and listed else []
    kind = {"[=": "optional", " ": "required", None: ""}[m["join"]]
    return Option(m["name"], m["letter"] or "", kind, value == "FILE", tuple(choices))


def section(text, heading, end):
    """The lines after a heading up to a line that matches end."""
    lines = text.splitlines()
    start = lines.index(heading) + 1
    stop = next((i for i in range(start, len(lines)) if re.match(end, lines[i])), len(lines))
    return lines[start:stop]


def table(text, heading):
    """The rows of the table under a heading of Markdown."""
    rows = [line for line in section(text, heading, "## ") if line.startswith("|")]
    return rows[2:]


HELP = tap("--help").stdout
ABOUT = json.loads(tap("--about", "--format=json").stdout)
MARKDOWN = tap("--about", "--format=markdown").stdout
SETTINGS = ABOUT["settings"]["properties"]
OPTIONS = [read_option(line) for line in re.sub(r"\n {21,}", " ", HELP).splitlines() if re.match(r"  (-\w,|   ) --", line)]
KEYS = [line.split()[0] for line in section(HELP, "configuration:", "$") if line[2] != " "]
STREAMS = [row.split("|")[1].strip() for row in table(MARKDOWN, "## Streams")]
CATALOG = {s["tap_stream_id"]: s for s in json.loads(tap("--discover").stdout)["streams"]}


def versionless(text):
    """The version is no fact to be kept in step by hand."""
    return text.replace("tap-segment/" + ABOUT["version"], "tap-segment/VERSION")


def test_program():
    """The program's own accounts agree, so that what follows has one truth to compare with."""
    REPORT.equal(list(SETTINGS), KEYS, "--about json has the keys of --help")
    rows = [row.split("|")[1].strip() for row in table(MARKDOWN, "## Settings")]
    REPORT.equal(rows, KEYS, "--about markdown has the keys of --help")
    REPORT.equal(list(CATALOG), STREAMS, "--about markdown has the streams of --discover")
    for option in OPTIONS:
        if option.choices:
            refused = [c for c in option.choices if tap(f"--{option.name}={c}", "--version").returncode != 0]
            REPORT.equal(refused, [], f"--{option.name} takes each choice of --help")
            REPORT.equal(tap(f"--{option.name}=x", "--version").returncode, 2, f"--{option.name} takes no other")


RENEW = "(if not, run: make readme)"


def test_help():
    """It fits a terminal; its examples and its list of streams are true."""
    REPORT.none((line for line in HELP.splitlines() if len(line) > 80), "--help: no line is longer than 80 columns")
    config = json.loads(re.search(r"^  (\{.*?\})$", HELP, re.M | re.S)[1])
    REPORT.equal((list(config), judge(config)), (["api_token", "start_date", "unique_keys"], None), "--help: a config")
    examples = re.findall(r"^  --select '(.*)'$", HELP, re.M)
    done = [tap("--discover", "--select", rules) for rules in examples]
    REPORT.equal([d.returncode for d in done], [0] * 3, "--help: three examples of --select")
    for heading, plain in (("streams of a plain run:", "yes"), ("streams by name only, or all with --select '*':", "")):
        names = " ".join(section(HELP, heading, "$")).replace(",", "").split()
        rows = [row.split("|") for row in table(MARKDOWN, "## Streams")]
        REPORT.equal(names, [row[1].strip() for row in rows if row[2].strip() == plain], f"--help: {heading}")


def test_readme():
    """README.md's tables are those of --about, line for line."""
    readme = versionless((ROOT / "README.md").read_text("utf-8"))
    about = versionless(MARKDOWN)
    for heading, there in (("## Config", "## Settings"), ("## Streams", "## Streams")):
        rows = section(readme, heading, "## ")
        rows = [row for row in rows if row.startswith("|")][2:]
        expected = table(about, there)
        faults = [f"missing: {row}" for row in expected if row not in rows]
        faults += [f"surplus: {row}" for row in rows if row not in expected]
        REPORT.ok(rows == expected, f"README.md: the table under {heading} is --about's {RENEW}", *faults)
    counted = re.findall(r"(\d+) streams", readme)
    REPORT.equal(counted, [str(len(STREAMS))], f"README.md: says once how many streams there are {RENEW}")
    check_remaking(readme)
    literals = string_literals("".join(path.read_text("utf-8") for path in ROOT.glob("*.c")))
    for row in table(readme, "## Troubleshooting"):
        message = row.split("|")[1].split("`")[1].replace("status 403", "status %d")
        REPORT.ok(message in literals, f"README.md: the sources have the message: {message}")


def remake(readme, *command):
    """What contrib/readme makes of a README, and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "README.md")
        path.write_text(readme, "utf-8")
        done = subprocess.run([str(CONTRIB / "readme"), str(path), *command], capture_output=True, text=True, env=CLEAN)
        return versionless(path.read_text("utf-8")), done.returncode, os.listdir(folder)


def check_remaking(readme):
    """contrib/readme mends what is wrong in the tables, and leaves all else alone."""
    worn = re.sub(r"\d+ streams", "7 streams", re.sub(r"^\| (labels|api_token) .*\n", "", readme, flags=re.M))
    worn = worn.replace("| roles |", "| rolls |")
    made = remake(readme, *COMMAND)
    REPORT.equal(made, (readme, 0, ["README.md"]), f"README.md is as contrib/readme makes it {RENEW}")
    REPORT.equal(remake(worn, *COMMAND), made, "make readme: one with lines missing, wrong and a wrong number")
    text, status, left = remake(worn, "false")
    kept = text == worn and status != 0 and left == ["README.md"]
    REPORT.ok(kept, "make readme: nothing is lost without the program")


def exit_codes():
    """The exit statuses that the program has: those of tap.c's enumeration, success, failure, and its signals."""
    source = (ROOT / "tap.c").read_text("utf-8")
    named = {int(number) for number in re.findall(r"\bEXIT_[A-Z]+ = (\d+)", source)}
    signals = {128 + getattr(signal, name) for name in re.findall(r"\{(SIG[A-Z]+), on_stop\}", source)}
    return sorted({0, 1} | named | signals)


def numbers_of(text):
    """The numbers in a text, such as the first column of a table."""
    return [int(number) for number in re.findall(r"\d+", text)]


def test_exit_codes():
    """README.md and man page explain each of the program's exit statuses."""
    rows = [row.split("|")[1] for row in table((ROOT / "README.md").read_text("utf-8"), "## Exit codes")]
    REPORT.equal(numbers_of(" ".join(rows)), exit_codes(), "README.md: the exit codes of tap.c")
    heads = [head for head, _ in man_entries("EXIT STATUS", "") if re.match(r"\d", head)]
    REPORT.equal(numbers_of(" ".join(heads)), exit_codes(), "man page: the exit statuses of tap.c")


def string_literals(sources):
    """The string literals of C, those in pieces joined, one a line."""
    return "\n".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', re.sub(r'"\s*"', "", sources)))


# --- the man page


def man_entries(title, macro):
    """Head and body of each list entry of that macro in a section of the man page."""
    page = (CONTRIB / "tap-segment.1").read_text("utf-8")
    body = re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", page, re.M | re.S)[1]
    return re.findall(rf"^\.It {macro} ?(.*)\n((?:(?!\.(?:It|El)\b).*\n)*)", body, re.M)


MAN_FLAG = re.compile(r"(?:Fl )?(-?)([a-z][a-z-]*)(?: (Ns Op = Ns )?Ar \w+)?")


def man_option(head, body):
    """Spellings, kind of value and choices of an option as the man page has it."""
    flags = [MAN_FLAG.fullmatch(part) for part in head.split(" , ")]
    spellings = {"-" + m[1] + m[2] for m in flags}
    kinds = {"optional" if m[3] else "required" if " Ar " in m[0] else "" for m in flags}
    listed = {w for line in re.findall(r"^\.Cm (.*)$", body, re.M) for w in line.split() if w not in ",."}
    return spellings, kinds, listed


def test_man_options():
    """Options, their values and choices are --help's."""
    found = {}
    for head, body in man_entries("DESCRIPTION", "Fl"):
        spellings, kinds, listed = man_option(head, body)
        found[max(spellings, key=len)] = (spellings, kinds, listed)
    REPORT.equal(list(found), [f"--{o.name}" for o in OPTIONS], "man page: the options of --help, in its order")
    for option in OPTIONS:
        spellings, kinds, listed = found.get(f"--{option.name}", (set(), set(), set()))
        expected = set(option.choices) or ({"ENV"} if option.name == "config" else set())
        REPORT.equal(
            (spellings, kinds, listed),
            (set(option.spellings), {option.value}, expected),
            f"man page: --{option.name}: spellings, value and choices",
        )


# What a man page must say of a key for which the program says that it expects ...
EXPECTED = {
    r"an integer from (\d+) to (\d+)": ["{1} to {2}"],
    r"a number of seconds from (\d+) to (\d+)": ["{1} to {2}"],
    r"a date or date-time.*": ["date or date-time"],
    r"(\w+) or (\w+)": ["{1}", "{2}"],
    r"a string": [],
}


def must_say(key):
    """The words that the man page owes the reader of one key."""
    message = judge({key: {}}) or ""
    expected = message.rstrip().rpartition("expected ")[2]
    setting = SETTINGS[key]
    default = setting.get("default")
    words = [f"Default: {versionless(str(default)).replace('False', 'false')}."] if default is not None else []
    words += ["Required."] if key in ABOUT["settings"]["required"] else []
    for pattern, texts in EXPECTED.items():
        m = re.fullmatch(pattern, expected)
        if m:
            texts = [] if setting["type"][0] == "boolean" else texts
            return words + [text.format(m[0], *m.groups()) for text in texts]
    return [f"a known error in place of {message!r}"]


def test_man_config():
    """Configuration keys with their ranges, defaults and whether they are required."""
    entries = man_entries("CONFIGURATION", "Cm")
    REPORT.equal([head for head, _ in entries], KEYS, "man page: the keys of --help, in its order")
    for key, body in entries:
        if key in SETTINGS:
            text = re.sub(r"^\.\w+ ", "", body, flags=re.M).replace("\n", " ")
            REPORT.none((w for w in must_say(key) if w not in text), f"man page: {key}: range, default, required")


def test_man_rest():
    """What the sources read from the environment and say in the log, and mandoc's opinion."""
    names = {name for head, _ in man_entries("ENVIRONMENT", "Ev") for name in head.split(" , ")}
    sources = "".join(path.read_text("utf-8") for path in ROOT.glob("*.c"))
    table = re.search(r"environment_table\[VARIABLES\] = \{(.*?)\n\};", sources, re.S)[1]
    read = set(re.findall(r'"(\w+)"', table))
    known = {f"TAP_SEGMENT_{key.upper()}" for key in KEYS} | {"..."}
    REPORT.equal(names - known, read, "man page: the variables of tap.c's table, and no other but the keys'")
    REPORT.equal(len(re.findall(r"\bgetenv\(", sources)), 1, "the environment is read in one place")
    literals = string_literals(sources)
    for message, body in man_entries("DIAGNOSTICS", ""):
        if not body.startswith("No message"):
            pattern = ".*".join(map(re.escape, re.split(r" ?\.\.\. ?", message)))
            REPORT.ok(re.search(pattern, literals), f"man page: the sources have the message: {message}")
    REPORT.checker("man page: mandoc -Tlint", "mandoc", "-Tlint", str(CONTRIB / "tap-segment.1"))


# --- completions

BASH = COMPLETIONS / "tap-segment.bash"
ZSH = COMPLETIONS / "_tap-segment"
FISH = COMPLETIONS / "tap-segment.fish"


def on_path(folder):
    """An environment whose tap-segment is the one under test: completions ask it for the names of the streams."""
    wrapper = Path(folder, "bin", "tap-segment")
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n', "utf-8")
    wrapper.chmod(0o755)
    return {**CLEAN, "PATH": f"{wrapper.parent}:{CLEAN['PATH']}"}


def bash_offers(folder, *words):
    """What bash offers for the last of the words."""
    script = f'compopt() {{ :; }}; . {shlex.quote(str(BASH))}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
    script += '_tap_segment; [ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", script, "bash", "tap-segment", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=on_path(BIN))
    return sorted(done.stdout.splitlines()) + ([done.stderr] if done.stderr else [])


def fish_offers(folder, *words):
    """What fish offers for the last of the words."""
    script = f"source {shlex.quote(str(FISH))}; complete -C {shlex.quote(' '.join(['tap-segment', *words]))}"
    command = ["fish", "--no-config", "-c", script]
    environment = {
        **on_path(BIN),
        "HOME": folder,
        "XDG_DATA_HOME": folder + "/.data",
        "XDG_CONFIG_HOME": folder + "/.config",
    }
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    return sorted(line.split("\t")[0] for line in done.stdout.splitlines()) + ([done.stderr] if done.stderr else [])


def test_bash():
    """bash is asked the way that it asks itself."""
    REPORT.checker("bash completion: bash -n", "bash", "-n", str(BASH))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file.json").touch()
        every = sorted(s for o in OPTIONS for s in o.spellings)
        REPORT.equal(bash_offers(folder, "-"), every, "bash completion: the options of --help")
        REPORT.equal(
            bash_offers(folder, "--discover", "--co"), ["--config"], "bash completion: the rest of an option"
        )
        for option in OPTIONS:
            value = ["file.json"] if option.file else list(option.choices)
            value += ["ENV"] if option.name == "config" else STREAMS if option.name == "select" else []
            alone = value if option.value == "required" else every
            name = f"bash completion: --{option.name}"
            for spelling in option.spellings:
                words = (spelling, "" if option.value == "required" else "-")
                REPORT.equal(bash_offers(folder, *words), sorted(alone), f"{name}: after {spelling}")
            if option.value:
                REPORT.equal(bash_offers(folder, f"--{option.name}", "="), sorted(value), f"{name}: after =")
                begun = sorted(v for v in value if v.startswith(value[-1][:2]))
                got = bash_offers(folder, f"--{option.name}", "=", value[-1][:2])
                REPORT.equal(got, begun, f"{name}: after = and two letters")
        got = bash_offers(folder, "--select", "sources,iam_u")
        REPORT.equal(got, ["sources,iam_users"], "bash completion: --select: a second rule")


def fish_options():
    """Options as fish's file has them: name, (letter, kind of value, takes files, words offered)."""
    words = shlex.split(FISH.read_text("utf-8"), comments=True)
    starts = [i for i, word in enumerate(words) if word == "complete"] + [len(words)]
    for start, end in zip(starts, starts[1:]):
        line = words[start:end]
        after = {flag: line[i + 1] for i, flag in enumerate(line) if flag in ("-s", "-l", "-a") and i + 1 < len(line)}
        if "-l" in after:
            kind = "required" if {"-r", "-x"} & set(line) else "optional" if "-a" in after else ""
            yield after["-l"], (after.get("-s", ""), kind, "-F" in line, sorted(after.get("-a", "").split()))


ZSH_SPEC = re.compile(r"(?:\*|\([-a-z ]*\))?(?:\{([^}]*)\}|(-[^\[]*))\[[^\]]+\](?:(::?)\w+:(.*))?")


def zsh_options():
    """The same of zsh's file, whose options are arguments of _arguments."""
    text = ZSH.read_text("utf-8")
    for word in shlex.split(text[text.index("\n_arguments ") :]):
        m = ZSH_SPEC.fullmatch(word)
        if not m:
            continue
        names = [re.fullmatch(r"(--?[a-z-]*[a-z])([=+]?-?)", n).groups() for n in (m[1] or m[2]).split(",")]
        letter = "".join(n[1:] for n, _ in names if not n.startswith("--"))
        action = m[4] or ""
        kind = {"::": "optional", ":": "required", None: ""}[m[3]]
        files, choices = action in ("_files", "_tap_segment_config"), []
        if action.startswith("("):
            choices = action.strip("()").split()
        elif action.startswith("_tap_segment_"):
            function = text[text.index(f"\n{action}() {{") :]
            function = function[: function.index("\n}")]
            choices = ["ENV"] if "((ENV" in function else []
        for name, _ in names:
            if name.startswith("--"):
                yield name[2:], (letter, kind, files, sorted(choices))


def test_zsh_and_fish():
    """Read as text, so that nothing is missed where these shells aren't installed."""
    expected = {}
    for o in OPTIONS:
        words = list(o.choices) + (["ENV"] if o.name == "config" else [])
        expected[o.name] = (o.letter, o.value, o.file, sorted(words))
    for shell, options in (("zsh", dict(zsh_options())), ("fish", dict(fish_options()))):
        REPORT.equal(list(options), list(expected), f"{shell} completion: the options of --help, in its order")
        for name, facts in expected.items():
            got = options.get(name)
            if name == "select" and got:  # asked of the program when it is needed
                got = (*got[:3], [])
            REPORT.equal(got, facts, f"{shell} completion: --{name}: letter, value, files, choices")


def test_zsh_live():
    """zsh itself expands the file; _arguments is replaced by one that prints what it is given."""
    REPORT.checker("zsh completion: zsh -n", "zsh", "-n", str(ZSH))
    name = "zsh completion: zsh hands every spelling to _arguments"
    if not shutil.which("zsh"):
        REPORT.skip(name, "zsh")
        return
    script = f"_arguments() {{ print -rl -- $@ }}; . {shlex.quote(str(ZSH))}"
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, env=CLEAN)
    names = f'_values() {{ shift 3; print -l $@ }}; words=(tap-segment); {script}; _tap_segment_streams'
    listed = subprocess.run(["zsh", "-f", "-c", names], capture_output=True, text=True, env=on_path(BIN))
    got = listed.stdout.split("\n")[-len(STREAMS) - 1 : -1]
    REPORT.equal(got, STREAMS, "zsh completion: --select: the names that --about lists")
    found = [re.match(r"(?:\*|\([^)]*\))?(--?[a-z-]*[a-z])[=+-]*\[", line) for line in done.stdout.splitlines()]
    got = sorted(m[1] for m in found if m)
    REPORT.equal(got, sorted(s for o in OPTIONS for s in o.spellings), name)


def test_fish_live():
    """fish is asked what it would offer."""
    REPORT.checker("fish completion: fish -n", "fish", "-n", str(FISH))
    name = "fish completion: fish offers"
    if not shutil.which("fish"):
        REPORT.skip(name, "fish")
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file.json").touch()
        offered = {word.rstrip("=") for word in fish_offers(folder, "-")}
        REPORT.equal(offered, {s for o in OPTIONS for s in o.spellings}, f"{name} the options of --help")
        for option in OPTIONS:
            if option.name == "select":
                got = fish_offers(folder, "--select", "")
                REPORT.equal(got, sorted(STREAMS), f"{name} the names that --about lists")
            elif option.choices:
                got = fish_offers(folder, f"--{option.name}=")
                REPORT.equal(got, sorted(f"--{option.name}={c}" for c in option.choices), f"{name} --{option.name}'s")
            elif option.file:
                got = fish_offers(folder, f"--{option.name}", "fi")
                REPORT.equal(got, ["file.json"], f"{name} files to --{option.name}")


# --- Meltano


def select_faults(patterns):
    """Meltano's selection patterns that match no stream or field of the catalog."""
    fields = [f"{name}.{field}" for name, s in CATALOG.items() for field in s["schema"]["properties"]]
    return [p for p in patterns if not fnmatch.filter(fields, p.lstrip("!"))]


def test_meltano():
    """The plugin definition, held against --about."""
    if not yaml:
        REPORT.skip("Meltano: the plugin definition", "python3-yaml")
        return
    project = yaml.safe_load((CONTRIB / "meltano/meltano.yml").read_text("utf-8"))
    plugin = project["plugins"]["extractors"][0]
    settings = {s["name"]: s for s in plugin["settings"]}
    kinds = {"integer": "integer", "boolean": "boolean"}
    facts = [plugin[k] for k in ("name", "namespace", "executable", "description")]
    expected = [ABOUT["name"], ABOUT["name"].replace("-", "_"), ABOUT["name"], ABOUT["description"]]
    REPORT.equal(facts, expected, "Meltano: name, namespace, executable and description")
    REPORT.ok("pip_url" not in plugin, "Meltano: no pip_url, so nothing to install")
    REPORT.equal(plugin["capabilities"], ABOUT["capabilities"], "Meltano: the capabilities of --about")
    REPORT.equal(list(settings), KEYS, "Meltano: the settings of --about, in its order")
    for key, s in settings.items():
        about = SETTINGS.get(key, {"type": [""]})
        kind = "date_iso8601" if about.get("format") == "date-time" else kinds.get(about["type"][0], "string")
        options = {judge({key: o["value"]}) for o in s.get("options", [])}
        REPORT.equal(s["description"], about.get("description"), f"Meltano: {key}: description")
        REPORT.equal("string" if options == {None} else s.get("kind", "string"), kind, f"Meltano: {key}: kind")
        REPORT.ok(s.get("sensitive") or not about.get("secret"), f"Meltano: {key}: a secret is sensitive")
    REPORT.equal(plugin["settings_group_validation"], [ABOUT["settings"]["required"]], "Meltano: required settings")
    REPORT.equal(judge(plugin["config"]), None, "Meltano: the program takes the config")
    REPORT.none(select_faults(plugin["select"]), "Meltano: each selection names a stream's fields")
    REPORT.ok("version" not in project, "Meltano: no version, of which Meltano 4 warns")
    alone = yaml.safe_load((CONTRIB / "meltano/tap-segment.yml").read_text("utf-8"))
    chosen = {"config", "select"}
    REPORT.equal(alone, {k: v for k, v in plugin.items() if k not in chosen}, "Meltano: the plugin alone is the same")
    guide = (CONTRIB / "meltano/README.md").read_text("utf-8")
    REPORT.ok("add tap-segment --from-ref tap-segment.yml" in guide, "Meltano: the guide adds the plugin alone")
    REPORT.ok("umask 077" in guide, "Meltano: the guide names umask 077")


# --- cron, systemd, Kubernetes

# Exit statuses after which trying again is no use: EXIT_USAGE and EXIT_REFUSED.
HOPELESS = [2, 4]
YAML_RULES = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"


def command_faults(command):
    """Options in a command line of the tap that it does not have."""
    names = {s for o in OPTIONS for s in o.spellings}
    words = shlex.split(command)
    return [w for w in words[1:] if w.startswith("-") and w.split("=")[0] not in names]


def test_commands():
    """Every command line of the tap has options that there are; what each run writes has a name of its own."""
    names = {s for o in OPTIONS for s in o.spellings}
    files = [CONTRIB / "Dockerfile", CONTRIB / "tap-segment.1"]
    for path in [ROOT / "README.md", *CONTRIB.rglob("*.md"), *EXAMPLES.iterdir(), *files]:
        # As an argument of these the tap is only named.
        text = re.sub(r"(meltano (add|select|config)|kubectl|docker build) .*", "", path.read_text("utf-8"))
        commands = re.findall(r"(?:tap-segment|segment-sync) (--?\w[^|>`\"\n,}]*)", text)
        used = {word for command in commands for word in re.findall(r"(?:^|\s)(--?[a-z][a-z-]*)", command)}
        REPORT.none(used - names, f"{path.relative_to(ROOT)}: the options of its command lines")
        outputs = re.findall(r"\S*%Y\S*\.jsonl", text)
        REPORT.none((o for o in outputs if "%S" not in o), f"{path.relative_to(ROOT)}: outputs have the time of day")


def test_cron():
    """Syntax by cron itself, and five fields before the command."""
    usage = shutil.which("crontab") and subprocess.run(["crontab", "-h"], capture_output=True, text=True).stderr
    for path in sorted(EXAMPLES.glob("crontab*")):
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        jobs = [line for line in lines if not re.match(r"\w+=", line)]
        field = r"(\*|\d+(-\d+)?)(/\d+)?"
        faults = [job for job in jobs if not re.match(rf"({field} ){{5}}[\w/]", job) or re.search(r"(?<!\\)%", job)]
        REPORT.none(faults, f"{path.name}: five fields, then a command without cron's percent signs")
        if not usage or "-n\t(dry run" not in usage:
            REPORT.skip(f"{path.name}: cron's own check", "Debian's crontab -n")
        else:
            REPORT.checker(f"{path.name}: cron's own check", "crontab", "-n", str(path), silent=False)


def text_of(example):
    """The text of one of the examples."""
    return (EXAMPLES / example).read_text("utf-8")


def test_systemd():
    """systemd's own check; the commands are looked for in this folder, not where they will be installed."""
    name, folder = "systemd: systemd-analyze verify", tempfile.mkdtemp()
    on_path(BIN)
    for unit in ("tap-segment.service", "tap-segment.timer"):
        text = text_of(unit)
        Path(folder, unit).write_text(text.replace("/usr/local/bin/", f"{BIN}/bin/"), "utf-8")
    REPORT.checker(name, "systemd-analyze", "--man=no", "verify", f"{folder}/tap-segment.timer", cwd=folder)
    prevented = re.search(r"^RestartPreventExitStatus=(.*)$", text_of("tap-segment.service"), re.M)
    REPORT.equal(numbers_of(prevented[1]), HOPELESS, "systemd: no second try where somebody must act")
    shutil.rmtree(folder)


def example_environment(env):
    """How the program judges settings from environment variables, without a request."""
    settings = {k: v for k, v in env.items() if k.startswith("TAP_SEGMENT_")}
    unknown = [k for k in settings if k not in {f"TAP_SEGMENT_{key.upper()}" for key in KEYS}]
    done = tap("--config", "ENV", "--test=schema", **settings)
    return unknown + ([done.stderr] if done.returncode else [])


def cron_job(example, action):
    """A claim and a CronJob in YAML: what kubectl would say about names that don't meet, without a cluster.

    Returns the job, its pod and its one container.
    """
    claim, cron = yaml.safe_load_all(text_of(example))
    kinds = [(d["apiVersion"], d["kind"]) for d in (claim, cron)]
    REPORT.equal(kinds, [("v1", "PersistentVolumeClaim"), ("batch/v1", "CronJob")], f"{example}: kinds")
    REPORT.equal(len(cron["spec"]["schedule"].split()), 5, f"{example}: a schedule of five fields")
    REPORT.equal(cron["spec"]["concurrencyPolicy"], "Forbid", f"{example}: one run at a time")
    job = cron["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    rules = [rule for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
    codes = {"containerName": container["name"], "operator": "In", "values": HOPELESS}
    wanted = [{"action": action, "onExitCodes": codes}]
    REPORT.equal(rules, wanted, f"{example}: no second try where somebody must act")
    REPORT.equal(pod["restartPolicy"], "Never", f"{example}: ... which needs pods that are not restarted")
    mounts, volumes = ({item["name"] for item in items} for items in (container["volumeMounts"], pod["volumes"]))
    REPORT.equal(mounts, volumes, f"{example}: every volume is mounted")
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    REPORT.equal(claims, [claim["metadata"]["name"]], f"{example}: the claim is used")
    return job, pod, container


def test_kubernetes():
    """One workspace, its settings in the environment, into a target."""
    if not yaml:
        REPORT.skip("Kubernetes: the CronJob", "python3-yaml")
        return
    example = "cronjob.yaml"
    _, _, container = cron_job(example, "FailJob")
    env = {e["name"]: e.get("value", "secret") for e in container["env"]}
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    REPORT.ok(env["STATE"].startswith(mounts["data"] + "/"), f"{example}: the state is on the claim's volume")
    REPORT.none(example_environment(env), f"{example}: the program takes the settings")
    REPORT.none(command_faults(env["TAP"]), f"{example}: the tap's options")


def test_workspaces():
    """Many of them, an index each: a folder of the index's own, in which is all that the tap is told to use."""
    if not yaml:
        REPORT.skip("Kubernetes: the Indexed Job", "python3-yaml")
        return
    example = "workspaces.yaml"
    job, pod, container = cron_job(example, "FailIndex")
    REPORT.equal(job["completionMode"], "Indexed", f"{example}: an Indexed Job")
    REPORT.ok(job["backoffLimitPerIndex"] > 0 and "backoffLimit" not in job, f"{example}: each index has its own tries")
    annotation = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    index = [{"name": "INDEX", "valueFrom": {"fieldRef": {"fieldPath": annotation}}}]
    REPORT.equal(container["env"], index, f"{example}: the index is in the environment")
    folders = {m["mountPath"] for m in container["volumeMounts"] if m["subPathExpr"] == "$(INDEX)"}
    files = [arg.split("=", 1)[1] for arg in container["args"]]
    REPORT.equal({str(Path(file).parent) for file in files}, folders, f"{example}: an index has its own folders alone")
    REPORT.none(command_faults(shlex.join(["tap-segment", *container["args"]])), f"{example}: the tap's options")
    (projected,) = [v["projected"]["sources"] for v in pod["volumes"] if "projected" in v]
    secrets = [source["secret"] for source in projected]
    paths = [item["path"] for secret in secrets for item in secret["items"]]
    wanted = [f"{i}/{Path(files[0]).name}" for i in range(job["completions"])]
    REPORT.equal(paths, wanted, f"{example}: a secret for each index")
    REPORT.equal(len({secret["name"] for secret in secrets}), len(secrets), f"{example}: of its own")


def test_yaml_style():
    """yamllint's opinion."""
    for path in (*CONTRIB.glob("meltano/*.yml"), *EXAMPLES.glob("*.yaml")):
        REPORT.checker(f"{path.name}: yamllint", "yamllint", "-s", "-d", YAML_RULES, str(path))


# --- segment-sync, which the three examples run

# A target that prints each state, then its last words.
TARGET = """#!/bin/sh
while read -r line; do case $line in *STATE*) echo "$line" ;; esac; done
printf %s "$LAST_WORDS"
exit "$TARGET_EXIT"
"""
# A tap that says which options it was given, then does what its first argument says.
TAP = """#!/bin/sh
cd "${0%/*}"
doing=$1; shift
echo "$*" >given
echo '{"type":"RECORD"}'
case $doing in
states) echo '{"STATE":1}'; echo '{"STATE":2}' ;;
fails) echo '{"STATE":3}'; exit 1 ;;
stopped)
	count() { turns=0; while [ $turns -lt "$1" ]; do turns=$((turns + 1)); done; }
	trap 'echo "{\\"STATE\\":4}"; exit 99' TERM
	echo '{"STATE":0}'
	count 50000 # by now segment-sync waits, most likely; it must get all right either way
	kill -TERM "$PPID"
	count 300000 ;;
esac
"""

SYNCS = [
    # name, what the tap does, the target's last words, its exit status, the state before; exit status, state after.
    # Where the state stays as it was although the target printed something, a message says so.
    ("a first run", "states", "", 0, "", 0, '{"STATE":2}\n'),
    ("a later run", "states", "", 0, "old\n", 0, '{"STATE":2}\n'),
    ("the tap fails", "fails", "", 0, "old\n", 1, '{"STATE":3}\n'),
    ("the target fails", "states", "", 7, "old\n", 7, '{"STATE":2}\n'),
    ("both fail", "fails", "", 7, "old\n", 1, '{"STATE":3}\n'),
    ("half a line at the end", "states", '{"STA', 7, "old\n", 7, '{"STATE":2}\n'),
    ("no state", "nothing", "", 0, "old\n", 0, "old\n"),
    ("half a line only", "nothing", '{"STA', 7, "old\n", 7, "old\n"),
    ("no line's end", "nothing", '{"STATE": {"a": [1, -2.5e3, "\\\\\\"}", null]}}', 0, "old\n", 0,
     '{"STATE": {"a": [1, -2.5e3, "\\\\\\"}", null]}}\n'),
    ("a line's end as on Windows", "nothing", '{"STATE":5}\r\n', 0, "old\n", 0, '{"STATE":5}\n'),
    ("an empty object", "nothing", "{}\n", 0, "old\n", 0, "{}\n"),
    ("chatter at the end", "states", "Done: 0 rows\n", 0, "old\n", 0, "old\n"),
    ("chatter in brackets", "states", "{done}\n", 0, "old\n", 0, "old\n"),
    ("a blank line at the end", "states", "\n", 0, "old\n", 0, "old\n"),
    ("null at the end", "states", "null\n", 0, "old\n", 0, "old\n"),
    ("a list at the end", "states", "[{}]\n", 0, "old\n", 0, "old\n"),
    ("two objects on a line", "states", "{}{}\n", 0, "old\n", 0, "old\n"),
    ("half an object as a line", "states", '{"a":{"b":1}\n', 0, "old\n", 0, "old\n"),
    ("a string without its end", "states", '{"a":"}\n', 0, "old\n", 0, "old\n"),
    ("letters in place of values", "states", "{S:V}\n", 0, "old\n", 0, "old\n"),
    ("a signal", "stopped", "", 0, "old\n", 99, '{"STATE":4}\n'),
]


def sync(name, doing, words, target_exit, before, expected_exit, after):
    """One run of segment-sync with a tap and a target of the test's own."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "state", "state.json")
        state.parent.mkdir()
        for program, text in (("tap", TAP), ("target", TARGET)):
            Path(folder, program).write_text(text)
            Path(folder, program).chmod(0o755)
        if before:
            state.write_text(before)
        environment = {
            "TAP": f"{folder}/tap {doing} --config c.json",
            "TARGET": f"{folder}/target",
            "STATE": str(state),
            "LAST_WORDS": words,
            "TARGET_EXIT": str(target_exit),
        }
        command = [str(EXAMPLES / "segment-sync"), "--log-level", "error"]
        done = subprocess.run(command, capture_output=True, text=True, env={**CLEAN, **environment})
        given = Path(folder, "given").read_text().split()
        told = ["--state", str(state)] if before else []
        message = f"segment-sync: the last line that the target printed is no JSON object, so {state} stays as it was\n"
        said = message if before == after and (words or doing != "nothing") else ""
        REPORT.equal(
            (done.returncode, state.read_text(), given, os.listdir(state.parent), done.stdout + done.stderr),
            (expected_exit, after, ["--config", "c.json", *told, "--log-level", "error"], ["state.json"], said),
            f"segment-sync: {name}: exit status, state, options, nothing left behind",
        )


def test_sync():
    """Every way in which a run can end."""
    for case in SYNCS:
        sync(*case)
    done = subprocess.run([str(EXAMPLES / "segment-sync")], capture_output=True, text=True, env=CLEAN)
    REPORT.ok(done.returncode == 2 and "TARGET" in done.stderr, "segment-sync: without a target", done.stderr)
    REPORT.checker("segment-sync: shellcheck", "shellcheck", str(EXAMPLES / "segment-sync"))


def main():
    """All tests, in the order in which they stand above."""
    try:
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test()
    finally:
        shutil.rmtree(BIN)
    print(f"1..{REPORT.run}")
    return REPORT.failed != 0


if __name__ == "__main__":
    sys.exit(main())
