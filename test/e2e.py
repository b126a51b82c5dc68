#!/usr/bin/env python3
"""End-to-end tests: the real program against a fake Segment over real TLS, judged by code that isn't the tap's.

    test/e2e.py [WORD]...      all cases, or those whose title contains one of the words (CASES=WORD,WORD does the same)

TAP=COMMAND runs another program (TAP='valgrind -q ./tap-segment'), SEGMENTD=FILE another server, JOBS=N so many
cases at a time.  Output is TAP (Test Anything Protocol); each case adds one check of its own: that in none of its
runs a log line was malformed or the token was printed.
"""

import sys

sys.dont_write_bytecode = True

import concurrent.futures
import contextlib
import fcntl
import functools
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
import traceback
import urllib.parse
from pathlib import Path

import jsonschema

import segment
import singer
from segment import (
    ALL,
    DAY,
    MORE,
    STREAM,
    STREAMS,
    TOKEN,
    Client,
    Model,
    Options,
    Server,
    difference,
    instant,
    midnight,
    stamp,
)
from singer import NAMES, Tap, plain_catalog

START = stamp(segment.month(segment.now(), -3))
INCREMENTAL = [stream.name for stream in STREAMS if stream.incremental]
ALL_NAMES = [stream.name for stream in ALL]
EVENTS = [stream.name for stream in MORE if stream.incremental]


# --- cases and their checks


class Checks:
    """Collects the checks of one case, and what it opened."""

    def __init__(self, title):
        self.title = title
        self.lines = []
        self.failed = 0
        self.taps = []

    def ok(self, passed, name, *why):
        """One check; why is shown if it failed."""
        self.lines.append((bool(passed), f"{self.title}: {name}"))
        if not passed:
            self.failed += 1
            self.lines += [(None, line) for text in why for line in str(text)[:3000].splitlines()]
        return passed

    def skip(self, name, why):
        """A check that can't be made here."""
        self.lines.append((True, f"{self.title}: {name} # SKIP {why}"))

    def equal(self, got, expected, name, *why):
        """Are two values the same?"""
        return self.ok(got == expected, name, f"expected {expected!r}", f"got      {got!r}", *why)

    def none(self, faults, name, *why):
        """Is the sequence of complaints empty?"""
        faults = list(faults)
        return self.ok(not faults, name, *faults[:10], *why)

    def tap(self, server=None, **config):
        """A tap whose runs are looked over at the end of the case."""
        self.taps.append(Tap(server, **config))
        return self.taps[-1]

    def close(self):
        """The check that every run has to pass."""
        runs = [run for tap in self.taps for run in tap.runs]
        faults = [f"{run.args}: {fault}" for run in runs for fault in run.complaints()]
        if runs:
            self.none(faults, "no malformed log line, and the token is nowhere")
        for tap in self.taps:
            tap.close()


CASES = []


def case(title):
    """Registers a test."""

    def register(function):
        CASES.append((title, function))
        return function

    return register


def run_case(title, function):
    """One case; an exception in it is a failed check."""
    checks = Checks(title)
    try:
        function(checks)
    except Exception:  # whatever it is, the other cases must still run
        checks.ok(False, "runs to its end", traceback.format_exc())
    checks.close()
    return checks


def wait_for_midnight(seconds):
    """The model and the tap look at the same clock, but not at once: a run must not go over the end of a UTC day."""
    left = (DAY - segment.now() % DAY) / segment.SECOND
    if left < seconds:
        print(f"# waiting {left:.0f} s for midnight UTC", flush=True)
        time.sleep(left)
        segment.STARTED = segment.now()


def main(words):
    """Runs the cases side by side, prints them in order."""
    words = words or [word for word in os.environ.get("CASES", "").split(",") if word]
    chosen = [c for c in CASES if not words or any(word in c[0] for word in words)]
    number = failed = 0
    sys.stdout.reconfigure(errors="backslashreplace")
    wait_for_midnight(480 if singer.WRAPPED else 90)
    segment.all_certificates()
    try:
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "8"))) as pool:
            for checks in pool.map(lambda c: run_case(*c), chosen):
                failed += checks.failed
                for passed, text in checks.lines:
                    number += passed is not None
                    print(f"{'' if passed else 'not '}ok {number} - {text}" if passed is not None else f"# {text}")
                sys.stdout.flush()
    finally:
        HAMLET.close()
        TOWN.close()
        segment.remove_certificates()
    print(f"1..{number}")
    return 1 if failed or not number else 0


# --- workspaces


class World:
    """A workspace that no case disturbs: its server, shared by all, and what is to be expected of it."""

    def __init__(self, *options):
        self.options = options
        self.lock = threading.RLock()
        self.server = self.model = None
        self.known = {}

    def open(self):
        """The server."""
        with self.lock:
            if not self.server:
                self.server = Server(*self.options).__enter__()
                self.model = Model(Client(self.server))
            return self.server

    def close(self):
        """At the end of all cases."""
        if self.server:
            self.server.__exit__()

    def expect(self, name, options, **more):
        """The model's answer for one stream; one thread at a time, for it has one connection."""
        self.open()
        question = name, options.start, options.end, repr(more)
        with self.lock:
            if question not in self.known:
                self.known[question] = self.model.expect(name, options, **more)
            known = self.known[question]
        return segment.Expected(list(known.records), list(known.bookmarks))


DEMO = ["--scale", "demo"]
ONCE = {"max_attempts": 1, "request_timeout": max(5, singer.PATIENCE)}
TWICE = {"max_attempts": 2}
HAMLET, TOWN = World(*DEMO), World("--scale", "12")


@functools.cache
def discovered():
    """The tap's own catalog."""
    tap = Tap()
    try:
        return json.loads(tap.run("--discover").stdout)
    finally:
        tap.close()


def pruned(schema, gone):
    """The schema without some fields, given as dotted paths with [] for array items."""

    def copy(node, path):
        new = dict(node)
        if "properties" in node:
            children = ((k, f"{path}.{k}".lstrip(".")) for k in node["properties"])
            new["properties"] = {k: copy(node["properties"][k], p) for k, p in children if p not in gone}
        if "items" in node:
            new["items"] = copy(node["items"], path + "[]")
        return new

    return copy(schema, "")


def check_stream(t, run, name, expected, label=""):
    """Are the stream's records what the model says, in order, to the digit?"""
    got = run.records(name)
    where = next(
        (f"row {i}: {d}" for i, (e, g) in enumerate(zip(expected.records, got)) if (d := difference(e, g))), None
    )
    same = where is None and len(got) == len(expected.records)
    counts = f"{len(got)} records, {len(expected.records)} expected"
    t.ok(same, f"{label}{name}: the source's {len(expected.records)} rows", counts, where, run.stderr[-600:])


def check_bookmarks(t, run, name, expected, label=""):
    """Does the bookmark pass through just the values that it should?"""
    values = [state.get("bookmarks", {}).get(name, {}).get("timestamp") for state in run.states]
    steps = [value for i, value in enumerate(values) if value and value not in values[:i]]
    t.equal(steps, [stamp(us) for us in expected.bookmarks], f"{label}{name}: bookmarks", values[-1:])


def check_sync(t, run, names, options, label="", bookmarks=None, world=None):
    """Everything that must hold of a sync to its end."""
    t.equal(run.exit, 0, f"{label}exit status", run.stderr[-1500:])
    t.none(singer.protocol_faults(run), f"{label}every message as Singer wants it")
    t.equal(run.order, list(names), f"{label}streams in order")
    for name in names:
        bookmark = (bookmarks or {}).get(name)
        expected = (world or HAMLET).expect(name, options, bookmark=bookmark)
        check_stream(t, run, name, expected, label)
        if STREAM[name].incremental:
            check_bookmarks(t, run, name, expected, label)
    check_states(t, run, names, label)


def check_states(t, run, names, label=""):
    """STATE names each stream at its start, nothing at the end."""
    syncing = [state.get("currently_syncing") for state in run.states]
    steps = [name for i, name in enumerate(syncing) if i == 0 or name != syncing[i - 1]]
    t.equal([s for s in steps if s], list(names), f"{label}currently_syncing names each stream in turn")
    t.equal(steps[-1], None, f"{label}currently_syncing is null at the end")


def error_line(run):
    """The one line of standard error, or None if there are none or more."""
    lines = run.stderr.splitlines()
    return lines[0] if len(lines) == 1 else None


def check_refusal(t, run, name, pattern):
    """Wrong from the start: exit 2, one line that says what, nothing on standard output."""
    line = error_line(run)
    good = run.exit == 2 and run.stdout == b"" and line and re.search(pattern, line)
    t.ok(good, name, f"exit {run.exit}, expected 2 and {pattern!r}", run.stderr, run.stdout[:200])


# --- the tests' own eyes


SCHEMA = {
    "type": "object",
    "properties": {
        "any": {"type": ["null", "string"]},
        "number": {"type": ["null", "number"]},
        "timestamp": {"type": ["null", "string"], "format": "date-time"},
        "map": {"type": ["null", "object"]},
        "list": {"type": ["null", "array"], "items": {"type": ["null", "string"]}},
    },
}
ROW = """{"timestamp": "2021-01-01T01:00:00.1234567+01:00", "other": 1, "number": 1.0, "any": 0,
  "any": {"x": [1, 2.50]}, "map": {"b": 1, "b": 2}, "list": [null, "\\ud800", 3]}"""
RECORD = (
    r'{"any": "{\"x\":[1,2.50]}", "number": 1.0, "timestamp": "2021-01-01T00:00:00.123456Z", '
    '"map": {"b": 1, "b": 2}, "list": [null, "\ufffd", "3"]}'
)
SLIPS = [
    ("a number's last zero", "2.50", "2.5"),
    ("a number made an integer", "1.0", "1"),
    ("a blank in JSON text", "[1,2", "[1, 2"),
    ("text that became a number", '"3"', "3"),
    ("a microsecond", "456Z", "457Z"),
    ("the value of a duplicate", '"b": 2', '"b": 3'),
    ("a lost element", "null, ", ""),
    ("a lost field", '"number": 1.0, ', ""),
    ("another character", "\ufffd", "?"),
]


@case("comparison")
def comparison(t):
    """Would the comparison of records notice?"""
    expected = segment.project(SCHEMA, segment.read_json(ROW))
    t.equal(difference(expected, segment.read_json(RECORD)), None, "a right record")
    for name, old, new in SLIPS:
        t.ok(difference(expected, segment.read_json(RECORD.replace(old, new))), name)
    for text in ('{"timestamp": "soon"}', '{"number": "1"}', '{"list": {}}', '{"map": []}', "[]"):
        t.ok(not fits(text), f"{text} doesn't fit")


def fits(text):
    """Does the model take the row?"""
    try:
        segment.project(SCHEMA, segment.read_json(text))
        return True
    except segment.Misfit:
        return False


# --- command line and files


USAGE = [
    # name, arguments, what the line says
    ("no config", ["--select", "*"], r"--config"),
    ("unknown option", ["--colour"], r"--colour"),
    ("unknown short option", ["-x"], r"-x"),
    ("option without its value", ["--config"], r"--config"),
    ("ambiguous prefix", ["--c", "x"], r"--c\b"),
    ("value for a switch", ["--discover=yes"], r"--discover"),
    ("surplus argument", ["--discover", "surplus"], r"surplus"),
    ("missing config file", ["--config", "/nonexistent/config.json"], r"/nonexistent/config\.json.*No such file"),
    ("config is a folder", ["--config", "/"], r"/: .*directory"),
    ("format of nothing", ["--format=json"], r"--format.*--about"),
    ("discovery with a catalog", ["--discover", "--catalog", "c"], r"--discover.*--catalog"),
    ("a state file of no output", ["--state-file", "s"], r"--state-file.*--output"),
]


@case("usage")
def usage(t):
    """Every wrong command line is one line and exit 2."""
    tap = t.tap()
    for name, args, pattern in USAGE:
        check_refusal(t, tap.run(*args), name, pattern)


@case("help and version")
def help_and_version(t):
    """What a newcomer tries first."""
    tap = t.tap()
    for option, pattern in (("--help", rb"--discover"), ("-h", rb"--config"), ("--version", rb"^tap-segment v?\d")):
        run = tap.run(option)
        t.ok(run.exit == 0 and re.search(pattern, run.stdout), option, run.stdout[:200], run.stderr)
        t.equal(run.stderr, "", f"{option} leaves standard error alone")
    columns = {len(blanks) for blanks in re.findall(r"^( {10,})\S", tap.run("--help").stdout.decode(), re.M)}
    t.equal(columns, {16, 21, 30}, "--help: what goes on in the next line stands below its beginning")
    run = tap.run()
    tap.runs.remove(run)  # it prints no log
    t.equal((run.exit, run.stdout), (2, b""), "no option: exit status")
    t.ok(re.search(r"^usage: .*--config", run.stderr) and "--help" in run.stderr, "no option: a usage", run.stderr)
    t.ok(len(run.stderr.splitlines()) <= 12, "no option: a short one", run.stderr)


@case("config on standard input")
def config_on_stdin(t):
    """--config - in place of a file; what is wrong with it names standard input."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for text, words, status, pattern in (
        (json.dumps(tap.config), ["--select", "iam_groups"], 0, r"Sync done"),
        ("{", [], 2, r"CRITICAL standard input:1:2: "),
        (json.dumps(tap.config | {"startdate": 1}), ["--test=schema"], 0, r"WARNING standard input: startdate: unknown"),
    ):
        command = [*singer.COMMAND, "--config", "-", *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=tap.folder)
        t.equal(done.returncode, status, f"{pattern}: exit status", done.stderr)
        t.ok(re.search(pattern, done.stderr), pattern, done.stderr)


@case("a token in the wrong place")
def misplaced_token(t):
    """It is not shown; each run is looked over for it."""
    tap = t.tap(base_url="https://localhost:1")
    swapped = {"api_token": "2026-01-01", "start_date": TOKEN}
    check_refusal(t, tap.sync(config=swapped), "start_date", r"start_date: it does not begin")
    run = tap.run("--config", "ENV", env={"TAP_SEGMENT_START_DATE": TOKEN})
    check_refusal(t, run, "TAP_SEGMENT_START_DATE", r"TAP_SEGMENT_START_DATE: it does not begin")
    for words in (["-c", json.dumps(tap.config)], [f"--config= {json.dumps(tap.config)}"]):
        run = tap.run(*words)
        run.args = []  # it is there for all to see
        check_refusal(t, run, "the configuration itself", r"--config: expected the name of a file, not the conf")


CONFIGS = [
    # name, text of the file or changes, what the line says
    ("empty file", "", r"config\.json:1:1: "),
    ("cut short", '{"api_token": "x",\n  "start', r"config\.json:2:\d+: "),
    ("not an object", "[]", r"config\.json.*object"),
    ("invalid UTF-8", '{"api_token": "\udcff"}', r"config\.json:1:\d+: .*UTF-8"),
    ("no token", {"api_token": None}, r"api_token"),
    ("empty token", {"api_token": ""}, r"api_token"),
    ("token with a line break", {"api_token": TOKEN + "\r\nX: y"}, r"api_token"),
    ("token with a letter beyond ASCII", {"api_token": TOKEN + "\u00e9"}, r"api_token"),
    ("token of the wrong type", {"api_token": 1}, r"api_token"),
    ("no start_date", {"start_date": None}, r"start_date"),
    ("start_date that is no date", {"start_date": "yesterday"}, r"start_date"),
    ("start_date that doesn't exist", {"start_date": "2023-02-29"}, r"start_date"),
    ("end_date that is no date", {"end_date": "2023-13-01"}, r"end_date"),
    ("unknown region", {"region": "mars", "base_url": None}, r"region"),
    ("base_url without scheme", {"base_url": "localhost"}, r"base_url"),
    ("base_url without host", {"base_url": "https://"}, r"base_url"),
    ("plain http to another host", {"base_url": "http://192.0.2.1"}, r"base_url"),
    ("page_size 0", {"page_size": 0}, r"page_size"),
    ("page_size 1001", {"page_size": 1001}, r"page_size"),
    ("page_size with a fraction", {"page_size": 1.5}, r"page_size"),
    ("page_size in words", {"page_size": "many"}, r"page_size"),
    ("max_connections 0", {"max_connections": 0}, r"max_connections"),
    ("max_connections 33", {"max_connections": 33}, r"max_connections"),
    ("max_attempts 21", {"max_attempts": 21}, r"max_attempts"),
    ("request_timeout below zero", {"request_timeout": -1}, r"request_timeout"),
    ("unique_keys that is no boolean", {"unique_keys": "perhaps"}, r"unique_keys"),
    ("fail_on_forbidden of the wrong type", {"fail_on_forbidden": []}, r"fail_on_forbidden"),
    ("missing ca_file", {"ca_file": "/nonexistent.pem"}, r"/nonexistent\.pem"),
    ("ca_file without a certificate", {"ca_file": "/dev/null"}, r"/dev/null"),
    ("user_agent with a control character", {"user_agent": "a\nb"}, r"user_agent"),
    ("stream_maps", {"stream_maps": {"iam_users": {"email": "None"}}}, r"config\.json: stream_maps: .*--select"),
    ("stream_map_config", {"stream_map_config": {"a": 1}}, r"stream_map_config: .*mappers"),
    ("faker_config", {"faker_config": {"seed": 1}}, r"faker_config: .*--select"),
    ("flattening", {"flattening_enabled": True, "flattening_max_depth": 2}, r"flattening_enabled: .*target"),
]


@case("config")
def config(t):
    """Every wrong config is one line that names file and place, or key."""
    tap = t.tap(base_url="https://localhost:1")
    for name, content, pattern in CONFIGS:
        if isinstance(content, str):
            run = tap.run("--config", tap.file("config.json", content))
        else:
            run = tap.sync(config=content)
        check_refusal(t, run, name, pattern)


CATALOGS = [
    ("cut short", '{"streams": [', r"catalog\.json:1:\d+: "),
    ("no streams", {}, r"catalog\.json.*streams"),
    ("streams is no list", {"streams": {}}, r"catalog\.json.*streams"),
    (
        "key that is no field",
        {
            "streams": [
                {
                    "tap_stream_id": "sources",
                    "stream": "sources",
                    "schema": {"type": "object", "properties": {"id": {"type": ["null", "string"]}}},
                    "metadata": [{"breadcrumb": [], "metadata": {"selected": True, "key-properties": ["nope"]}}],
                }
            ]
        },
        r"sources.*nope|nope.*sources",
    ),
]
STATES = [
    ("blank file", " \n", r"state\.json"),
    ("cut short", '{"bookmarks": {', r"state\.json:1:\d+: "),
    ("a list", "[]", r"state\.json"),
    ("bookmarks is no object", {"bookmarks": 1}, r"bookmarks"),
    ("unreadable bookmark", {"bookmarks": {"audit_events": {"timestamp": "soon"}}}, r"audit_events"),
]


@case("catalog and state")
def catalog_and_state(t):
    """Every wrong catalog or state is one line, before any request."""
    tap = t.tap(base_url="https://localhost:1")
    for name, content, pattern in CATALOGS:
        check_refusal(t, tap.sync(catalog=content), f"catalog: {name}", pattern)
    for name, content, pattern in STATES:
        check_refusal(t, tap.sync(state=content), f"state: {name}", pattern)
    wrapped = {"singer_state": {"bookmarks": {"audit_events": "soon"}}}
    strange = plain_catalog("iam_groups")
    strange["streams"].append({"tap_stream_id": "nonsense", "stream": "nonsense", "schema": {}, "metadata": []})
    for catalog, state in ((strange, "[]"), (discovered(), "[]"), (None, wrapped)):
        check_refusal(t, tap.sync(catalog=catalog, state=state), "what would be warned of is not", r"state\.json")
    for option in ("--catalog", "--state", "--properties"):
        run = tap.sync(option, "/nonexistent.json")
        check_refusal(t, run, f"{option}: missing file", r"/nonexistent\.json")


# --- discovery


@case("discovery")
def discovery(t):
    """The catalog needs nothing, never changes, and is what its readers expect."""
    tap = t.tap()
    run = tap.run("--discover")
    t.equal((run.exit, run.stderr), (0, ""), "works without config and network, in silence")
    t.equal(tap.run("-d", cwd="/").stdout, run.stdout, "is byte for byte the same the next time")
    t.equal(tap.sync("--discover", state={}).stdout, run.stdout, "wins over config and state")
    lost = tap.run("--discover", "--config", "/nonexistent.json")
    t.equal((lost.exit, lost.stdout), (0, run.stdout), "a config that isn't there")
    told = "WARNING /nonexistent.json: can't be read: No such file or directory; the catalog is made without it\n"
    t.equal(lost.stderr, told, "is told of")
    catalog = json.loads(run.stdout)
    entries = catalog["streams"]
    t.equal([entry["tap_stream_id"] for entry in entries], ALL_NAMES, "all streams in order")
    t.ok(max(map(len, run.lines)) < 65536 and len(run.lines) > 1000, "is broken into lines")
    for stream, entry in zip(ALL, entries):
        check_entry(t, stream, entry)


def check_entry(t, stream, entry):
    """One stream of the catalog."""
    jsonschema.Draft7Validator.check_schema(entry["schema"])
    t.none(singer.schema_faults(stream, entry["schema"]), f"{stream.name}: schema loads everywhere")
    t.equal(json.dumps(entry["schema"]), json.dumps(stream.schema), f"{stream.name}: schema is the committed one")
    names = list(entry)
    t.ok(names.index("schema") < names.index("metadata"), f"{stream.name}: schema before metadata", names)
    t.equal(entry["stream"], stream.name, f"{stream.name}: stream")
    found = [tuple(item["breadcrumb"]) for item in entry["metadata"]]
    expected = singer.expected_entry_metadata(stream)
    t.equal(found, list(expected), f"{stream.name}: metadata for each field in order, once")
    wrong = [
        (path, key, value, item["metadata"].get(key))
        for item, (path, wanted) in zip(entry["metadata"], expected.items())
        for key, value in wanted.items()
        if item["metadata"].get(key) != value
    ]
    t.none(wrong, f"{stream.name}: metadata of each field")
    t.ok("selected" not in entry["metadata"][0]["metadata"], f"{stream.name}: selected is left to the user")


@case("about")
def about(t):
    """What the Meltano SDK's taps say of themselves, in its forms."""
    tap = t.tap()
    text = tap.run("--about")
    t.ok(text.exit == 0 and b"api_token" in text.stdout, "text", text.stderr)
    for option in ("--about", "--help", "--version"):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([*singer.COMMAND, option], stdout=full, stderr=subprocess.PIPE, text=True)
        expected = (1, "CRITICAL standard output: No space left on device\n")
        t.equal((run.returncode, run.stderr), expected, f"{option} on a full disk")
    run = tap.run("--about", "--format", "json")
    facts = json.loads(run.stdout)
    members = [
        "name",
        "description",
        "version",
        "sdk_version",
        "supported_python_versions",
        "capabilities",
        "settings",
    ]
    t.equal(list(facts), members, "json: members")
    names = facts["capabilities"]
    t.ok({"catalog", "discover", "state"} <= set(names), "json: capabilities", names)
    t.ok(f"\nCapabilities: {', '.join(names)}\n" in text.stdout.decode(), "text: capabilities", text.stdout)
    settings = facts["settings"]
    needed = [key for key, value in settings["properties"].items() if "null" not in value["type"]]
    t.equal(needed, settings["required"], "json: a setting that is required takes no null")
    known = tap.run("--help").stdout.decode().partition("\nconfiguration:\n")[2].partition("\n\n")[0]
    t.equal(re.findall(r"^  (\w+)", known, re.M), list(settings["properties"]), "--help has the same settings", known)
    defaults = {key: value["default"] for key, value in settings["properties"].items() if "default" in value}
    wanted = {"request_timeout": 300, "max_connections": 4, "max_attempts": 8, "unique_keys": False}
    t.equal({key: defaults.get(key) for key in wanted}, wanted, "json: defaults are of their settings' types")
    t.equal(settings["required"], ["api_token", "start_date"], "json: required settings")
    jsonschema.Draft7Validator.check_schema(settings)
    t.ok(settings["properties"]["api_token"].get("secret"), "json: the token is a secret")
    markdown = tap.run("--about", "--format=markdown").stdout.decode()
    listed = "\n".join(f"* `{name}`" for name in names)
    t.ok(f"## Capabilities\n\n{listed}\n\n" in markdown, "markdown: capabilities", markdown[:500])
    t.none(
        (key for key in settings["properties"] if f"| {key} |" not in markdown), "markdown: every setting has a row"
    )


# --- whole syncs




def few(rows, number):
    """Where a run takes many times as long, or runs for the second time (FEW=1), a few of its sizes show what is new."""
    return rows[:number] if singer.WRAPPED or os.environ.get("FEW") else rows


SYNCS = [
    # workspace, page_size, max_connections
    (HAMLET, None, (4, 1, 2, 32)),
    (HAMLET, 1, (8,)),
    (HAMLET, 7, (1,)),
    (TOWN, 7, (4, 1, 8)),
    (TOWN, 200, (3, 8)),
    (TOWN, 1000, (1,)),
]


@case("sync")
def sync(t):
    """The output equals the source, whatever the page size and the number of connections."""
    for world, page_size, numbers in few(SYNCS, 3):
        tap = t.tap(world.open(), start_date=START, page_size=page_size)
        first, *others = [tap.sync(config={"max_connections": number}) for number in numbers]
        label = f"{world.options[-1]}, page_size {page_size}, {numbers[0]} connections: "
        t.equal([name for name in NAMES if not first.records(name)], [], f"{label}no stream is empty")
        check_sync(t, first, NAMES, Options(instant(START)), label, world=world)
        check_summary(t, first, label)
        for number, run in zip(numbers[1:], others):
            got = run.exit, run.timeless == first.timeless
            t.equal(got, (0, True), f"{label}byte for byte the same with {number}", run.stderr[-600:])


def check_summary(t, run, label):
    """The last line on standard error says what happened."""
    last = run.stderr.splitlines()[-1]
    numbers = re.findall(r"\d+", last)
    total = str(len(run.of_type("RECORD")))
    t.ok(last.startswith("INFO ") and total in numbers, f"{label}the last log line is the summary", last, total)
    for name in NAMES:
        count = len(run.records(name))
        found = [
            line for line in run.log("INFO") if re.search(rf"\b{name}\b", line) and re.search(rf"\b{count}\b", line)
        ]
        t.ok(found, f"{label}{name}: the log says how many records", run.stderr[-3000:])


@case("small pages only")
def small_pages(t):
    """A server that takes no more than 200 rows a page, as the API once did."""
    with Server(*DEMO, "--page-cap", "200") as server:
        run = t.tap(server, start_date=START, page_size=1000).sync()
        check_sync(t, run, NAMES, Options(instant(START)))
        sizes = [line for line in server.requests() if "pagination.count=1000" in line]
    t.ok(1 <= len(sizes) <= 16, "asked for 1000 until the first refusal came: those that were planned", len(sizes))
    t.equal(
        len([line for line in run.log("INFO") if "200" in line and "page" in line.lower()]),
        1,
        "one info line",
        run.stderr,
    )


@case("edges of spans")
def edges(t):
    """Whether the API takes the ends of a span as inclusive or not: no event is lost or written twice."""
    everything = HAMLET.expect("audit_events", Options(instant(START))).records
    event = sorted(instant(row.get("timestamp")) for row in everything)[len(everything) // 2]
    bounds = {
        "start at an event": (event, None),
        "end at an event": (instant(START), event),
        "end just after an event": (instant(START), event + 1),
        "second span from an event on": (event - 30 * DAY, None),
        "second span from just before an event on": (event - 30 * DAY - 1, None),
        "second span from just after an event on": (event - 30 * DAY + 1, None),
    }
    for kind, options in (("exclusive", []), ("inclusive", ["--inclusive"])):
        with Server(*DEMO, *options) as server:
            for name, (start, end) in bounds.items():
                tap = t.tap(server, start_date=stamp(start), end_date=end and stamp(end))
                run = tap.sync(catalog=plain_catalog("audit_events"))
                check_sync(t, run, ["audit_events"], Options(start, end), f"{kind}: {name}: ")


@case("requests")
def requests(t):
    """What the server saw: nothing twice, and windows that the real API would take."""
    with Server(*DEMO) as server:
        run = t.tap(server, start_date=START, page_size=50, user_agent="test-agent/1").sync()
        lines = [line.split(maxsplit=7) for line in server.requests()]
    targets = [words[2] for words in lines]
    t.equal(len(targets), len(set(targets)), "no page is asked for twice")
    t.equal(
        {(words[1], words[3], *words[6:]) for words in lines}, {("GET", "200", "gzip", "test-agent/1")}, "all as told"
    )
    t.ok(
        re.search(rf"\b{len(targets)} requests", run.stderr.splitlines()[-1]),
        "the summary counts them",
        run.stderr[-300:],
    )
    queries = [urllib.parse.parse_qs(target.partition("?")[2]) for target in targets]
    paged = [query for query in queries if "granularity" not in query]
    t.ok(all(query["pagination.count"] == ["50"] for query in paged), "every list names its page size", paged)
    days = [(instant(q["startTime"][0]), instant(q["endTime"][0])) for q in queries if "granularity" in q]
    wrong = [d for d in days if d[0] % DAY or not d[0] < d[1] < d[0] + DAY]
    t.ok(days and not wrong, "a delivery window begins at midnight and ends within the day", wrong)


@case("token where it doesn't belong")
def misplaced_token(t):
    """Wherever a user puts the token by mistake, it isn't printed: the case's last check looks at all runs."""
    server = HAMLET.open()
    tap = t.tap(server)
    for key in ("start_date", "ca_file", "proxy", "region", "page_size", "user_agent"):
        tap.sync(config={key: TOKEN, "max_attempts": 1})
    for fill in (0, 20, 40):
        for words in ([], ["--test=schema"]):
            run = tap.sync(*words, "--select", "iam_groups", config={"x" * fill + TOKEN: 1})
            t.ok("unknown key" in run.stderr, f"a key, {fill} characters before it", run.stderr)
    first = tap.file("first.json", {"api_token": TOKEN})
    for token in ("another-token", ""):
        second = tap.file("second.json", {"api_token": token, TOKEN: 1, "start_date": "2026-01-01"})
        run = tap.run("--config", first, "--config", second, "--test=schema")
        t.ok("unknown key" in run.stderr or run.exit == 2, "in a second file", run.stderr)
    run = tap.sync(config={"base_url": f"{server.url}/{TOKEN}"})
    t.ok(run.exit == 1 and "404" in run.stderr, "base_url", run.stderr)
    catalog = plain_catalog("iam_groups")
    catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": TOKEN, "stream": TOKEN})
    run = tap.sync("--log-level", "debug", catalog=catalog)
    t.equal(
        (run.exit, len([line for line in run.log("WARNING") if "unknown" in line])), (0, 1), "catalog", run.stderr
    )


@case("destinations that serve two sources")
def twice(t):
    """Each row of a destination has its own metrics."""
    name = "destination_delivery_metrics_summary"
    with Server(*DEMO, "--twice") as server:
        run = t.tap(server, start_date=START, unique_keys=True).sync(catalog=plain_catalog("destinations", name))
        model = Model(Client(server))
        t.tap(server, start_date=START).sync("--select", "destination_subscriptions")
        asked = [line.split()[2] for line in server.requests() if "/subscriptions" in line]
        t.equal(len(asked), len(set(asked)), "each is asked once for its subscriptions")
        for stream in ("destinations", name):
            check_stream(t, run, stream, model.expect(stream, Options(instant(START))))
            t.equal(len(singer.upsert(run, stream)), len(run.records(stream)), f"{stream}: unique keys are unique")
        t.ok(
            len({row.get("id") for row in run.records("destinations")}) < len(run.records("destinations")),
            "ids are not",
        )


@case("empty workspace")
def empty(t):
    """SCHEMA and STATE, and nothing to complain of."""
    with Server("--scale", "0") as server:
        run = t.tap(server, start_date=START).sync()
        t.equal((run.exit, run.order), (0, NAMES), "all streams", run.stderr)
        t.none(singer.protocol_faults(run), "every message as Singer wants it")
        t.equal(run.log("ERROR", "CRITICAL"), [], "no error")


def on_terminal(words, width):
    """The exit status of a run and what it shows on a terminal of so many columns."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(singer.COMMAND + words, stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other side was closed
        while piece := os.read(main, 4096):
            shown += piece
    os.close(main)
    return process.wait(), shown.decode()


ACCESS_FAULTS = [
    # what one stream meets, exit status, its word in the table, what is said
    ("301", 1, "error", r"301 leads to"),
    ("400", 1, "error", r"400"),
    ("404", 1, "error", r"404"),
    ("422", 1, "error", r"422"),
    ("no-key", 1, "yes", r"id is missing"),
]


@case("access table")
def access_table(t):
    """--test: one request a stream and a table of what the token may read."""
    with Server(*DEMO, "--fault", "/users:403", "--fault", "/groups:wrong-shape") as server:
        tap = t.tap(server, start_date=START)
        run = tap.sync("--test")
        rows = {name: line for name in NAMES for line in run.log("INFO") if f" {name} " in line}
        t.equal((run.exit, sorted(rows)), (1, sorted(NAMES)), "a line for each stream, not all are read", run.stderr)
        t.ok(" no " in rows["iam_users"] and " yes " in rows["sources"], "yes or no", run.stderr)
        t.ok(" error " in rows["iam_groups"], "or an error", run.stderr)
        t.ok(len(server.requests()) <= len(NAMES) + 4, "one request a stream", len(server.requests()))
        summary = "Test done: 16 of 18 streams can be read; 1 forbidden, 1 failed, 0 not tried"
        reason = "iam_users: needs a token that may read users, a workspace owner's say (Access denied; forbidden)"
        t.equal(run.stderr.splitlines()[-1], f"ERROR {summary}; {reason}", "the last line sums it up, and says why")
        t.equal(len({line.index(" 200 ") for line in rows.values() if " 200 " in line}), 1, "aligned", run.stderr)
        run = tap.sync("--test", "--log-format=json")
        lines = [json.loads(line) for line in run.stderr.splitlines()]
        table = {line["stream_name"]: line["extra"] for line in lines if "extra" in line}
        t.equal((run.exit, list(table)), (1, NAMES), "as JSON", run.stderr)
        t.equal((table["iam_users"]["access"], table["iam_users"]["status"]), ("no", 403), "as JSON: a row")
        t.equal((table["sources"]["access"], table["sources"]["status"]), ("yes", 200), "as JSON: another")
        with tap.start(*tap.arguments("--test")) as process:
            process.stdout.close()
            process.stdout = None
            run = tap.finish(process)
        t.equal(len([line for line in run.log("INFO") if " 200 " in line]), 17, "the table stands before the rows")
        for width, rows in ((72, 3), (200, 1)):
            lines = on_terminal(tap.arguments("--test", "--select", "iam_users"), width)[1].splitlines()
            at = next(i for i, line in enumerate(lines) if "iam_users" in line)
            t.equal(len(lines) - 1 - at, rows, f"{width} columns: the reason takes so many lines", lines)
            t.none((line for line in lines if "INFO" in line and len(line) > width), f"{width} columns: none is wider")
    run = t.tap(HAMLET.open(), api_token="wrong-" + TOKEN).sync("--test")
    t.equal(run.exit, 4, "a wrong token: exit status", run.stderr)
    for fault, status, access, words in ACCESS_FAULTS:
        with Server(*DEMO, "--fault", f"/groups:{fault}") as server:
            run = t.tap(server).sync("--test", "--select", "iam_groups,iam_users")
        (row,) = [line for line in run.log("INFO") if " iam_groups " in line]
        good = f" {access} " in row and re.search(words, run.stderr)
        t.ok(run.exit == status and good, f"{fault}: exit {status}, {access}, {words}", run.exit, run.stderr)
    with Server("--scale", "0") as server:
        run = t.tap(server).sync("--test", "--select", "sources,source_connected_warehouses")
    t.ok("not tried: no row of sources to ask for" in run.stderr, "a child without parents is not tried", run.stderr)
    with Server(*DEMO, "--fault", "*:stall") as server:
        tap = t.tap(server)
        with tap.start(*tap.arguments("--test")) as process:
            while not server.requests():
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            run = tap.finish(process)
    t.equal(run.exit, 143, "a signal ends it", run.stderr)
    run = t.tap(base_url="https://localhost:1").sync("--test=schema")
    t.equal((run.exit, run.order), (0, NAMES), "--test=schema sends nothing", run.stderr)


@case("logs")
def logs(t):
    """Metrics that add up, levels, and Meltano's structured lines."""
    tap = t.tap(HAMLET.open(), start_date=START)
    quiet = tap.sync().log("INFO")
    t.ok(not [line for line in quiet if "http_request" in line or "duration" in line], "no requests, no times", *quiet)
    told = {name: [line for line in quiet if re.search(rf"\b{name}\b", line)] for name in NAMES}
    t.none((name for name in NAMES if len(told[name]) > 8), "a few lines a stream", *quiet)
    run = tap.sync("--log-level", "debug")
    metrics = [json.loads(line.partition("METRIC: ")[2]) for line in run.log("INFO", "DEBUG") if " METRIC: " in line]
    for name in NAMES:
        counted = sum(m["value"] for m in metrics if m["metric"] == "record_count" and m["tags"]["endpoint"] == name)
        t.equal(counted, len(run.records(name)), f"{name}: record_count")
    timers = [m for m in metrics if m["metric"] == "http_request_duration"]
    t.ok({m["tags"]["endpoint"] for m in timers} == set(NAMES) and all(m["value"] >= 0 for m in timers), "timers")
    t.equal({m["tags"]["status"] for m in timers}, {"succeeded"}, "all succeeded")
    for metric in ("http_request_count", "sync_duration"):
        found = [m["tags"]["endpoint"] for m in metrics if m["metric"] == metric]
        t.equal(found, NAMES, f"{metric}: one a stream, at its end")
    sent = sum(m["value"] for m in metrics if m["metric"] == "http_request_count")
    t.equal(sent, len(timers), "http_request_count: as many as there are timers")
    t.equal(tap.sync("--log-level", "error").stderr, "", "--log-level error: nothing to say")
    t.equal(tap.sync(env={"TAP_SEGMENT_LOGLEVEL": "ERROR"}).stderr, "", "TAP_SEGMENT_LOGLEVEL")
    t.ok(tap.sync(env={"LOGLEVEL": "debug"}).log("DEBUG"), "LOGLEVEL")
    format_file = tap.file("logging.json", {"formatters": {"structured": {"()": "x.StructuredFormatter"}}})
    run = tap.sync(env={"SINGER_SDK_LOG_CONFIG": format_file})
    check_structured(t, run, "Meltano's wish: ")
    run = tap.sync("--log-format", "json")
    check_structured(t, run, "--log-format json: ")
    run = tap.sync("--log-format=plain", env={"SINGER_SDK_LOG_CONFIG": format_file})
    t.ok(run.log("INFO"), "--log-format plain: counts more than Meltano's wish", run.stderr[:300])


@case("silence of a good run")
def silence(t):
    """What cron would mail: nothing, from the second run on and once somebody has decided about the keys."""
    tap = t.tap(HAMLET.open(), start_date=START, unique_keys=True)
    first = tap.sync("--select", "*", "--log-level", "warning")
    t.equal(first.exit, 0, "first run: exit status", first.stderr)
    t.none((line for line in first.stderr.splitlines() if "run more often" in line), "not told to run more often")
    second = tap.sync("--select", "*", "--log-level", "warning", state=first.states[-1])
    t.equal((second.exit, second.stderr), (0, ""), "second run: nothing to say")


def check_structured(t, run, label):
    """Every line of the log is an object as Meltano reads it; those of a stream name it, metrics have the SDK's tags."""
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    metrics = [line["metric_info"] for line in lines if "metric_info" in line]
    numbers = [m["value"] for m in metrics if m["metric"] == "record_count"]
    t.equal(sum(numbers), len(run.of_type("RECORD")), f"{label}record_count")
    tagged = [m for m in metrics if not m["metric"].startswith("http_bytes")]
    faults = [m for m in tagged if not {"stream", "context", "pid", "endpoint"} <= set(m["tags"])]
    t.none(faults, f"{label}the SDK's tags")
    kinds = {m["metric"] for m in tagged}
    wanted = {"record_count", "http_request_duration", "http_request_count", "sync_duration"}
    t.equal(kinds, wanted, f"{label}the SDK's metrics, requests too")
    pattern = re.compile(rf"\b({'|'.join(NAMES)})\b")
    about = [(line, pattern.search(line["message"])) for line in lines]
    faults = [line["message"] for line, named in about if named and line["stream_name"] != named[1]]
    t.none(faults, f"{label}lines about a stream carry its name")
    t.ok(all(isinstance(line["ts"], float) and line["level"].islower() for line in lines), f"{label}ts and level")


@case("progress")
def progress(t):
    """On a terminal, and only there, a line shows how far the run is; the next line of the log takes its place."""
    tap = t.tap(HAMLET.open(), start_date=START)
    t.ok("\r" not in tap.sync().stderr, "none in a file")
    status, shown = on_terminal(tap.arguments("--select", "sources,audit_events"), 100)
    t.equal(status, 0, "exit status", shown[-500:])
    line = r"2/2 audit_events: \d+ rows, \d+ requests, \d+ rows/s, \d+ s waited, \d+ s"
    t.ok(re.search(rf"\n{line}\r\x1b\[KINFO ", shown), "one on a terminal, below the log", shown)
    t.ok("INFO Sync done" in shown.splitlines()[-1], "the summary is the last line", shown[-500:])


@case("progress while nothing comes")
def progress_waits(t):
    """Before the first answer and during waits the line goes on, no wider than the terminal."""
    with Server(*DEMO, "--fault", "/users*:429-after=2:1", "--latency", "700") as server:
        tap = t.tap(server, start_date=START)
        status, shown = on_terminal(tap.arguments("--select", "iam_users"), 72)
    t.equal(status, 0, "exit status", shown)
    lines = [line for line in re.split(r"[\r\n]+(?:\x1b\[K)?", shown) if line.startswith("1/1 iam_users")]
    t.ok(len(lines) > 5, "it goes on", shown)
    t.ok(any(" 0 rows, 0 requests" in line or " 0 rows, 1 requests" in line for line in lines), "from the begin", lines)
    t.ok(any(re.search(r", [1-9] s waited", line) for line in lines), "waits count", lines)
    t.none((line for line in lines if len(line) > 71), "none is too wide")
    figures = [re.search(r", (\d+) s waited, (\d+) s", line) for line in lines]
    t.none((f[0] for f in figures if int(f[1]) > int(f[2])), "not more is waited than there was time")


@case("progress on a narrow terminal")
def progress_narrow(t):
    """The figures are whole; a long name makes room for them, and keeps 8 characters."""
    tap = t.tap(HAMLET.open(), start_date=START)
    name = "usage_api_calls_per_source_daily"
    figures = r"\d+ rows, \d+ requests, \d+ rows/s, \d+ s waited, \d+ s"
    for width, shown_as in ((120, name), (80, rf"(?!{name})usage_api_call\w+"), (64, r"usage_ap\w{0,4}")):
        status, shown = on_terminal(tap.arguments("--select", name), width)
        lines = [line for line in re.split(r"[\r\n]+(?:\x1b\[K)?", shown) if line.startswith("1/1 ")]
        t.ok(status == 0 and lines, f"{width} columns: there are lines", shown[-500:])
        wrong = (line for line in lines if not re.fullmatch(rf"1/1 {shown_as}: {figures}", line))
        t.none(wrong, f"{width} columns: they are whole")
        t.none((line for line in lines if len(line) > width - 1), f"{width} columns: they fit")
    shown = on_terminal(tap.arguments("--select", name), 30)[1]
    t.ok(re.search(r"\n1/1 usage_ap: \d+ rows, ", shown), "30 columns: 8 characters of the name", shown[-500:])


SUITES = [
    # segmentd's options, is it accepted, what the error says
    (["--tls", "1.2"], True, ""),
    (["--suites", "chacha"], True, ""),
    (["--suites", "gcm"], True, ""),
    (["--no-resume"], True, ""),
    (["--tls", "1.1"], False, r"TLS 1\.2"),
    (["--tls", "1.0"], False, r"TLS 1\.2"),
    (["--suites", "cbc"], False, r"TLS 1\.2|suite"),
]


@case("TLS versions and suites")
def tls(t):
    """TLS 1.2 with AES-GCM or ChaCha20-Poly1305, nothing less."""
    for options, accepted, pattern in SUITES:
        label = " ".join(options)
        with Server(*DEMO, *options) as server:
            run = t.tap(server).sync(catalog=plain_catalog("iam_groups"))
            requests = server.requests()
        if accepted:
            t.equal((run.exit, bool(run.of_type("RECORD"))), (0, True), f"{label}: accepted", run.stderr)
            continue
        t.equal((run.exit, requests), (4, []), f"{label}: refused before any request", run.stderr)
        t.ok(any(re.search(pattern, line) for line in run.log("CRITICAL", "ERROR")), f"{label}: says why", run.stderr)
    with segment.Babbler(b"HTTP/1.1 400 Bad Request\r\n\r\n") as babbler:
        run = t.tap(base_url=f"https://localhost:{babbler.port}").sync()
        t.equal((run.exit, run.of_type("RECORD")), (4, []), "no TLS at all: refused", run.stderr)
        t.ok(any("TLS" in line for line in run.log("CRITICAL")), "no TLS at all: says so", run.stderr)
    with segment.Babbler(b"") as babbler:
        run = t.tap(base_url=f"https://localhost:{babbler.port}", **ONCE).sync()
        t.equal((run.exit, run.of_type("RECORD")), (3, []), "silence: given up", run.stderr)
        t.ok(any("time" in line for line in run.log("CRITICAL")), "silence: says so", run.stderr)


@case("OpenSSL's server")
def openssl(t):
    """Another TLS than BearSSL's own at the other end; its answers are files."""
    body = '{"data":{"userGroups":[{"id":"g","name":"x","memberCount":1}],"pagination":{"current":"MA=="}}}'
    for label, options in (("TLS 1.2", ["-tls1_2"]), ("tickets only", ["-tls1_2", "-no_cache"]), ("any TLS", [])):
        with segment.OpenSSL(*options, groups=body) as server:
            run = t.tap(server, max_connections=1).sync("--select", "iam_groups")
        t.equal((run.exit, len(run.records("iam_groups"))), (0, 1), f"{label}: accepted", run.stderr)
    with segment.OpenSSL("-tls1_3", groups=body) as server:
        run = t.tap(server).sync("--select", "iam_groups")
    t.equal((run.exit, run.records("iam_groups")), (4, []), "TLS 1.3 only: refused", run.stderr)
    t.ok(any("TLS 1.2" in line for line in run.log("CRITICAL")), "TLS 1.3 only: says what is needed", run.stderr)
    for label, options, words in (
        ("no suite of ours", ["-tls1_2", "-cipher", "AES128-SHA"], "no cipher suite in common"),
        ("a client certificate is wanted", ["-tls1_2", "-Verify", "1"], "wants a client certificate"),
    ):
        with segment.OpenSSL(*options, groups=body) as server:
            run = t.tap(server, max_attempts=2).sync("--select", "iam_groups")
        t.equal((run.exit, run.records("iam_groups")), (4, []), f"{label}: refused", run.stderr)
        t.ok(any(words in line for line in run.log("CRITICAL")), f"{label}: says so", run.stderr)
        t.ok("next one in" not in run.stderr, f"{label}: not tried again", run.stderr)


@case("wildcard certificate")
def wildcard(t):
    """A star stands for one label; the proxy resolves names that this machine can't."""
    with Server(*DEMO, chain="wildcard.chain.pem", key="wildcard.key.pem") as server, segment.Proxy() as relay:
        for name, status in (("a.test.localhost", 0), ("a.b.test.localhost", 4), ("test.localhost", 4)):
            before = len(server.requests())
            tap = t.tap(server, base_url=f"https://{name}:{server.port}", proxy=f"http://{relay.address}")
            run = tap.sync("--select", "iam_groups")
            t.equal((run.exit, bool(run.records("iam_groups"))), (status, not status), name, run.stderr)
            t.equal(len(server.requests()) > before, not status, f"{name}: requests", run.stderr)


@case("tinyproxy")
def tinyproxy(t):
    """A proxy that others wrote."""
    if not shutil.which("tinyproxy"):
        t.skip("CONNECT", "tinyproxy is not installed: contrib/deps test")
        return
    server = HAMLET.open()
    with segment.TinyProxy() as relay:
        for word, status in (("secret-word", 0), ("wrong-word", 3)):
            run = t.tap(server, proxy=f"http://user:{word}@{relay.address}").sync("--select", "iam_groups")
            t.equal((run.exit, bool(run.records("iam_groups"))), (status, not status), word, run.stderr)
            t.ok("-word" not in run.stderr, f"{word} is not printed", run.stderr)
        found = [line for line in run.log("CRITICAL") if relay.address in line]
        t.ok(found, "the error names the proxy", run.stderr)


@case("one full handshake")
def one_handshake(t):
    """Further connections resume the first one's session."""
    with Server(*DEMO, "--latency", "5") as server:
        t.tap(server, start_date=START, max_connections=8).sync()
        fields = [line.split() for line in server.requests()]
        most = server.most_open()
    connections = {words[0]: words[4] for words in fields}
    kinds = sorted(connections.values())
    t.ok(1 < len(kinds) <= 8, "several connections, no more than allowed", kinds)
    t.equal(kinds, ["full"] + ["resumed"] * (len(kinds) - 1), "one full handshake")
    t.ok(1 < most <= 8, "never more open at once than allowed", most)
    for allowed in (1, 2):
        with Server(*DEMO, "--latency", "1") as server:
            t.tap(server, start_date=START, max_connections=allowed).sync()
            t.equal(server.most_open(), allowed, f"max_connections {allowed}")


@case("proxy")
def proxy(t):
    """CONNECT, with credentials that nobody else sees."""
    server = HAMLET.open()
    catalog = plain_catalog("iam_groups")
    with segment.Proxy() as relay:
        via = f"http://user:p%40ss-word@{relay.address}"
        ways = [("proxy in the config", {"proxy": via}, {}), ("https_proxy", {}, {"https_proxy": via})]
        ways += [("HTTPS_PROXY", {}, {"HTTPS_PROXY": via})]
        for name, config_changes, env in ways:
            relay.heads.clear()
            run = t.tap(server, **config_changes).sync(catalog=catalog, env=env)
            t.equal((run.exit, bool(run.of_type("RECORD"))), (0, True), f"{name}: rows come", run.stderr)
            t.equal(relay.heads[0].split("\r\n")[0], f"CONNECT localhost:{server.port} HTTP/1.1", f"{name}: CONNECT")
            t.ok("Basic dXNlcjpwQHNzLXdvcmQ=" in relay.heads[0], f"{name}: credentials", relay.heads)
            t.ok(TOKEN not in "".join(relay.heads), f"{name}: without the token")
        relay.heads.clear()
        run = t.tap(server).sync(catalog=catalog, env={"https_proxy": via, "no_proxy": "example.com,localhost"})
        t.equal((run.exit, relay.heads), (0, []), "no_proxy", run.stderr)
        exempt = {"https_proxy": via, "no_proxy": f"localhost:{server.port}"}
        run = t.tap(server).sync(catalog=catalog, env=exempt)
        t.equal((run.exit, relay.heads), (0, []), "no_proxy with a port", run.stderr)
        exempt["no_proxy"] = f"localhost:{server.port + 1}"
        run = t.tap(server).sync(catalog=catalog, env=exempt)
        t.equal((run.exit, bool(relay.heads)), (0, True), "no_proxy with another port", run.stderr)
    with segment.Proxy(status=407) as relay:
        run = t.tap(server, proxy=f"http://user:p%40ss-word@{relay.address}", max_attempts=1).sync()
        t.equal((run.exit, run.of_type("RECORD")), (3, []), "a proxy that refuses: exit status", run.stderr)
        found = [line for line in run.log("CRITICAL", "ERROR") if relay.address in line and "407" in line]
        t.ok(found, "a proxy that refuses: the error names proxy and status", run.stderr)
        t.ok("ss-word" not in run.stderr, "but not its credentials", run.stderr)
        t.ok("does not accept the user" in run.stderr, "a proxy that refuses the user says so", run.stderr)
        run = t.tap(server, proxy=f"http://{relay.address}", max_attempts=1).sync()
        t.ok("it wants a user and password" in run.stderr, "and one that got none", run.stderr)
    for value in ("https://proxy.example:1", "socks5://proxy.example:1", "http://:80"):
        check_refusal(t, t.tap(server, proxy=value).sync(), f"proxy {value}", r"proxy")


@case("slow target")
def slow_target(t):
    """A target that takes its time costs nothing: no deadline runs while the tap can't write."""
    with Server(*DEMO, "--idle", 500 * singer.PATIENCE) as server:
        tap = t.tap(server, start_date=START, request_timeout=singer.PATIENCE, page_size=50)
        quick = tap.sync()
        with tap.start(*tap.arguments()) as process:
            head = b""
            for _ in range(3):
                time.sleep(1.5 * singer.PATIENCE)
                head += os.read(process.stdout.fileno(), 1)
            slow = tap.finish(process, head)
    t.equal((slow.exit, slow.timeless == quick.timeless), (0, True), "same output", slow.stderr[-1500:])
    t.ok(len(quick.stdout) > 2 * 65536, "which is more than a pipe holds", len(quick.stdout))


@case("surroundings")
def surroundings(t):
    """Neither locale nor time zone nor current folder shows in the output."""
    tap = t.tap(HAMLET.open(), start_date=START)
    usual = tap.sync(env={"LC_ALL": "C", "TZ": "UTC"})
    for name, env, cwd in (
        ("locale", {"LC_ALL": "tr_TR.UTF-8", "LANG": "de_DE.UTF-8"}, None),
        ("time zone", {"TZ": "Pacific/Kiritimati"}, None),
        ("time zone with daylight saving", {"TZ": "EST5EDT,M3.2.0,M11.1.0"}, None),
        ("current folder", {}, "/"),
    ):
        run = tap.sync(env=env, cwd=cwd)
        t.ok(run.exit == 0 and run.timeless == usual.timeless, f"{name} makes no difference", run.stderr[-600:])


@case("config values as text")
def config_as_text(t):
    """Meltano passes every setting as a string."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = plain_catalog("destinations", "usage_mtu_workspace_daily")
    typed = tap.sync(
        catalog=catalog, config={"page_size": 7, "max_connections": 2, "unique_keys": True, "request_timeout": 60}
    )
    text = {"page_size": "7", "max_connections": "2", "unique_keys": "true", "request_timeout": "60"}
    run = tap.sync(catalog=catalog, config=text)
    t.equal((run.exit, run.timeless), (typed.exit, typed.timeless), "numbers and booleans may be strings", run.stderr)
    t.equal(typed.of_type("SCHEMA")[0].get("key_properties"), ["id", "sourceId"], "unique_keys is in force")
    bearer = tap.sync(catalog=catalog, config={"api_token": "Bearer " + TOKEN, **text})
    t.equal(bearer.timeless, typed.timeless, "Bearer before the token is cut off", bearer.stderr)
    alias = tap.sync(catalog=catalog, config={"api_token": None, "access_token": TOKEN, **text})
    t.equal(alias.timeless, typed.timeless, "access_token is another name of api_token", alias.stderr)
    empty = tap.sync(catalog=catalog, config={**text, "request_timeout": "", "end_date": None})
    t.equal(empty.timeless, typed.timeless, "an empty request_timeout is the default", empty.stderr)


@case("config from the environment")
def config_from_environment(t):
    """--config ENV, as Meltano's SDK reads it, and several --config files."""
    tap = t.tap(HAMLET.open())
    catalog = tap.file("catalog.json", plain_catalog("sources"))
    env = {
        "TAP_SEGMENT_API_TOKEN": TOKEN,
        "TAP_SEGMENT_START_DATE": START,
        "TAP_SEGMENT_BASE_URL": tap.config["base_url"],
        "TAP_SEGMENT_CA_FILE": tap.config["ca_file"],
        "TAP_SEGMENT_PAGE_SIZE": "7",
    }
    usual = tap.sync("--catalog", catalog)
    run = tap.run("--config", "ENV", "--catalog", catalog, env=env)
    t.equal((run.exit, run.timeless), (0, usual.timeless), "ENV is enough", run.stderr)
    wrong = tap.file("wrong.json", {"api_token": "another", "page_size": 3})
    run = tap.run("--config", "ENV", f"--config={wrong}", "--catalog", catalog, env=env)
    t.equal((run.exit, run.timeless), (0, usual.timeless), "ENV beats files wherever it stands", run.stderr)
    run = tap.run("-c", wrong, "--conf", tap.arguments()[1], "--cat", catalog)
    t.equal((run.exit, run.timeless), (0, usual.timeless), "of two files the later wins", run.stderr)
    for name in ("STREAM_MAPS", "FLATTENING_ENABLED"):
        run = tap.run("--config", "ENV", env=env | {f"TAP_SEGMENT_{name}": "{}"})
        t.equal(run.exit, 0, f"{name} that is empty", run.stderr)
        run = tap.run("--config", "ENV", env=env | {f"TAP_SEGMENT_{name}": "true"})
        check_refusal(t, run, f"{name} that is not", rf"TAP_SEGMENT_{name}: this tap does not do that")


@case("config file that others can read")
def readable_config(t):
    """A token in a readable file deserves a word."""
    tap = t.tap(HAMLET.open())
    catalog = tap.file("catalog.json", plain_catalog("iam_groups"))
    for mode, warned in ((0o600, 0), (0o644, 1), (0o640, 1), (0o620, 1), (0o602, 1), (0o666, 2), (0o711, 0)):
        path = tap.file("open.json", tap.config, mode)
        run = tap.run("--config", path, "--catalog", catalog)
        warnings = [line for line in run.log("WARNING") if "open.json" in line]
        t.equal((run.exit, len(warnings)), (0, warned), f"mode {mode:o}", run.stderr)
        t.none((line for line in warnings if not line.endswith("; chmod 600 helps")), f"mode {mode:o}: what helps")
    if os.geteuid() == 0:
        path = tap.file("open.json", tap.config)
        os.chown(path, 65534, 65534)
        for mode, warned in ((0o640, 0), (0o644, 1), (0o660, 1)):
            os.chmod(path, mode)
            run = tap.run("--config", path, "--catalog", catalog)
            warnings = [line for line in run.log("WARNING") if "open.json" in line]
            t.equal((run.exit, len(warnings)), (0, warned), f"another's file, mode {mode:o}", run.stderr)
    secrets = tap.file("secrets.json", {"api_token": TOKEN}, 0o600)
    rest = {key: value for key, value in tap.config.items() if key != "api_token"}
    for content, mode, said in (
        (rest, 0o644, []),
        (rest | {"api_token": "", "access_token": None}, 0o644, []),
        (rest, 0o666, ["change it"]),
        (rest | {"access_token": TOKEN}, 0o644, ["read the token"]),
        (rest | {"proxy": "http://user:secret@127.0.0.1:1"}, 0o644, ["read the token"]),
    ):
        words = ["--config", tap.file("open.json", content, mode), "--config", secrets, "--test=schema"]
        warnings = [line for line in tap.run(*words).log("WARNING") if "open.json" in line]
        found = [next((text for text in ("read the token", "change it") if text in line), line) for line in warnings]
        t.equal(found, said, f"{sorted(content)}, mode {mode:o}: warned of what it holds", *warnings)
    (tap.folder / ".meltano").mkdir()
    path = tap.file(".meltano/open.json", tap.config, 0o644)
    (told,) = [line for line in tap.run("--config", path, "--catalog", catalog).log("WARNING") if "open.json" in line]
    t.ok("umask 077" in told and "chmod" not in told, "below .meltano: what helps there", told)
    run = tap.sync("--catalog", catalog, config={"colour": "blue"})
    warnings = [line for line in run.log("WARNING") if "colour" in line]
    t.equal((run.exit, len(warnings)), (0, 1), "an unknown key is a warning", run.stderr)


@case("config from a pipe")
def piped_config(t):
    """A named pipe's mode says nothing about who can read the token."""
    tap = t.tap(HAMLET.open())
    pipe = tap.folder / "pipe"
    os.mkfifo(pipe, 0o644)
    with tap.start("--config", str(pipe), "--test=schema", "--select", "iam_groups") as process:
        pipe.write_text(json.dumps(tap.config))
        run = tap.finish(process)
    t.equal((run.exit, run.stderr), (0, ""), "no warning", run.stderr)


NAMES_MISTYPED = [
    # what is given by file or environment, words of the log
    ({"api_token": None, "api_tokn": TOKEN}, {}, ["unknown key", "api_tokn", "did you mean api_token?", "required"]),
    ({"start_date": None, "startdate": "2026-01-01"}, {}, ["startdate", "did you mean start_date?", "required"]),
    ({}, {"TAP_SEGMENT_STRAT_DATE": "x"}, ["TAP_SEGMENT_STRAT_DATE", "did you mean TAP_SEGMENT_START_DATE?"]),
    ({"start_date": None}, {"TAP_SEGMENT_STARTDATE": "x"}, ["TAP_SEGMENT_STARTDATE", "required"]),
]


@case("config names mistyped")
def mistyped(t):
    """What nobody reads is named, with the nearest name, also where that is why something is missing."""
    tap = t.tap()
    for changes, env, words in NAMES_MISTYPED:
        run = tap.sync("--config", "ENV", "--test=schema", "--select", "iam_groups", config=changes, env=env)
        missing = [word for word in words if word not in run.stderr]
        t.equal((run.exit, missing), (2 if "required" in words else 0, []), f"{words[0]} {words[1]}", run.stderr)
    run = tap.sync("--test=schema", "--select", "iam_groups", env={"TAP_SEGMENT_STRAT_DATE": "x"})
    t.equal((run.exit, run.stderr), (0, ""), "without --config ENV the environment is not read")
    run = tap.sync("--test=schema", "--select", "iam_groups", env={"TAP_SEGMENT_PAGE_SIZE": "many"})
    t.equal((run.exit, run.stderr), (0, ""), "so nothing in it can be wrong")
    run = tap.sync("--config", "ENV", "--test=schema", "--select", "iam_groups", env={"TAP_SEGMENT__SELECT": "x"})
    t.equal((run.exit, run.stderr), (0, ""), "Meltano's own variables are no mistakes")


ENVIRONMENT_ERRORS = [
    ("START_DATE", "yesterday", r'TAP_SEGMENT_START_DATE: "yesterday": '),
    ("PAGE_SIZE", "many", r"TAP_SEGMENT_PAGE_SIZE: "),
    ("API_TOKEN", f'"{TOKEN}"', r"TAP_SEGMENT_API_TOKEN: .*quotes"),
    ("BASE_URL", "ftp://localhost", r"TAP_SEGMENT_BASE_URL: "),
    ("PROXY", "socks5://localhost", r"TAP_SEGMENT_PROXY: "),
    ("CA_FILE", "/nonexistent.pem", r"TAP_SEGMENT_CA_FILE: "),
]


@case("errors of the environment")
def environment_errors(t):
    """What came from a variable is blamed on it, whoever refuses it."""
    tap = t.tap()
    for name, value, pattern in ENVIRONMENT_ERRORS:
        run = tap.sync("--config", "ENV", env={"TAP_SEGMENT_" + name: value})
        check_refusal(t, run, name, pattern)
        run = tap.sync("--test", env={"TAP_SEGMENT_" + name: value}, config={"page_size": "many"})
        check_refusal(t, run, f"{name}: --test of a wrong config, ENV not asked for", r"config\.json: page_size")


@case("values as people write them")
def loose_values(t):
    """Blanks around a token, regions in any case, times without a zone, seconds with decimals, Python's levels."""
    server = HAMLET.open()
    tap = t.tap(server, start_date=START)
    catalog = plain_catalog("audit_events")
    usual = tap.sync(catalog=catalog)
    for name, changes in (
        ("blanks and a line's end around the token", {"api_token": f" {TOKEN}\r\n"}),
        ("Bearer and blanks", {"api_token": f"\nBearer  {TOKEN} "}),
        ("a time without a zone", {"start_date": START[:10] + "T00:00:00"}),
        ("a zone without a colon, no second", {"start_date": START[:10] + "T00:00+0000"}),
        ("region EU1", {"region": "EU1"}),
        ("seconds with decimals", {"request_timeout": 300.0}),
        ("seconds with decimals as text", {"request_timeout": "12.5"}),
    ):
        run = tap.sync(catalog=catalog, config=changes)
        t.equal((run.exit, run.timeless), (0, usual.timeless), name, run.stderr)
    bom = "\ufeff" + json.dumps({**tap.config, "api_token": TOKEN}).replace(", ", ",\r\n")
    run = tap.run(
        "--config", tap.file("bom.json", bom), "--catalog", tap.file("c.json", "\ufeff" + json.dumps(catalog))
    )
    t.equal((run.exit, run.timeless), (0, usual.timeless), "a byte order mark and CRLF", run.stderr)
    run = tap.sync("--select", "audit_events", state="\ufeff" + json.dumps({"bookmarks": {}}))
    t.equal((run.exit, run.records("audit_events")), (0, usual.records("audit_events")), "in a state", run.stderr)
    said = "debug, info, warning, error and critical are"
    for level, lines in (
        ("WARN", []),
        ("FATAL", []),
        ("loud", [f'WARNING LOGLEVEL: "loud" is no level; {said}']),
        (TOKEN, [f"WARNING LOGLEVEL: is no level; {said}"]),
    ):
        run = tap.sync("--test=schema", catalog=catalog, env={"LOGLEVEL": level})
        t.equal((run.exit, run.log("WARNING")), (0, lines), f"LOGLEVEL={level}", run.stderr)


@case("state that is none")
def no_state(t):
    """What is no state is refused before anything of it is written."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for name, state in (
        ("the config", tap.config),
        ("some object", {"a": {}}),
        ("wrapped", {"singer_state": {"a": 1}}),
    ):
        check_refusal(t, tap.sync(state=state), name, r"state\.json: .*bookmarks")
    state = {"bookmarks": {}, "note": [f"the token is {TOKEN}!"], TOKEN: {"a": TOKEN}}
    run = tap.sync("--select", "iam_groups", state=state)
    t.equal(run.exit, 0, "a token in a state", run.stderr)
    t.ok(TOKEN.encode() not in run.stdout and b"the token is ***!" in run.stdout, "is struck out of it", run.stdout)
    for name, state, warned in (
        ("Meltano's file", {"completed": {"singer_state": {"bookmarks": {"audit_events": "2999-01-01"}}}}, 2),
        ("a bookmark without a time", {"bookmarks": {"audit_events": {"last_record": "2026-01-01"}}}, 1),
        ("none of ours", {"bookmarks": {"x": {"replication_key_value": "2026-01-01"}, "y": {}}}, 1),
    ):
        run = tap.sync("--select", "audit_events", state=state)
        t.equal((run.exit, len(run.log("WARNING"))), (0, warned), f"{name}: {warned} warnings", run.stderr)


@case("catalog of the Python tap")
def python_catalog(t):
    """Its names and forced methods are taken; a stream whose schema lacks the replication key is a full table."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = json.loads(json.dumps(plain_catalog("iam_users", "iam_groups", "audit_events")))
    for entry, name in zip(catalog["streams"], ("users", "groups")):
        entry.update(tap_stream_id=name, stream=name)
    del catalog["streams"][2]["schema"]["properties"]["timestamp"]
    state = {"bookmarks": {"audit_events": "2999-01-01"}, "currently_syncing": "groups"}
    run = tap.sync(catalog=catalog, state=state)
    t.equal((run.exit, run.order), (0, ["groups", "audit_events", "users"]), "its streams, in its names", run.stderr)
    t.equal(len([line for line in run.log("WARNING") if "replication key" in line]), 1, "a warning", run.stderr)
    schema = run.of_type("SCHEMA", "audit_events")[0]
    t.equal(schema.get("bookmark_properties"), None, "audit_events is a full table")
    t.equal(run.states[-1]["bookmarks"]["audit_events"], "2999-01-01", "whose bookmark stays")


# Keys that the Python tap has otherwise than the API's documentation.  The first two are those of unique_keys here.
PYTHON_KEYS = {
    "destinations": ["id", "sourceId"],
    "source_connected_destinations": ["id", "sourceId"],
    "destination_subscriptions": ["id"],
    "destination_delivery_metrics_summary": ["sourceId", "destinationId"],
}


def null_last(schema):
    """A schema with its types in another order."""
    made = {key: value for key, value in schema.items()}
    if isinstance(schema.get("type"), list):
        made["type"] = sorted(schema["type"], key="null".__eq__)
    if "properties" in schema:
        made["properties"] = {name: null_last(child) for name, child in schema["properties"].items()}
    if "items" in schema:
        made["items"] = null_last(schema["items"])
    return made


def python_entry(stream):
    """An entry of a catalog as the Python tap's discovery makes it, selected: methods forced, no replication-key."""
    name = {"iam_users": "users", "iam_groups": "groups"}.get(stream.name, stream.name)
    schema = null_last(stream.schema)
    if name == "destination_delivery_metrics_summary":
        del schema["properties"]["timestamp"]
    incremental = stream.incremental and "timestamp" in schema["properties"]
    keys = PYTHON_KEYS.get(name, list(stream.keys(False)))
    about = {
        "inclusion": "available",
        "table-key-properties": keys,
        "forced-replication-method": "INCREMENTAL" if incremental else "FULL_TABLE",
        "valid-replication-keys": ["timestamp"] if incremental else [],
        "selected": True,
    }
    fields = [{"breadcrumb": ["properties", f], "metadata": {"inclusion": "available"}} for f in schema["properties"]]
    metadata = [{"breadcrumb": [], "metadata": about}, *fields]
    return {"tap_stream_id": name, "stream": name, "key_properties": keys, "schema": schema, "metadata": metadata}


@case("from the Python tap")
def from_python(t):
    """Its config, its catalog and its state, as they lie there: the same rows under its names, by its keys."""
    tap = t.tap(HAMLET.open(), start_date=START)
    usual = tap.sync()
    config = {"api_token": None, "access_token": TOKEN, "user_agent": "tap-segment <me@example.com>"}
    catalog = {"streams": sorted((python_entry(stream) for stream in STREAMS), key=lambda entry: entry["stream"])}
    run = tap.sync(catalog=catalog, config={**config, "request_timeout": 300.0})
    names = [{"iam_users": "users", "iam_groups": "groups"}.get(stream.name, stream.name) for stream in STREAMS]
    t.equal((run.exit, run.order), (0, names), "all its streams, in its names", run.stderr[-1500:])
    for stream, name in zip(STREAMS, names):
        absent = {"timestamp"} if name == "destination_delivery_metrics_summary" else set()
        rows = [[pair for pair in row if pair[0] not in absent] for row in usual.records(stream.name)]
        t.equal(run.records(name), rows, f"{name}: the rows of a run without its catalog")
    keys = {m.get("stream"): m.get("key_properties") for m in run.of_type("SCHEMA")}
    ours = {name: list(STREAM[name].keys(False)) for name in list(PYTHON_KEYS)[:2]}
    t.equal({name: keys[name] for name in PYTHON_KEYS}, {**PYTHON_KEYS, **ours}, "keys that are none of ours are kept")
    unique = tap.sync("--test=schema", catalog=catalog, config={**config, "unique_keys": True})
    keys = {m.get("stream"): m.get("key_properties") for m in unique.of_type("SCHEMA")}
    t.equal({name: set(keys[name]) for name in PYTHON_KEYS}, {n: set(k) for n, k in PYTHON_KEYS.items()}, "unique_keys")
    groups = next(entry for entry in catalog["streams"] if entry["stream"] == "groups")
    groups["schema"]["properties"]["memberCount"]["type"] = ["integer", "null"]
    run = tap.sync(catalog={"streams": [groups]}, config=config)
    told = any("memberCount is a number, but the schema takes null or integer" in line for line in run.log("ERROR"))
    t.equal((run.exit, told), (1, True), "1.5 in a column of integers is not cut, but named", run.stderr)
    del groups["schema"]["properties"]["memberCount"]

    since = stamp(midnight(segment.now()) - 20 * DAY).replace(".000000Z", "Z")
    for label, bookmark in (("as it writes them", {"timestamp": since}), ("as its README has them", since)):
        state = {"bookmarks": {"audit_events": bookmark, "gone": {}}, "currently_syncing": "users"}
        run = tap.sync(catalog=catalog, state=state, config=config)
        times = [row.get("timestamp") for row in run.records("audit_events")]
        t.equal((run.exit, run.order[0]), (0, "users"), f"bookmarks {label}: goes on with its stream", run.stderr)
        t.ok(times and min(map(instant, times)) >= instant(since), f"bookmarks {label}: and from its times", times[:3])
        t.equal(run.states[-1]["bookmarks"]["gone"], {}, f"bookmarks {label}: what is not this tap's stays")


@case("keys of a catalog")
def catalog_keys(t):
    """Keys that discovery wrote are nobody's wish, whatever the config said then or says now."""
    tap = t.tap(HAMLET.open(), start_date=START)
    name = "source_connected_warehouses"
    for then in (False, True):
        config = tap.file("keys.json", {"unique_keys": then})
        run = tap.run("--discover", "--config", config)
        catalog = singer.select(json.loads(run.stdout), name)
        entry = singer.entry_of(catalog, name)
        keys = list(STREAM[name].keys(then))
        found = (entry["key_properties"], singer.metadata_of(entry)["table-key-properties"])
        t.equal((run.exit, run.stderr, found), (0, "", (keys, keys)), f"discovered with unique_keys {then}")
        for now in (False, True):
            run = tap.sync("--test=schema", catalog=catalog, config={"unique_keys": now})
            got = run.of_type("SCHEMA")[0].get("key_properties")
            t.equal(got, list(STREAM[name].keys(now)), f"unique_keys {then}, then {now}", run.stderr)


# --- selection


def deselect(entry, *path):
    """The user's wish to leave a field out."""
    singer.metadata_of(entry, *path)["selected"] = False


@case("selection")
def selection(t):
    """Streams, fields, nested fields and fields of array items, the usual way."""
    tap = t.tap(HAMLET.open(), start_date=START)
    options = Options(instant(START))
    raw = tap.sync(catalog=discovered())
    t.equal((raw.exit, raw.order, raw.of_type("RECORD")), (0, [], []), "a raw catalog selects nothing")
    t.ok(raw.log("WARNING"), "which is worth a warning", raw.stderr)
    t.none(singer.protocol_faults(raw), "STATE all the same")

    catalog = singer.select(discovered(), "iam_users", "sources")
    check_sync(t, tap.sync(catalog=catalog), ["sources", "iam_users"], options, "two streams: ")

    entry = singer.entry_of(catalog, "sources")
    gone = {"slug", "metadata.logos", "metadata.options[].defaultValue", "labels", "id", "settings"}
    deselect(entry, "properties", "slug")
    deselect(entry, "properties", "metadata", "properties", "logos")
    deselect(entry, "properties", "metadata", "properties", "options", "items", "properties", "defaultValue")
    deselect(entry, "properties", "labels")
    deselect(entry, "properties", "id")
    singer.metadata_of(entry, "properties", "settings")["selected"] = "false"
    run = tap.sync(catalog=catalog)
    check_selected(t, run, "sources", pruned(STREAM["sources"].schema, gone - {"id"}), "fields: ")

    child = tap.sync(catalog=singer.select(discovered(), "source_connected_warehouses"))
    check_sync(t, child, ["source_connected_warehouses"], options, "a child without its parent: ")


def check_selected(t, run, name, schema, label):
    """SCHEMA and RECORDs carry the selected fields, and no others."""
    t.equal(run.exit, 0, f"{label}exit status", run.stderr[-800:])
    (message,) = run.of_type("SCHEMA", name)
    t.equal(json.dumps(singer.plain(message.get("schema"))), json.dumps(schema), f"{label}SCHEMA as selected")
    check_stream(t, run, name, HAMLET.expect(name, Options(instant(START)), schema=schema), label)
    t.none(singer.protocol_faults(run), f"{label}every message as Singer wants it")


RULES = [
    # --select, streams expected
    ("sources", ["sources"]),
    ("sources,iam_*", ["sources", "iam_users", "iam_groups", "iam_group_members"]),
    ("iam_*,!iam_users", ["iam_groups", "iam_group_members"]),
    (
        "!usage_*,!catalog_*,!*destination*,!source*,!audit_events",
        ["warehouses", "iam_users", "iam_groups", "transformations"],
    ),
    ("transformations, warehouses", ["warehouses", "transformations"]),
]


@case("select")
def select_option(t):
    """--select: globs in place of the catalog's selection."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for rules, names in RULES:
        run = tap.sync("--select", rules, catalog=plain_catalog("audit_events"))
        t.equal((run.exit, run.order), (0, names), rules, run.stderr)
    kept = {"id", "name"}
    gone = set(STREAM["sources"].schema["properties"]) - kept
    run = tap.sync("--select", "sources.name")
    check_selected(t, run, "sources", pruned(STREAM["sources"].schema, gone), "sources.name: ")
    run = tap.sync("--select", "sources,!sources.metadata,!*.id")
    check_selected(t, run, "sources", pruned(STREAM["sources"].schema, {"metadata"}), "all but a field: ")
    for rules, nearest in (
        ("sourcs", "sources"),
        ("sources,!iam_user", "iam_users"),
        ("sources.nmae", "sources.name"),
    ):
        check_refusal(t, tap.sync("--select", rules), f"nothing is {rules}", rf"--select: .*{nearest}")
    check_refusal(t, tap.run("--discover", "--select", "sourcs"), "in discovery too", r"--select: .*sources")
    check_refusal(t, tap.sync("--select", ","), "no rule", r"--select")
    catalog = json.loads(tap.run("--discover", "--select", "iam_users,!*.email").stdout)
    rerun = tap.sync(catalog=catalog)
    t.equal(rerun.order, ["iam_users"], "a catalog discovered with --select is selected", rerun.stderr)
    names = {name for row in rerun.records("iam_users") for name in row.names()}
    t.ok("name" in names and "email" not in names, "down to its fields", names)


@case("legacy selection")
def legacy_selection(t):
    """--properties: the catalog of singer-python's first years, without metadata."""
    tap = t.tap(HAMLET.open())
    schema = json.loads(json.dumps(STREAM["warehouses"].schema))
    schema["selected"] = True
    schema["properties"]["settings"]["selected"] = False
    streams = [
        {"tap_stream_id": "warehouses", "stream": "warehouses", "schema": schema},
        {
            "tap_stream_id": "iam_groups",
            "stream": "iam_groups",
            "schema": {**STREAM["iam_groups"].schema, "selected": False},
        },
    ]
    run = tap.sync(properties={"streams": streams})
    t.equal(run.order, ["warehouses"], "selected in the schema", run.stderr)
    left = [name for row in run.records("warehouses") for name in row.names() if name == "settings"]
    t.equal((bool(run.records("warehouses")), left), (True, []), "a field deselected in its schema node")


@case("overrides")
def overrides(t):
    """A user's own keys, in the spellings that are about, and what a catalog names but we don't have."""
    tap = t.tap(HAMLET.open())
    for spelling in ("metadata", "table-key-properties", "entry"):
        catalog = singer.select(discovered(), "source_connected_warehouses")
        entry = singer.entry_of(catalog, "source_connected_warehouses")
        if spelling == "entry":
            entry["key_properties"] = ["id"]
        else:
            key = "key-properties" if spelling == "metadata" else spelling
            singer.metadata_of(entry)[key] = ["id"]
        run = tap.sync(catalog=catalog)
        t.equal(run.of_type("SCHEMA")[0].get("key_properties"), ["id"], f"keys by {spelling}", run.stderr)
    catalog = singer.select(discovered(), "iam_groups")
    catalog["streams"] += [
        {**singer.entry_of(catalog, "iam_groups"), "tap_stream_id": "unheard", "stream": "unheard"}
    ]
    singer.metadata_of(singer.entry_of(catalog, "iam_groups"), "properties", "unseen")["selected"] = True
    run = tap.sync(catalog=catalog)
    t.equal((run.exit, run.order), (0, ["iam_groups"]), "unknown stream and field", run.stderr)
    for word in ("unheard", "unseen"):
        t.equal(len([line for line in run.log("WARNING") if word in line]), 1, f"one warning for {word}", run.stderr)
    catalog = singer.select(discovered(), "sources")
    for path in singer.breadcrumbs(STREAM["sources"].schema["properties"]["metadata"]):
        deselect(singer.entry_of(catalog, "sources"), "properties", "metadata", *path)
    run = tap.sync(catalog=catalog)
    t.equal(
        {str(row.get("metadata")) for row in run.records("sources")}, {"[]"}, "an object without its fields is {}"
    )
    t.equal(
        len([line for line in run.log("WARNING") if "metadata" in line]), 1, "which is worth a warning", run.stderr
    )


@case("catalog with its own schema")
def own_schema(t):
    """A user's schema drives SCHEMA and projection: narrowed, retyped, and a row that doesn't fit."""
    tap = t.tap(HAMLET.open())
    catalog = plain_catalog("iam_groups")
    text = {"type": ["null", "string"]}
    schema = {"type": "object", "properties": {"id": text, "memberCount": text, "permissions": text}}
    catalog["streams"][0]["schema"] = schema
    check_selected(t, tap.sync(catalog=catalog), "iam_groups", schema, "numbers and lists as text: ")

    bad = {"type": "object", "properties": {"id": text, "name": {"type": ["null", "number"]}}}
    catalog["streams"][0]["schema"] = bad
    both = {"streams": catalog["streams"] + plain_catalog("transformations")["streams"]}
    run = tap.sync(catalog=both)
    first = run.records("iam_groups")
    t.equal((run.exit, len(first)), (1, 0), "a row that doesn't fit ends its stream", run.stderr)
    named = [line for line in run.log("ERROR", "CRITICAL") if "iam_groups" in line and "name" in line]
    t.ok(named, "the error names stream and field", run.stderr)
    check_stream(t, run, "transformations", HAMLET.expect("transformations", Options(0)), "the others go on: ")


# --- state


@case("round trip")
def round_trip(t):
    """The last line of a run, fed back, continues it: nothing lost, and repeated only from the bookmark on."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = plain_catalog(*INCREMENTAL)
    first = tap.sync(catalog=catalog)
    state = first.states[-1]
    t.equal(json.loads(first.lines[-1])["type"], "STATE", "tail -1 is a STATE")
    second = tap.sync(catalog=catalog, state=state)
    marks = {
        name: instant(state["bookmarks"][name]["timestamp"]) for name in INCREMENTAL if name in state["bookmarks"]
    }
    t.equal(sorted(marks), sorted(INCREMENTAL), "every incremental stream has a bookmark")
    check_sync(t, second, INCREMENTAL, Options(instant(START)), "second run: ", bookmarks=marks)
    t.equal(second.states[0], state, "the first line is the input state")
    for name, mark in marks.items():
        again = [row for row in first.records(name) if instant(row.get("timestamp")) >= mark]
        t.ok(again and again == second.records(name), f"{name}: just the rows from the bookmark on", len(again))
    t.equal(
        tap.sync(catalog=catalog, state=second.lines[-1]).timeless, second.timeless, "a whole STATE line as state"
    )


@case("resume after an end_date")
def resume_after_end(t):
    """Two runs over two halves of the time make one run over the whole."""
    tap = t.tap(HAMLET.open(), start_date=START)
    names = INCREMENTAL
    catalog = plain_catalog(*names)
    whole = tap.sync(catalog=catalog)
    for days in (5, 40):
        end = stamp(midnight(segment.now()) - days * DAY)
        first = tap.sync(catalog=catalog, config={"end_date": end})
        bounds = Options(instant(START), instant(end))
        check_sync(t, first, names, bounds, f"{days} days before now: ")
        second = tap.sync(catalog=catalog, state=first.lines[-1])
        for name in names:
            both = {json.dumps(singer.plain(row)) for row in first.records(name) + second.records(name)}
            lost = [row for row in whole.records(name) if json.dumps(singer.plain(row)) not in both]
            t.none(lost, f"{days} days before now: {name}: nothing is lost")


LONG_AGO, SOON = "2023-05-06", stamp(segment.now() + 400 * DAY)
NOON = stamp(midnight(segment.now()) - 20 * DAY + DAY // 2)
TIMES = [
    # name, config, bookmark of every stream, warnings expected of so many streams
    ("a start before the workspace", {"start_date": LONG_AGO}, None, 5),
    ("a start at noon", {"start_date": NOON}, None, 1),
    ("a start with an offset", {"start_date": NOON.replace("Z", "+05:45")}, None, 1),
    ("a start today", {"start_date": stamp(segment.now())[:10]}, None, 0),
    ("a start in the future", {"start_date": SOON}, None, 6),
    ("an end at noon", {"start_date": START, "end_date": NOON}, None, 1),
    ("an end in the future", {"start_date": NOON, "end_date": SOON}, None, 1),
    ("an end before the start", {"start_date": NOON, "end_date": START}, None, 6),
    ("a bookmark at noon", {"start_date": START}, NOON, 1),
    ("a bookmark in the future", {"start_date": START}, SOON, 6),
    ("a bookmark after the end", {"start_date": START, "end_date": START}, NOON, 6),
]


@case("times")
def times(t):
    """start_date, end_date and bookmark in all orders."""
    for name, config_changes, bookmark, warned in TIMES:
        tap = t.tap(HAMLET.open(), **config_changes)
        marks = {stream: {"timestamp": bookmark} for stream in INCREMENTAL if bookmark}
        run = tap.sync(catalog=plain_catalog(*INCREMENTAL), state={"bookmarks": marks})
        end = config_changes.get("end_date")
        options = Options(instant(config_changes["start_date"]), end and instant(end))
        bookmarks = {stream: instant(bookmark) for stream in marks}
        check_sync(t, run, INCREMENTAL, options, f"{name}: ", bookmarks=bookmarks)
        told = [line for line in run.log("WARNING") if line.split()[1].rstrip(":") in INCREMENTAL]
        t.equal(len(told), warned, f"{name}: one warning a stream that it concerns", run.stderr[-3000:])


@case("resume from every STATE")
def resume_from_every_state(t):
    """Wherever a run dies, the rows before its last STATE and those of the next run are all rows."""
    tap = t.tap(HAMLET.open(), start_date=START)
    whole = tap.sync()
    everything = rows_of(whole.lines)
    places = [i for i, message in enumerate(whole.messages) if message.get("type") == "STATE"]
    t.ok(len(places) > 30, "there are many", len(places))
    places = places[:: 8 if singer.WRAPPED else 1]
    lost = []
    for place in places:
        second = tap.sync(state=whole.lines[place])
        missing = everything - rows_of(whole.lines[:place]) - rows_of(second.lines)
        if missing or second.exit != 0:
            lost.append(f"line {place}: exit {second.exit}, {len(missing)} rows: {sorted(missing)[:2]}")
    t.none(lost, f"nothing is lost from any of {len(places)}")


def rows_of(lines):
    """RECORD lines without what differs from run to run."""
    return {re.sub('"time_extracted": ?"[^"]*"', "", line) for line in lines if '"type":"RECORD"' in line}


@case("full table")
def full_table(t):
    """FULL_TABLE on an incremental stream: its bookmark is neither read nor moved, and kept."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = singer.select(discovered(), "audit_events", **{"replication-method": "FULL_TABLE"})
    mark = {"audit_events": {"timestamp": stamp(midnight(segment.now()))}}
    run = tap.sync(catalog=catalog, state={"bookmarks": mark})
    t.equal(run.exit, 0, "exit status", run.stderr)
    check_stream(t, run, "audit_events", HAMLET.expect("audit_events", Options(instant(START))))
    t.equal([state["bookmarks"] for state in run.states if state["bookmarks"] != mark], [], "the bookmark is kept")


KEPT_STATES = [
    # name, state, what it amounts to
    ("null", "null", {}),
    ("empty object", "{}", {}),
    ("meltano state get", {"singer_state": {"bookmarks": {}}}, {}),
    ("lines of a target", '{"bookmarks":{"x":1}}\n{"bookmarks":{"x":2}}\n', {"x": 2}),
    ("plain text bookmark", {"bookmarks": {"audit_events": "2026-11-01"}}, None),
    ("the SDK's bookmark", {"bookmarks": {"audit_events": {"replication_key_value": "2026-11-01T00:00:00Z"}}}, None),
    (
        "other streams' bookmarks",
        '{"bookmarks": {"other": {"a": [1, 2.50]}}, "more": 1E400}',
        {"other": {"a": [1, 2.5]}},
    ),
]


@case("forms of state")
def forms_of_state(t):
    """Every form of state that is about is read; what isn't ours stays as it was."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = plain_catalog("audit_events", "iam_groups")
    for name, content, bookmarks in KEPT_STATES:
        run = tap.sync(catalog=catalog, state=content)
        expected = content["bookmarks"] if bookmarks is None else bookmarks
        ours = expected.get("audit_events")
        mark = ours if isinstance(ours, str) else (ours or {}).get("replication_key_value")
        wanted = HAMLET.expect("audit_events", Options(instant(START)), bookmark=instant(mark) if mark else None)
        check_stream(t, run, "audit_events", wanted, f"{name}: ")
        last = run.states[-1]["bookmarks"]
        kept = {k: v for k, v in last.items() if k != "audit_events"}
        t.equal(kept, {k: v for k, v in expected.items() if k != "audit_events"}, f"{name}: the rest is kept")
    t.ok('{"a":[1,2.50]}' in run.lines[-1] and '"more":1E400' in run.lines[-1], "digit for digit", run.lines[-1])


@case("interrupted stream")
def interrupted(t):
    """currently_syncing: that stream first, then the rest, then the earlier ones."""
    tap = t.tap(HAMLET.open(), start_date=START)
    names = ["sources", "warehouses", "iam_users", "iam_groups"]
    for syncing, order in (
        ("iam_users", ["iam_users", "iam_groups", "sources", "warehouses"]),
        ("users", ["iam_users", "iam_groups", "sources", "warehouses"]),
        ("catalog_sources", names),
        ("unheard_of", names),
        (None, names),
    ):
        run = tap.sync(catalog=plain_catalog(*names), state={"bookmarks": {}, "currently_syncing": syncing})
        t.equal(run.order, order, f"currently_syncing {syncing}", run.stderr)
        t.equal(run.states[0].get("currently_syncing"), syncing, f"currently_syncing {syncing}: first STATE as given")
        t.equal(run.states[-1]["currently_syncing"], None, f"currently_syncing {syncing}: null at the end")


# --- rows that are no longer there


@case("versions")
def versions(t):
    """A table loses the rows that the workspace has lost: two workspaces in turn, with the same tables."""
    tables = singer.Tables()
    wish = {"unique_keys": True, "activate_version": True}
    for world in (TOWN, HAMLET):
        run = t.tap(world.open(), start_date=START, **wish).sync()
        t.none(singer.protocol_faults(run), "every message as Singer wants it")
        tables.load(run)
        full = [name for name in NAMES if not STREAM[name].incremental]
        t.equal(tables.activated, full, "every full table is activated, once, in its turn", run.stderr[-1500:])
        numbers = {m["version"] for m in map(json.loads, run.lines) if "version" in m}
        t.equal(len(numbers), 1, "one version a run", numbers)
        dated = [m for m in map(json.loads, run.lines) if m["type"] == "RECORD" and "version" in m]
        t.equal({m["stream"] for m in dated} - set(full), set(), "incremental streams have none")
    plain = t.tap(HAMLET.open(), start_date=START, unique_keys=True).sync()
    today = singer.Tables()
    today.load(plain)
    for name in full:
        t.equal(tables.table(name), today.table(name), f"{name}: just the rows of today")
    t.ok(b'"version":' not in re.sub(rb'"record":.*?,"time_ex', b"", plain.stdout), "none without the wish")
    t.equal(plain.of_type("ACTIVATE_VERSION"), [], "and nothing is activated")


@case("versions of what is not whole")
def versions_in_part(t):
    """No row goes because a request failed: a list, one parent, a stream without permission."""
    tables = singer.Tables()
    wish = {"unique_keys": True, "activate_version": True, "max_attempts": 1}
    names = ["sources", "warehouses", "source_connected_warehouses", "iam_users", "iam_groups"]
    catalog = plain_catalog(*names)
    tables.load(t.tap(TOWN.open(), start_date=START, **wish).sync(catalog=catalog))
    before = {name: tables.table(name) for name in names}
    (gone, *_) = [row.get("id") for row in TOWN.expect("sources", Options(0)).records]
    faults = ["/warehouses?*:500", f"/sources/{gone}/connected-warehouses*:404", "/users*:403"]
    with Server("--scale", "12", *[word for fault in faults for word in ("--fault", fault)]) as server:
        run = t.tap(server, start_date=START, **wish).sync(catalog=catalog)
    tables.load(run)
    t.equal((run.exit, tables.activated), (1, ["sources", "iam_groups"]), "whole streams only", run.stderr[-1500:])
    for name in names:
        t.equal(tables.table(name), before[name], f"{name}: no row is lost")


@case("warning of keys")
def key_warning(t):
    """One short line, that says how many; silent once somebody has decided, unless rows go by the keys."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for changes, warned in (
        ({}, 8),
        ({"unique_keys": False}, 0),
        ({"unique_keys": True}, 0),
        ({"activate_version": True}, 4),
        ({"activate_version": True, "unique_keys": False}, 4),
        ({"activate_version": True, "unique_keys": True}, 0),
    ):
        told = [line for line in tap.sync(config=changes).log("WARNING") if "key" in line]
        t.equal(len(told), 1 if warned else 0, f"{changes}: one line, or none", *told)
        if warned:
            t.ok(f"the key of {warned} streams does not" in told[0], f"{changes}: how many", *told)
            t.ok(len(told[0]) <= 160, f"{changes}: a short one", len(told[0]))
    told = tap.sync("--select", "source_connected_warehouses").log("WARNING")
    t.ok(any("the key of 1 stream does not" in line for line in told), "one stream alone", *told)


# --- output and state file


@case("output file")
def output_file(t):
    """The same bytes as on standard output, under a name of the day; the state that belongs to them."""
    tap = t.tap(HAMLET.open(), start_date=START)
    names = "audit_events,iam_groups"
    out, state = tap.folder / "out-%Y%m%d.jsonl", tap.folder / "state.json"
    words = ["--select", names, "--output", str(out), "--state-file", str(state)]
    plain = tap.sync("--select", names)
    for label, before in (("first run", None), ("second run", plain.states[-1])):
        run = tap.sync(*words)
        wanted = tap.sync("--select", names, state=before) if before else plain
        (file,) = tap.folder.glob("out-*.jsonl")
        t.equal((run.exit, run.stdout), (0, b""), f"{label}: nothing on standard output", run.stderr)
        t.equal(file.name, time.strftime("out-%Y%m%d.jsonl", time.gmtime(segment.now() / 1e6)), f"{label}: its name")
        run.stdout = file.read_bytes()
        t.equal(run.timeless, wanted.timeless, f"{label}: the messages of standard output")
        t.equal(json.loads(state.read_text()), wanted.states[-1], f"{label}: the last STATE's value")
        t.ok(re.search(f"The messages are in {file}, the state in {state}", run.stderr), f"{label}: the log says where")
        run.stdout = b""
    t.none(tap.folder.glob("*.part"), "nothing is left over")


@case("output file in place of another")
def output_replaced(t):
    """Its mode and a link to it stay; nothing else is replaced, and on a wrong command line not even that."""
    tap = t.tap(HAMLET.open(), start_date=START)
    old = Path(tap.file("old.jsonl", "old\n", mode=0o640))
    link = tap.folder / "link"
    link.symlink_to("old.jsonl")
    spelt = f"{tap.folder}/./old.jsonl"
    for name, words, pattern in (
        ("a wrong config", ["--config", tap.file("bad.json", "{}"), "--output", str(link)], r"api_token"),
        ("a device", [*tap.arguments(), "--output", "/dev/null"], r"/dev/null: is no regular file"),
        ("no such folder", [*tap.arguments(), "--output", str(old / "x")], r"old\.jsonl/x: Not a directory"),
        ("an unknown conversion", [*tap.arguments(), "--output", f"{old}-%q"], r"%q is no conversion"),
        ("an empty state", [*tap.arguments(), "-o", str(old), "--state-file", tap.file("none", "")], r"holds no state"),
        ("one file for both", [*tap.arguments(), "-o", str(old), "--state-file", str(old)], r"same file"),
        ("the other's name", [*tap.arguments(), "-o", str(old), "--state-file", f"{old}.part"], r"FILE\.part"),
        ("one file by a link", [*tap.arguments(), "-o", str(link), "--state-file", str(old)], r"same file"),
        ("one new file in two spellings", [*tap.arguments(), "-o", f"{old}.n", "--state-file", f"{spelt}.n"], r"same file"),
        ("a dash", [*tap.arguments(), "-o", "-"], r'--output: "-" is not a file; standard output is what'),
        ("a dash for the state", [*tap.arguments(), "-o", str(old), "--state-file", "-"], r'--state-file: "-" is not'),
    ):
        check_refusal(t, tap.run(*words), name, pattern)
        t.equal(old.read_text(), "old\n", f"{name}: the old output stays")
    run = tap.sync("--select", "iam_groups", "--output", str(link))
    t.equal((run.exit, link.is_symlink(), old.stat().st_mode & 0o777), (0, True, 0o640), "link and mode", run.stderr)
    t.equal(old.read_text().count('"RECORD"'), len(HAMLET.expect("iam_groups", Options(0)).records), "new records")
    t.none(tap.folder.glob("*.part"), "nothing is left over")


@case("output file in place of an input")
def output_input(t):
    """What a run reads, the state file included, is not lost to what it writes, in whatever spelling."""
    tap = t.tap(base_url="https://localhost:1", max_attempts=1)
    config = tap.file("config.json", tap.config)
    catalog = tap.file("catalog.json", plain_catalog("iam_groups"))
    state = tap.file("state.part", {"bookmarks": {}})
    link = tap.folder / "link"
    link.symlink_to("catalog.json")
    plain, out = ["--config", config], str(tap.folder / "out")
    for name, words, pattern in (
        ("a state file", ["-o", f"{tap.folder}/./state", "--state-file", state], r"FILE\.part"),
        ("by a state file", ["-o", state, "--state-file", f"{tap.folder}/./state"], r"FILE\.part"),
        ("the configuration", ["-o", f"{tap.folder}/./config.json"], r"--output: .*config\.json would .*config\.json"),
        ("another of several", ["-c", tap.file("more.json", "{}"), "-o", config], r"--output: .*config\.json, which"),
        ("the catalog", ["--catalog", catalog, "-o", str(link)], r"--output: .*catalog\.json, which"),
        ("the older catalog", ["-p", str(link), "-o", catalog], r"--output: .*catalog\.json would .*link, which"),
        ("the state", ["-s", state, "-o", f"{tap.folder}/./state.part"], r"--output: .*state\.part, which"),
        ("what is written first", ["-s", state, "-o", f"{tap.folder}/./state"], r"--output: .*state\.part, which"),
        ("by the state", ["-o", out, "--state-file", config], r"--state-file: .*config\.json, which"),
    ):
        before = {file.name: file.read_text() for file in tap.folder.iterdir()}
        check_refusal(t, tap.run(*plain, *words), name, pattern)
        t.equal({file.name: file.read_text() for file in tap.folder.iterdir()}, before, f"{name}: nothing is touched")


@case("output file of another run")
def output_locked(t):
    """A second run into the same files does not begin; a signal or a fatal error leaves whole files."""
    tap = t.tap(HAMLET.open(), start_date=START)
    with Server(*DEMO, "--fault", "/groups*:stall") as server:
        words = ["--select", "iam_groups,iam_users", "--output", str(tap.folder / "out"), "--state-file"]
        words.append(str(tap.folder / "state"))
        slow = t.tap(server, start_date=START)
        with slow.start(*slow.arguments(*words)) as process:
            while not server.requests():
                time.sleep(0.05)
            second = tap.sync(*words)
            third = tap.sync("--select", "iam_groups", "--output", str(tap.folder / "out"))
            while '"RECORD"' not in (tap.folder / "out.part").read_text():
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            run = slow.finish(process)
    for name, other, file in (("state file", second, "state"), ("output", third, "out")):
        t.equal((other.exit, other.stdout), (3, b""), f"the same {name}: exit status", other.stderr)
        t.ok(f"{tap.folder / file}: another run is writing it" in other.stderr, f"the same {name}: it is named")
    lines = (tap.folder / "out").read_text().splitlines()
    t.equal(run.exit, 128 + signal.SIGTERM, "a signal: exit status", run.stderr)
    t.ok(any('"RECORD"' in line for line in lines), "a signal: what is written has its name")
    state = json.loads((tap.folder / "state").read_text())
    t.equal(state, json.loads(lines[-1])["value"], "a signal: the state is the last one")
    t.equal(state["currently_syncing"], "iam_groups", "a signal: the stream under way")


@case("output file without room")
def output_full(t):
    """What could not be written whole does not take the place of the old output."""
    tap = t.tap(HAMLET.open(), start_date=START)
    old = Path(tap.file("out", "old\n"))
    words = tap.arguments("--output", str(old))
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *singer.COMMAND]
    nowhere = {"GCOV_PREFIX": "/dev/null"}  # where make coverage's counters go, which are too large for the limit
    process = subprocess.run(limited + words, env=os.environ | nowhere, capture_output=True, text=True)
    stderr = process.stderr
    t.equal((process.returncode, old.read_text()), (1, "old\n"), "exit status, and the old output stays", stderr)
    last = [line for line in stderr.splitlines() if singer.is_log_line(line)][-1]
    t.ok("out.part: File too large" in last, "the last line says why", stderr)
    t.none(tap.folder.glob("*.part"), "nothing is left over")


# --- keys


@case("keys")
def keys(t):
    """What a target that upserts keeps: one row a key; with unique_keys every row."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for unique_keys in (False, True):
        run = tap.sync(config={"unique_keys": unique_keys})
        for stream in STREAMS:
            name, wanted = stream.name, list(stream.keys(unique_keys))
            label = f"unique_keys {str(unique_keys).lower()}: {name}: "
            (schema,) = run.of_type("SCHEMA", name)
            t.equal(schema.get("key_properties"), wanted, f"{label}key_properties")
            rows = HAMLET.expect(name, Options(instant(START))).records
            survivors = {}
            for row in rows:
                survivors[tuple(json.dumps(singer.plain(row.get(key))) for key in wanted)] = row
            table = singer.upsert(run, name)
            same = list(table) == list(survivors) and not any(difference(survivors[k], table[k]) for k in table)
            t.ok(same, f"{label}{len(survivors)} of {len(rows)} rows survive", len(table))
            if unique_keys:
                t.equal(len(table), len(rows), f"{label}no row is lost")
        warned = [line for line in run.log("WARNING") if "unique_keys" in line]
        t.equal(warned, [], f"unique_keys {unique_keys}: no warning, as somebody has decided")


# --- TLS


REFUSED = [
    # certificate, what the error says
    (
        "expired",
        r"has expired on \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ; this machine's clock says \d{4}-\d\d-\d\dT.*"
        r"ask the operator of the server or proxy for another certificate",
    ),
    (
        "not-yet-valid",
        r"not valid before \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ; this machine's clock says \d{4}-\d\d-\d\dT",
    ),
    ("wrong-name", r"name"),
    ("ip-only", r"name"),
    ("unknown-root", r"trust|ca_file"),
    ("self-signed", r"trust|ca_file"),
    ("missing-intermediate", r"trust|intermediate|ca_file"),
    ("sha1", r"not accepted \(SHA-1.*; ask the operator of the server or proxy for another certificate"),
    ("rsa1024", r"RSA key below 2048 bits; ask the operator of the server or proxy for another certificate"),
]


@case("certificates")
def certificates(t):
    """A server that can't prove its name gets no request, and so no token."""
    for name, pattern in REFUSED:
        with Server(*DEMO, chain=f"{name}.chain.pem", key=f"{name}.key.pem") as server:
            run = t.tap(server).sync()
            t.equal(run.exit, 4, f"{name}: exit status", run.stderr)
            t.equal(server.requests(), [], f"{name}: no request was sent")
            t.equal(run.of_type("RECORD"), [], f"{name}: no record")
            lines = [
                line for line in run.log("ERROR", "CRITICAL") if re.search(pattern, line) and "localhost" in line
            ]
            t.ok(lines, f"{name}: the error says what is wrong, and names the host", run.stderr)
            t.none(singer.protocol_faults(run), f"{name}: STATE first and last")
    for name in ("rsa2048", "rsa3072", "rsa4096", "p384"):
        with Server(*DEMO, chain=f"{name}.chain.pem", key=f"{name}.key.pem") as server:
            run = t.tap(server).sync(catalog=plain_catalog("iam_groups"))
            t.equal((run.exit, bool(run.of_type("RECORD"))), (0, True), f"{name}: is accepted", run.stderr)


@case("roots by SSL_CERT_FILE")
def roots_by_variable(t):
    """A file of roots that the environment names: read where the config names none, and as strictly."""
    root = str(segment.certificates() / "root.pem")
    tap = t.tap(HAMLET.open(), ca_file=None)
    words = ["--select", "iam_groups"]
    run = tap.sync(*words, env={"SSL_CERT_FILE": root})
    t.equal((run.exit, bool(run.records("iam_groups"))), (0, True), "its roots are trusted", run.stderr)
    run = tap.sync(*words)
    t.equal((run.exit, run.records("iam_groups")), (4, []), "without it, the system's: this server is refused", run.stderr)
    for name in ("/nonexistent.pem", "/dev/null"):
        run = tap.sync(*words, env={"SSL_CERT_FILE": name})
        check_refusal(t, run, f"SSL_CERT_FILE {name}", rf"SSL_CERT_FILE: {name}: ")
    run = tap.sync(*words, env={"SSL_CERT_FILE": "/nonexistent.pem"}, config={"ca_file": root})
    t.equal(run.exit, 0, "ca_file is the nearer word", run.stderr)
    run = tap.sync(*words, env={"SSL_CERT_DIR": "/etc/ssl/certs"})
    told = [line for line in run.log("WARNING") if "SSL_CERT_DIR" in line]
    t.equal((run.exit, len(told)), (4, 1), "SSL_CERT_DIR: a word that it is not read", run.stderr)


@case("unreachable")
def unreachable(t):
    """Nobody listens: the run ends, with a STATE."""
    tap = t.tap(None, base_url="https://localhost:1", max_attempts=2)
    run = tap.sync(state={"bookmarks": {"x": 1}})
    t.equal((run.exit, run.of_type("RECORD")), (3, []), "exit status", run.stderr)
    t.equal(run.states[-1]["bookmarks"], {"x": 1}, "the last STATE is the input state")
    t.ok(any("localhost" in line for line in run.log("CRITICAL", "ERROR")), "the error names the host", run.stderr)


@case("nothing works")
def nothing_works(t):
    """What every request meets decides whether to try later, to see what is wrong, or to call somebody."""
    for fault, status in (("503", 3), ("500-empty", 3), ("cut", 3), ("400", 1), ("wrong-shape", 1), ("403", 4)):
        with Server(*DEMO, "--fault", f"*:{fault}") as server:
            for words in ([], ["--test"]):
                run = t.tap(server, **ONCE).sync(*words, catalog=plain_catalog("sources", "iam_users"))
                label = f"{fault} {' '.join(words)}"
                t.equal((run.exit, run.of_type("RECORD")), (status, []), f"{label}: exit status", run.stderr)
                t.ok(run.log("CRITICAL") or status == 1, f"{label}: says why", run.stderr)


@case("plain http on loopback")
def plain_http(t):
    """Allowed for tests on the same machine."""
    with Server(*DEMO, plain=True) as server:
        run = t.tap(server).sync(catalog=plain_catalog("sources"))
        t.equal(run.exit, 0, "exit status", run.stderr)
        check_stream(t, run, "sources", HAMLET.expect("sources", Options(0)))


@case("gzip")
def gzip(t):
    """The same records with and without; a tenth of the bytes, and the last line says so."""
    sizes = {}
    for name, options in (("with gzip", ()), ("without", ("--no-gzip",))):
        with Server("--scale", "12", *options) as server:
            run = t.tap(server, start_date=START).sync()
            check_sync(t, run, NAMES, Options(instant(START)), f"{name}: ", world=TOWN)
            asked = {line.split()[6] for line in server.requests()}
        t.equal(asked, {"gzip"}, f"{name}: what is asked for")
        match = re.search(r" (\d+) bytes \((\d+) decoded\), \d+\.\d s$", run.stderr.rstrip())
        sizes[name] = tuple(map(int, match.groups())) if match else (0, 0)
        metrics = re.findall(r'"http_bytes_\w+", "value": (\d+)', run.stderr)
        t.equal(tuple(map(int, metrics)), sizes[name], f"{name}: metrics and the last line say the same")
    (wire, decoded), (wire_without, decoded_without) = sizes.values()
    t.ok(0 < wire * 3 < wire_without, "with gzip: less than a third of the bytes", sizes)
    t.equal(decoded, decoded_without, "and they say the same")
    t.ok(0 < decoded_without < wire_without, "without: bodies beside the heads", sizes)


@case("gzip that is always broken")
def gzip_broken(t):
    """Each answer's first attempt fails, the second asks for none."""
    with Server(*DEMO, "--fault", "*:gzip-crc") as server:
        names = ["sources", "iam_users"]
        run = t.tap(server, **TWICE).sync(catalog=plain_catalog(*names))
        asked = [line.split()[6] for line in sorted(server.requests(), key=lambda line: line.split()[2])]
    t.equal(run.exit, 0, "exit status", run.stderr)
    for name in names:
        check_stream(t, run, name, HAMLET.expect(name, Options(0)))
    t.equal(asked, ["gzip", "identity"] * (len(asked) // 2), "with gzip, then without")
    t.ok(run.log("WARNING") and "wrong CRC" in run.log("WARNING")[0], "a warning says why", run.stderr)


# --- faults


LISTS = [stream.path for stream in STREAMS if "{" not in stream.path]
PASSING = {
    # what goes wrong once, and must not show: each kind hits another stream's first request
    "the connection": """reset-before-head reset-in-head reset-in-body cut-before-head cut-in-head cut cut-notify
        chunked-cut until-cut close close-keepalive""",
    "the framing": """bad-length two-lengths length-and-chunks bad-chunk long-chunk bare-lf-chunk obs-fold
        space-before-colon bad-status-line not-http unknown-coding gzip""",
    "the coding": """gzip-cut gzip-crc gzip-length gzip-garbage gzip-block gzip-br gzip-cut-chunked""",
    "the server": "408 425 500 500-empty 502 502-html 503 503-empty",
    "the rate": "429-after 429-body 429-junk",
    "the rate, by date": "429-date 429-reset remaining-0",
    "the body": "bad-json half-json empty-body html wrong-shape wrong-rows no-data",
    "nothing": "until-close chunked early-hints gzip-members x-gzip until-close-gzip",
}


def passing_case(title, kinds):
    """Several faults of one sort in one run; the output must be that of a run without them."""

    @case(f"passing trouble with {title}")
    def passing(t):
        rules = [word for path, kind in zip(LISTS, kinds) for word in ("--fault", f"{path}:{kind}:1")]
        with Server(*DEMO, *rules) as server:
            run = t.tap(server, start_date=START).sync()
            check_sync(t, run, NAMES, Options(instant(START)))
            met = {line.split()[5] for line in server.requests()} - {"-"}
            t.equal(sorted(met), sorted(kinds), "each fault took place")
        if title not in ("the connection", "nothing"):
            told = [line for line in run.log("WARNING", "INFO") if line.split()[1].rstrip(":") in NAMES]
            t.ok(len(told) >= len(kinds), "each is worth a line that names the stream", run.stderr[-2000:])


for name, text in PASSING.items():
    passing_case(name, text.split())


LASTING = [
    # kind, config, what the error says beside the stream's name
    ("cut", TWICE, ""),
    ("cut-notify", TWICE, ""),
    ("reset-in-body", TWICE, ""),
    ("bad-framing", TWICE, ""),
    ("gzip", TWICE, r"gzip"),
    ("gzip-bomb", {}, r"MiB"),
    ("bad-json", {}, r"JSON"),
    ("wrong-shape", {}, r"data\.sources"),
    ("wrong-rows", {}, r"object"),
    ("huge-length", {}, r"length|MiB"),
    ("endless-head", {}, r"head"),
    ("endless-1xx", {}, r"1xx|head"),
    ("endless-trailer", {}, r"trailer|head"),
    ("endless-body", {}, r"MiB|large|limit"),
    ("loop-cursor", {"page_size": 1}, r"cursor|circle"),
    ("stall", ONCE, r"time"),
    ("drip", ONCE, r"time"),
    ("500", TWICE, r"500"),
    ("503-empty", TWICE, r"503"),
    ("301", {}, r"301 leads to \S+, which is not followed"),
    ("400", {}, r"400"),
    ("404", {}, r"404"),
    ("422", {}, r"422"),
]


def lasting_case(kind, config_changes, pattern):
    """One list that never comes: its stream and its children fail, the others don't."""

    @case(f"lasting {kind}")
    def lasting(t):
        plain = kind == "endless-body"  # 64 MiB through TLS say no more, and take most of a minute behind a wrapper
        with Server(*DEMO, "--fault", f"/sources:{kind}", plain=plain) as server:
            tap = t.tap(server, **config_changes)
            names = ["sources", "source_connected_warehouses", "iam_users"]
            run = tap.sync(catalog=plain_catalog(*names))
            t.equal(run.exit, 1, "exit status", run.stderr)
            if kind != "loop-cursor":
                t.equal(run.records("sources"), [], "not a row of it")
            t.equal(run.records("source_connected_warehouses"), [], "nor of its child")
            check_stream(t, run, "iam_users", HAMLET.expect("iam_users", Options(0)), "the others go on: ")
            t.none(singer.protocol_faults(run), "every message as Singer wants it")
            t.equal(run.states[-1], {"bookmarks": {}, "currently_syncing": None}, "the last STATE is true")
            errors = run.log("ERROR", "CRITICAL")
            found = [line for line in errors if re.search(rf"\bsources: .*({pattern})", line)]
            t.ok(found, "the error says what and where", run.stderr)
            child = [
                line for line in run.log("WARNING", "ERROR") if line.split()[1] == "source_connected_warehouses:"
            ]
            t.equal(len(child), 1, "the child is named too", run.stderr)


for row in LASTING:
    lasting_case(*row)


@case("second page broken")
def second_page_broken(t):
    """Rows of whole pages stay; the bookmark of the month doesn't move."""
    name = "usage_api_calls_per_source_daily"
    with Server(*DEMO, "--fault", "/usage/*cursor*:cut") as server:
        tap = t.tap(server, start_date=START, page_size=2, max_attempts=1)
        run = tap.sync(catalog=plain_catalog(name))
        whole = HAMLET.expect(name, Options(instant(START))).records
        got = run.records(name)
        t.equal(run.exit, 1, "exit status", run.stderr)
        t.ok(len(got) < len(whole), "not all rows")
        t.none((d for e, g in zip(whole, got) if (d := difference(e, g))), "those before are right")
        t.equal(run.states[-1]["bookmarks"].get(name), None, "the bookmark has not moved")


# --- access


ACCESS = [
    # name, faults, fail_on_forbidden, exit, streams with a SCHEMA, streams warned about
    ("403 of a list", ["/users*:403"], False, 0, ["iam_groups"], ["iam_users"]),
    ("403 of a list, strictly", ["/users*:403"], True, 1, ["iam_groups"], ["iam_users"]),
    ("401 of a list", ["/users*:401"], False, 0, ["iam_groups"], ["iam_users"]),
    ("403 of a month", ["/usage/*:403"], False, 0, ["iam_groups"], ["usage_api_calls_workspace_daily"]),
    ("403 of a span", ["/audit-events*:403"], False, 0, ["iam_groups"], ["audit_events"]),
    ("403 of parents", ["/sources:403"], False, 0, ["iam_groups"], ["sources", "source_connected_warehouses"]),
]


@case("access")
def access(t):
    """What a token may not read is skipped with a warning."""
    for name, faults, strict, status, order, warned in ACCESS:
        rules = [word for fault_rule in faults for word in ("--fault", fault_rule)]
        with Server(*DEMO, *rules) as server:
            tap = t.tap(server, start_date=START, fail_on_forbidden=strict)
            run = tap.sync(catalog=plain_catalog(*warned, *order))
            t.equal(run.exit, status, f"{name}: exit status", run.stderr)
            t.equal([s for s in run.order if s in order], order, f"{name}: the others go on")
            t.equal([s for s in warned if run.of_type("RECORD", s)], [], f"{name}: no record of the skipped")
            for stream in warned:
                lines = [line for line in run.log("WARNING", "ERROR") if line.split()[1] == f"{stream}:"]
                t.equal(len(lines), 1, f"{name}: {stream} is named once", run.stderr)
            t.equal(run.states[-1]["currently_syncing"], None, f"{name}: the run came to its end")


@case("token refused")
def token_refused(t):
    """A token that works nowhere ends the run."""
    tap = t.tap(HAMLET.open(), api_token="wrong-" + TOKEN[::-1])
    run = tap.sync()
    t.equal((run.exit, run.of_type("RECORD")), (4, []), "exit status", run.stderr)
    t.ok(
        any("401" in line or "token" in line for line in run.log("CRITICAL", "ERROR")),
        "the error says so",
        run.stderr,
    )
    t.none(singer.protocol_faults(run), "STATE first and last")


PARENTS = [
    # name, status, of how many parents, exit, is the stream skipped
    ("404 of one parent", 404, 1, 0),
    ("403 of one parent", 403, 1, 0),
]


@case("parents")
def parents(t):
    """A parent that is gone or closed is skipped, with one warning for all."""
    name = "source_connected_warehouses"
    ids = [row.get("id") for row in HAMLET.expect("sources", Options(0)).records]
    for label, status, count, expected_exit in PARENTS:
        lost = ids[1 : 1 + count]
        rules = [word for i in lost for word in ("--fault", f"/sources/{i}/connected-warehouses*:{status}")]
        with Server(*DEMO, *rules) as server:
            run = t.tap(server).sync(catalog=plain_catalog(name))
        expected = HAMLET.expect(name, Options(0))
        expected.records = [row for row in expected.records if row.get("sourceId") not in lost]
        t.equal(run.exit, expected_exit, f"{label}: exit status", run.stderr)
        check_stream(t, run, name, expected, f"{label}: ")
        warned = [line for line in run.log("WARNING") if lost[0] in line]
        t.equal(len(warned), 1, f"{label}: one warning with the first one's id", run.stderr)
    with Server(*DEMO, "--fault", "/sources/*/connected-warehouses*:403") as server:
        run = t.tap(server).sync(catalog=plain_catalog(name, "iam_groups"))
        asked = [line for line in server.requests() if "connected-warehouses" in line]
    t.equal((run.exit, run.records(name)), (0, []), "403 of every parent: skipped", run.stderr)
    t.ok(len(asked) <= 3 + 4, "403 of every parent: asked of three, and of those under way", len(asked))


@case("two runs, the first with a hole")
def holes(t):
    """A day of a destination, or a month, is refused or broken: the exit status says so, and the next run has all."""
    metrics, usage = "destination_delivery_metrics_summary", "usage_api_calls_workspace_daily"
    destination = HAMLET.expect("destinations", Options(0)).records[1].get("id")
    day = stamp(midnight(segment.STARTED) - 4 * DAY)[:10]
    delivery = f"/destinations/{destination}/delivery-metrics*startTime={day}*"
    month = f"/usage/api-calls/daily*period={stamp(segment.month(segment.STARTED, -1))[:10]}*"
    for name, rule in ((metrics, delivery), (usage, month)):
        whole = {json.dumps(_flat(row)) for row in HAMLET.expect(name, Options(instant(START))).records}
        for kind in ("401", "403", "422", "500", "cut", "wrong-shape"):
            with Server(*DEMO, "--fault", f"{rule}:{kind}") as server:
                first = t.tap(server, start_date=START, **ONCE).sync("--select", name)
            second = t.tap(HAMLET.open(), start_date=START).sync("--select", name, state=first.states[-1])
            both = {json.dumps(singer.plain(row)) for row in first.records(name) + second.records(name)}
            label = f"{name}, {kind}: "
            t.equal((first.exit, second.exit), (1, 0), f"{label}exit statuses", first.stderr, second.stderr)
            t.ok(len(first.records(name)) < len(whole), f"{label}the first run lacks something")
            t.equal(len(both), len(whole), f"{label}both runs hold every row", first.stderr)


# --- signals and pipes


SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
SOON = 10 * singer.PATIENCE  # seconds: a second on an idle machine, and minutes if a signal did not end what waits


@case("signals")
def signals(t):
    """A signal ends the run with a true last STATE, from which the next run goes on."""
    options = Options(instant(START))
    for number, status in SIGNALS:
        with Server(*DEMO, "--latency", "100") as server:
            tap = t.tap(server, start_date=START, page_size=50)
            run, seconds = interrupt(tap, number, b'"RECORD"')
            t.ok(seconds < SOON, f"{number.name}: soon", seconds)
            t.equal(run.exit, status, f"{number.name}: exit status", run.stderr)
            t.none(singer.protocol_faults(run), f"{number.name}: whole messages, STATE last")
            state = run.states[-1]
            t.ok(state["currently_syncing"] in NAMES, f"{number.name}: STATE names the stream under way", state)
        check_resumed(t, tap.sync(state=state, config={"base_url": HAMLET.open().url}), run, options, number.name)
        with Server(*DEMO, "--fault", "*:stall") as server:
            run, seconds = interrupt(t.tap(server), number, b'"STATE"')
            t.ok(seconds < SOON, f"{number.name} while nothing comes: soon", seconds)
            t.equal(run.exit, status, f"{number.name} while nothing comes: exit status", run.stderr)
            t.none(singer.protocol_faults(run), f"{number.name} while nothing comes: STATE last")


def wait_for_handlers(process):
    """Until the program has set what it does about signals: the kernel tells, else a while has to do."""
    caught = 1 << (signal.SIGHUP - 1)
    end = time.monotonic() + 120
    while not singer.WRAPPED and os.path.exists(f"/proc/{process.pid}/status") and time.monotonic() < end:
        text = open(f"/proc/{process.pid}/status", encoding="ascii", errors="replace").read()
        if int(re.search(r"^SigCgt:\s*([0-9a-f]+)", text, re.M)[1], 16) & caught:
            return
        time.sleep(0.01)
    time.sleep(singer.PATIENCE / 4)


@case("signal while a file is opened")
def signal_before_the_run(t):
    """A named pipe that nobody writes to: the signal ends that wait too."""
    for number, status in SIGNALS:
        tap = t.tap()
        pipe = os.path.join(tap.folder, "pipe")
        os.mkfifo(pipe)
        with tap.start("--config", pipe) as process:
            wait_for_handlers(process)
            process.send_signal(number)
            run = tap.finish(process)
        t.equal((run.exit, run.stdout, run.stderr), (status, b"", ""), number.name)


@case("core files")
def core_files(t):
    """A core file would hold the token: there is none, whatever the limit was."""
    tap = t.tap()
    pipe = os.path.join(tap.folder, "pipe")
    os.mkfifo(pipe)
    with tap.start("--config", pipe) as process:
        limits = f"/proc/{process.pid}/limits"
        with open(pipe, "wb"):  # waits until the tap has opened it, and holds it there
            text = open(limits, encoding="ascii").read() if os.path.exists(limits) else ""
        tap.finish(process)
    if not text:
        t.skip("the limit", "this system does not show it")
    else:
        t.ok(re.search(r"^Max core file size +0 ", text, re.M), "the limit", text)


@case("SIGINT ignored from the start")
def ignored_interrupt(t):
    """As a shell has it for what it starts in the background: it stays ignored."""
    with Server(*DEMO, "--latency", "20") as server:
        tap = t.tap(server, start_date=START)
        words = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *singer.COMMAND, *tap.arguments("--select", "iam_*")]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        head = singer.first_lines(process, 1)
        process.send_signal(signal.SIGINT)
        run = tap.finish(process, head)
        t.equal((run.exit, bool(run.of_type("RECORD"))), (0, True), "the run goes on to its end", run.stderr)


def interrupt(tap, number, sign):
    """Sends the signal once the sign is seen on standard output.  The run, and how long it took to end."""
    with tap.start(*tap.arguments()) as process:
        head, more = b"", b"?"
        while more and sign not in head:
            more = os.read(process.stdout.fileno(), 65536)
            head += more
        begun = time.monotonic()
        process.send_signal(number)
        run = tap.finish(process, head)
        return run, time.monotonic() - begun


def check_resumed(t, second, first, options, label):
    """Both runs together hold every row."""
    t.equal(second.exit, 0, f"{label}: the next run ends well", second.stderr[-600:])
    for name in NAMES:
        both = {json.dumps(singer.plain(row)) for row in first.records(name) + second.records(name)}
        wanted = HAMLET.expect(name, options).records
        t.equal(
            len(both), len({json.dumps(_flat(row)) for row in wanted}), f"{label}: {name}: both runs hold every row"
        )


def _flat(value):
    """Expected values as ordinary data, good enough to be counted."""
    if isinstance(value, segment.Inner):
        return ["text", _flat(value.value)]
    if isinstance(value, segment.Pairs):
        return [[k, _flat(v)] for k, v in value]
    if isinstance(value, list):
        return [_flat(v) for v in value]
    return getattr(value, "text", value)


@case("stuck target")
def stuck_target(t):
    """A signal ends the run even while nobody reads its output."""
    for number, status in SIGNALS:
        tap = t.tap(HAMLET.open(), start_date=START)
        with tap.start(*tap.arguments()) as process:
            select.select([process.stdout], [], [])
            time.sleep(singer.PATIENCE)
            t.equal(process.poll(), None, f"{number.name}: it waits for the reader")
            process.send_signal(number)
            exit_status = process.wait(singer.TIMEOUT)
            run = tap.finish(process)
        t.equal(exit_status, status, f"{number.name}: exit status", run.stderr[-500:])


NAPS = 3  # seconds for which a target that loads a batch does not read
MOST = 9  # seconds that a run has to end in then, for containers get 10; a busy machine may add some


def sip(process, ended, read):
    """Reads like a target that loads batches: some, then nothing for a while."""
    while not ended.wait(NAPS):
        piece = os.read(process.stdout.fileno(), 100_000)
        read.append(piece)
        if not piece:
            return


def nap(tap, number, delay):
    """The run that gets the signal some seconds after its first line, and how long it takes to end."""
    ended, read = threading.Event(), []
    with tap.start(*tap.arguments()) as process:
        read.append(singer.first_lines(process, 1))
        reader = threading.Thread(target=sip, args=(process, ended, read))
        reader.start()
        time.sleep(delay)
        begun = time.monotonic()
        process.send_signal(number)
        process.wait(singer.TIMEOUT)
        seconds = time.monotonic() - begun
        ended.set()
        reader.join()
        run = tap.finish(process, b"".join(read))
    return run, seconds


@case("target that loads batches")
def napping_target(t):
    """A signal while the target sleeps, at several times: it gets its whole line and the last STATE, and soon."""
    ways = [(number, status, delay) for number, status in SIGNALS for delay in (0.1, 2, 3.2)]
    taps = [t.tap(HAMLET.open(), start_date=START, page_size=50) for _ in ways]
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
        results = list(pool.map(lambda tap, way: nap(tap, way[0], way[2]), taps, ways))
    for (number, status, delay), (run, seconds) in zip(ways, results):
        label = f"{number.name} after {delay} s"
        t.equal(run.exit, status, f"{label}: exit status", run.stderr[-500:])
        t.none(singer.protocol_faults(run), f"{label}: whole messages, STATE last", run.stdout[-300:])
        t.ok(seconds < (MOST + 5) * singer.PATIENCE, f"{label}: within {MOST} s", seconds)
        last = run.stderr.splitlines()[-1]
        t.ok("Sync stopped by a signal" in last, f"{label}: the last line says so", run.stderr[-500:])


@case("process 1")
def first_process(t):
    """As the only process of a container: what has no handler would be ignored there."""
    space = ["unshare", "--pid", "--fork"]
    if singer.WRAPPED or subprocess.run([*space, "true"], capture_output=True).returncode != 0:
        t.skip("signals", "unshare --pid is not permitted, or the program is wrapped")
        return
    for number, status in SIGNALS:
        with Server(*DEMO, "--latency", "100") as server:
            tap = t.tap(server, start_date=START, page_size=50)
            words = [*space, *singer.COMMAND, *tap.arguments()]
            with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                head = singer.first_lines(process, 20)
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                os.kill(int(children), number)
                run = tap.finish(process, head)
        t.equal(run.exit, status, f"{number.name}: exit status", run.stderr[-500:])
        t.none(singer.protocol_faults(run), f"{number.name}: whole messages, STATE last")


def closed_reader():
    """A pipe of which nobody reads the other end."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


OUTPUTS = [
    # name, descriptor, what the last line of the log says of standard output, at which level
    ("full disk", lambda: os.open("/dev/full", os.O_WRONLY), "No space left on device", "CRITICAL"),
    ("read-only", lambda: os.open("/dev/null", os.O_RDONLY), "it is closed, or open for reading only", "CRITICAL"),
    ("closed pipe", closed_reader, "whoever read it has gone", "WARNING"),
]


@case("output that fails")
def output_fails(t):
    """The last line of the log says why the run ended; a target that has gone away is no error of ours."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for name, descriptor, reason, level in OUTPUTS:
        for words in ([], ["--log-level", "warning"]):
            output = descriptor()
            with tap.start(*tap.arguments(*words), stdout=output) as process:
                os.close(output)
                run = tap.finish(process)
            label = " ".join([name, *words])
            last = run.stderr.splitlines()[-1] if run.stderr else ""
            good = re.fullmatch(rf"{level} Sync ended early: .*; standard output: {reason}", last)
            t.ok(run.exit == 1 and good, f"{label}: exit 1, and why", run.exit, run.stderr[-800:])
            t.equal(len(run.log("ERROR", "CRITICAL")), 0 if level == "WARNING" else 1, f"{label}: errors", run.stderr)
    for words in (["--discover"], ["--about"], ["--help"], tap.arguments("--test=schema")):
        with open("/dev/full", "wb") as full, tap.start(*words, stdout=full) as process:
            run = tap.finish(process)
        t.equal((run.exit, run.log("CRITICAL")), (1, ["CRITICAL standard output: No space left on device"]), words[-1])


@case("closed descriptors")
def closed_descriptors(t):
    """A standard descriptor that is closed is not taken by a file or a connection."""
    tap = t.tap(HAMLET.open())
    words = tap.arguments("--select", "iam_groups")
    wanted = tap.run(*words)
    for closed, status, seen in (("<&-", 0, wanted.timeless), ("2>&-", 0, wanted.timeless), (">&-", 1, b"")):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", *singer.COMMAND, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        run = tap.finish(process)
        t.equal((run.exit, run.timeless), (status, seen), f"{closed}: exit status and output", run.stderr)
    t.ok("standard output: it is closed" in run.stderr, "of a closed standard output the log tells", run.stderr)


# --- the streams that are read by name


ALONE = [
    # page_size, max_connections; in turn
    (1, 32),
    (7, 4),
    (200, 1),
    (1000, 8),
    (None, 2),
]


@case("each of the others alone")
def each_alone(t):
    """Its parents are read quietly, whatever they are children of."""
    server = HAMLET.open()
    for number, stream in enumerate(MORE[:: 4 if singer.WRAPPED else 1]):
        for page_size, connections in few((ALONE[number % 5], ALONE[(number + 2) % 5]), 1):
            tap = t.tap(server, start_date=START, page_size=page_size, max_connections=connections)
            run = tap.sync(catalog=plain_catalog(stream.name))
            label = f"page_size {page_size}, {connections} connections: "
            check_sync(t, run, [stream.name], Options(instant(START)), label)


ALL_SYNCS = [
    # workspace, page_size, max_connections
    (HAMLET, None, (4, 1, 32)),
    (HAMLET, 1, (8,)),
    (HAMLET, 7, (2,)),
    (TOWN, 200, (16,)),
    (TOWN, 1000, (3,)),
]


@case("all streams")
def all_streams(t):
    """The whole API: the output equals the source, whatever the page size and the number of connections."""
    catalog = plain_catalog(*ALL_NAMES)
    for world, page_size, numbers in few(ALL_SYNCS, 1):
        tap = t.tap(world.open(), start_date=START, page_size=page_size)
        first, *others = [tap.sync(catalog=catalog, config={"max_connections": number}) for number in numbers]
        label = f"{world.options[-1]}, page_size {page_size}, {numbers[0]} connections: "
        check_sync(t, first, ALL_NAMES, Options(instant(START)), label, world=world)
        for number, run in zip(numbers[1:], others):
            got = run.exit, run.timeless == first.timeless
            t.equal(got, (0, True), f"{label}byte for byte the same with {number}", run.stderr[-600:])


@case("requests of all streams")
def all_requests(t):
    """Each parent list is read once, no page is asked for twice, and nothing that the API would refuse."""
    with Server(*DEMO, "--twice") as server:
        tap = t.tap(server, start_date=START, unique_keys=True, page_size=1000)
        run = tap.sync(catalog=plain_catalog(*ALL_NAMES))
        lines = [line.split(maxsplit=6) for line in server.requests()]
        model = Model(Client(server))
        for stream in ALL:
            check_stream(t, run, stream.name, model.expect(stream.name, Options(instant(START))))
            t.equal(
                len(singer.upsert(run, stream.name)), len(run.records(stream.name)), f"{stream.name}: unique keys"
            )
    t.equal(run.exit, 0, "exit status", run.stderr[-1500:])
    targets = [words[2] for words in lines]
    t.equal(len(targets), len(set(targets)), "no page is asked for twice")
    refused = [words for words in lines if words[3] != "200"]
    t.none((f"{words[3]} {words[2]}" for words in refused), "none is refused")


@case("plain run")
def plain_run(t):
    """Without catalog and --select: the documented streams, and a word on the others."""
    tap = t.tap(HAMLET.open(), start_date=START)
    run = tap.sync()
    t.equal((run.exit, run.order), (0, NAMES), "the documented streams", run.stderr[-600:])
    told = [line for line in run.log("INFO") if re.search(rf"\b{len(MORE)}\b", line) and "--select" in line]
    t.equal(len(told), 1, "one info line says how many more there are, and how to choose them", run.stderr[:1500])
    run = tap.sync("--select", "*")
    t.equal((run.exit, run.order), (0, ALL_NAMES), "--select '*': all", run.stderr[-600:])
    run = tap.sync("--select", "!catalog_*")
    names = [name for name in NAMES if not name.startswith("catalog_")]
    t.equal((run.exit, run.order), (0, names), "a first rule that excludes: from the documented ones", run.stderr)


@case("secrets")
def secrets(t):
    """Fields that are secrets by nature are only read where they are named."""
    tap = t.tap(HAMLET.open(), start_date=START)
    for stream in (stream for stream in MORE if stream.secret):
        name, fields = stream.name, set(stream.schema["properties"])
        for rules, expected in (
            (name, fields - set(stream.secret)),
            ("*", fields - set(stream.secret)),
            (f"{name},{name}.{stream.secret[0]}", fields - set(stream.secret[1:])),
        ):
            run = tap.sync("--select", rules)
            check_selected(t, run, name, pruned(stream.schema, fields - expected), f"{rules}: ")
    rows = tap.sync("--select", "credentials").records("credentials")
    t.ok(rows and all(row.get("settings").names() == ["type"] for row in rows), "of credentials their type alone")


@case("events by day: round trip")
def events_round_trip(t):
    """Bookmarks of windows of days: repeated only from the bookmark on, whole days at an end_date."""
    tap = t.tap(HAMLET.open(), start_date=START)
    catalog = plain_catalog(*EVENTS)
    first = tap.sync(catalog=catalog)
    check_sync(t, first, EVENTS, Options(instant(START)), "first run: ")
    marks = {name: instant(first.states[-1]["bookmarks"][name]["timestamp"]) for name in EVENTS}
    second = tap.sync(catalog=catalog, state=first.lines[-1])
    check_sync(t, second, EVENTS, Options(instant(START)), "second run: ", bookmarks=marks)
    for name, mark in marks.items():
        again = sorted(singer.text(row) for row in first.records(name) if instant(row.get("timestamp")) >= mark)
        t.equal(sorted(map(singer.text, second.records(name))), again, f"{name}: just the days from the bookmark on")
    for end in (midnight(segment.now()) - 5 * DAY, midnight(segment.now()) - 8 * DAY + DAY // 2):
        half = tap.sync(catalog=catalog, config={"end_date": stamp(end)})
        check_sync(t, half, EVENTS, Options(instant(START), end), f"up to {stamp(end)}: ")
        rest = tap.sync(catalog=catalog, state=half.lines[-1])
        for name in EVENTS:
            both = {singer.text(row) for row in half.records(name) + rest.records(name)}
            lost = [row for row in map(singer.text, first.records(name)) if row not in both]
            t.none(lost, f"up to {stamp(end)}, and then the rest: {name}: nothing is lost")


EVENT_TIMES = [
    # name, start_date, bookmark, warnings of each delivery_overview stream
    ("a start beyond the reach", stamp(midnight(segment.now()) - 60 * DAY), None, 1),
    ("a bookmark beyond the reach", START, stamp(midnight(segment.now()) - 31 * DAY), 1),
    ("a bookmark at the reach", START, stamp(midnight(segment.now()) - 29 * DAY), 0),
    ("a bookmark at noon", START, stamp(midnight(segment.now()) - 3 * DAY + DAY // 2), 0),
    ("a bookmark today", START, stamp(midnight(segment.now())), 0),
]


@case("events by day: reach")
def events_reach(t):
    """What the API no longer has is one warning a stream; event volume reaches back for ever."""
    for name, start, bookmark, warned in EVENT_TIMES:
        tap = t.tap(HAMLET.open(), start_date=start)
        marks = {stream: {"timestamp": bookmark} for stream in EVENTS if bookmark}
        run = tap.sync(catalog=plain_catalog(*EVENTS), state={"bookmarks": marks})
        bookmarks = {stream: instant(bookmark) for stream in marks}
        check_sync(t, run, EVENTS, Options(instant(start)), f"{name}: ", bookmarks=bookmarks)
        for stream in EVENTS:
            told = [line for line in run.log("WARNING") if line.split()[1].rstrip(":") == stream]
            wanted = warned if STREAM[stream].reach else 0
            t.equal(len(told), wanted, f"{name}: {stream}: warnings", *told)


@case("events by day: 5000 groups")
def many_groups(t):
    """Where the API may have cut its answer, the window fails aloud and the bookmark stays."""
    name = "events_volume_daily"
    day = midnight(segment.now()) - 3 * DAY
    ids = [row.get("id") for row in HAMLET.expect("sources", Options(0)).records]
    for groups, whole in ((4999, True), (5000, False), (5200, False)):
        with Server(*DEMO, "--groups", groups) as server:
            expected = Model(Client(server)).expect(name, Options(day), bookmark=day)
            run = t.tap(server, start_date=START).sync(
                catalog=plain_catalog(name), state={"bookmarks": {name: {"timestamp": stamp(day)}}}
            )
        t.equal(run.exit, 0 if whole else 1, f"{groups} groups: exit status", run.stderr[-1500:])
        if whole:
            check_stream(t, run, name, expected, f"{groups} groups: ")
            check_bookmarks(t, run, name, expected, f"{groups} groups: ")
            continue
        told = [line for line in run.log("ERROR") if name in line and "5000" in line]
        t.ok(told, f"{groups} groups: the error names stream and limit", run.stderr[-1500:])
        others = [row for row in expected.records if row.get("sourceId") != ids[1]]
        got = [row for row in run.records(name) if row.get("sourceId") != ids[1]]
        t.equal(len(got), len(others), f"{groups} groups: the other sources' rows are there")
        t.equal(run.states[-1]["bookmarks"][name], {"timestamp": stamp(day)}, f"{groups} groups: the bookmark stays")


@case("no access to the others")
def others_forbidden(t):
    """A stream that the token may not read costs one request and one warning, its children none and one."""
    lists = ["workspace", "labels", "roles", "invites", "tracking_plans", "reverse_etl_models", "spaces"]
    rules = [word for name in lists for word in ("--fault", f"{STREAM[name].path}:403")]
    lost = lists + [stream.name for stream in MORE if is_below(stream, lists)]
    with Server(*DEMO, *rules) as server:
        run = t.tap(server, start_date=START).sync(catalog=plain_catalog(*ALL_NAMES))
        paths = [line.split()[2].partition("?")[0] for line in server.requests()]
    t.equal(run.exit, 0, "exit status", run.stderr[-1500:])
    t.equal(run.order, [name for name in ALL_NAMES if name not in lost], "the others are read")
    for name in lost:
        told = [line for line in run.log("WARNING", "ERROR") if line.split()[1].rstrip(":") == name]
        t.equal(len(told), 1, f"{name}: one warning", run.stderr[-3000:])
    for name in lists:
        path = STREAM[name].path
        t.equal(paths.count(path), 1, f"{name}: one request")
    below = [path for path in paths if path.startswith(("/spaces/", "/tracking-plans/"))]
    t.equal(below, [], "none for their children")


@case("others in small pages only")
def others_small_pages(t):
    """A server that takes no more than 200 rows a page: those that ask for more come down to that."""
    names = [stream.name for stream in MORE if stream.count > 200]
    with Server(*DEMO, "--page-cap", "200") as server:
        run = t.tap(server, start_date=START, page_size=1000).sync(catalog=plain_catalog("audiences", *names))
    names = [name for name in ALL_NAMES if name in ("audiences", *names)]
    check_sync(t, run, names, Options(instant(START)))


@case("a kind of function that is not known")
def unknown_kind(t):
    """One value of a fixed parameter that the API refuses costs that value only."""
    with Server(*DEMO, "--fault", "/functions[?]resourceType=INSERT_SOURCE*:422") as server:
        run = t.tap(server).sync(catalog=plain_catalog("functions", "roles"))
    kinds = {row.get("resourceType") for row in run.records("functions")}
    others = set(segment.KINDS_OF_FUNCTIONS) - {"INSERT_SOURCE"}
    t.equal((run.exit, kinds), (1, others), "the others are read", run.stderr[-1500:])
    told = [line for line in run.log("ERROR")[:-1] if "INSERT_SOURCE" in line]
    t.equal(len(told), 1, "the error names it", run.stderr[-1500:])
    t.equal(run.order, ["roles", "functions"], "the next stream, too")


def is_below(stream, lists):
    """Is one of these the stream's parent, or its parent's?"""
    while stream.parent:
        if stream.parent in lists:
            return True
        stream = STREAM[stream.parent]
    return False


@case("others in an empty workspace")
def others_empty(t):
    """SCHEMA and STATE, and nothing to complain of."""
    with Server("--scale", "0") as server:
        run = t.tap(server, start_date=START).sync(catalog=plain_catalog(*ALL_NAMES))
        t.equal((run.exit, run.order), (0, ALL_NAMES), "all streams", run.stderr[-1500:])
        t.none(singer.protocol_faults(run), "every message as Singer wants it")
        t.equal(run.log("ERROR", "CRITICAL"), [], "no error")


@case("one stream's rate limit")
def lanes(t):
    """It holds no other stream back, and costs one request."""
    chosen = ("iam_users", "iam_groups", "sources", "warehouses", "transformations", "catalog_warehouses")
    with Server(*DEMO, "--fault", "/users*:429-after=8:1") as server:
        run = t.tap(server, max_connections=2).sync("--select", ",".join(chosen))
        targets = [line.split()[2] for line in server.requests()]
    t.equal(run.exit, 0, "exit status", run.stderr)
    limited = [number for number, target in enumerate(targets) if target.startswith("/users")]
    t.equal(len(limited), 2, "the limited stream is asked for once more", targets)
    t.equal(limited[-1], len(targets) - 1, "after all others have had their turn", targets)
    t.equal(len([line for line in run.log("INFO") if "rate limit" in line]), 1, "one line", run.stderr)
    t.none((line for line in run.log("WARNING") if "key" not in line), "a wait is nothing to warn of")
    for name in chosen:
        check_stream(t, run, name, HAMLET.expect(name, Options(0)))


@case("documented rate limits")
def rate_limits(t):
    """A limit for each kind of request, with minutes of a second: all rows come, and nobody gives up."""
    limited = [stream.name for stream in MORE if stream.limit]
    with Server(*DEMO, "--minute", "1000") as server:
        run = t.tap(server, start_date=START).sync(catalog=plain_catalog(*limited))
        lines = [line.split(maxsplit=6) for line in server.requests()]
    check_sync(t, run, limited, Options(instant(START)))
    good = [words[2] for words in lines if words[3] == "200"]
    t.equal(len(good), len(set(good)), "no page is answered twice")
    too_many = [words[2] for words in lines if words[3] == "429"]
    t.ok(len(too_many) <= 4 * len(limited), "few requests are one too many", len(too_many))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
