#!/usr/bin/env python3
"""Sweeps: one small sync, again and again, and each time one thing goes wrong in another place.

    test/sweep.py              all parts; PART=test-kill, test-faults, ...: one of them

TAP must be the fault build (test/tap-fault), whose libc calls can be made to fail and whose clock can be set; see
test/fault.c.  Whatever goes wrong, a target must be able to go on: it has read rows of the workspace and nothing else,
and those before its last STATE with those of a run resumed from there are all rows.
"""

import sys

sys.dont_write_bytecode = True

import concurrent.futures
import contextlib
import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import e2e
import segment
import singer
from e2e import Checks, World, check_sync, midnight, rows_of
from segment import DAY, Client, Model, Options, Server, instant, stamp
from singer import plain_catalog

JOBS = int(os.environ.get("JOBS", "8"))
SPEED = {"FAULT_LEAP": "50"}  # a pause of a second before a retry becomes one of 20 ms
SMALL = ["sources", "source_connected_warehouses", "usage_mtu_workspace_daily", "audit_events", "iam_users"]
STEP = 12 if singer.WRAPPED else 1  # not every place where each run takes seconds
PARTS = {}


def part(name):
    """Registers a part under the name of its make target."""

    def register(function):
        PARTS[name] = function
        return function

    return register


def beside(function, items, jobs=JOBS):
    """What the function answers for each item, some at a time, in their order."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(function, items))


def each(function, items):
    """The complaints of a function about each item."""
    return [complaint for found in beside(function, items) for complaint in found]


class Town:
    """A small workspace, and what a sync of it writes if nothing goes wrong; or another mode of the program."""

    def __init__(self, checks, server, *mode, **config):
        self.tap = checks.tap(server, start_date=stamp(segment.month(segment.STARTED, -1)), page_size=7, **config)
        self.files = {"catalog": plain_catalog(*SMALL)}
        self.words = self.tap.arguments(*mode, **({} if "--discover" in mode else self.files))
        self.resumes = not mode
        self.whole = self.tap.run(*self.words)
        self.rows = rows_of(self.whole.lines)

    def run(self, **environment):
        """A sync of the whole town."""
        return self.tap.run(*self.words, env=SPEED | environment)

    def resume(self, lines, number):
        """A second sync that goes on from the last complete STATE among some lines; from nothing if there is none."""
        states = [line for line in lines if line.startswith('{"type":"STATE"')]
        state = self.tap.file(f"state-{number}.json", states[-1] if states else "{}")
        return self.tap.run(*self.words, "--state", state)

    def complaints_of_resume(self, lines, number):
        """What a target that read these lines lacks after a second sync."""
        if not self.resumes:
            return
        last = max((i for i, line in enumerate(lines) if line.startswith('{"type":"STATE"')), default=0)
        second = self.resume(lines, number)
        missing = self.rows - rows_of(lines[:last]) - rows_of(second.lines)
        if second.exit != 0:
            yield f"resumed run: exit {second.exit}: {second.stderr[-300:]}"
        if missing:
            yield f"{len(missing)} rows are lost, such as {min(missing)[:200]}"


def whole_lines(output):
    """The lines that came with their end, as a target reads them."""
    return output.decode("utf-8").split("\n")[:-1]


# --- killed after each line


@part("test-kill")
def kill(checks):
    """SIGKILL once the target has read its k-th line, for every k."""
    with Server("--scale", "demo") as server:
        town = Town(checks, server)
        checks.equal(town.whole.exit, 0, "the faultless run", town.whole.stderr)
        places = range(0, len(town.whole.lines), STEP)

        def killed(k):
            process = town.tap.start(*town.words, env=SPEED)
            lines = [process.stdout.readline() for _ in range(k)]
            process.kill()
            town.tap.runs.remove(town.tap.finish(process))  # it died of a signal, as it was meant to
            return [f"after line {k}: {c}" for c in town.complaints_of_resume(whole_lines(b"".join(lines)), k)]

        checks.none(each(killed, places), f"nothing is lost, killed at any of {len(places)} lines")


# --- each fault at each request


ONCE = """reset-before-head reset-in-head reset-in-body cut cut-notify drip=20 500 503 429 bad-length bad-chunk bad-json
    close close-keepalive""".split()


@part("test-faults")
def faults(checks):
    """Each fault at each request shows nothing on standard output; at every request it is a clear error."""
    with Server("--scale", "demo") as server:
        town = Town(checks, server)
        requests = len(server.requests())
    places = range(1, requests + 1, STEP)
    checks.ok(requests > 15, "there are some requests", requests)
    each_place = list(itertools.product(ONCE, places))
    found = beside(lambda place: list(fault_at(checks, town, *place)), each_place)
    for kind in ONCE:
        complaints = [c for place, several in zip(each_place, found) for c in several if place[0] == kind]
        checks.none(complaints, f"{kind} at any of {len(places)} requests does not show")
    lasting = [kind for kind in ONCE if kind not in ("close", "close-keepalive")]
    for kind, complaints in zip(lasting, beside(lambda kind: list(fault_everywhere(checks, kind)), lasting)):
        checks.none(complaints, f"{kind} at every request: a clear error, and an end")


def fault_at(checks, town, kind, index):
    """The complaints about one run with one fault."""
    with Server("--scale", "demo", "--fault", f"{index}:{kind}") as server:
        tap = checks.tap(server, **{key: town.tap.config[key] for key in ("start_date", "page_size")})
        result = tap.sync(**town.files, env=SPEED, config={"request_timeout": 60})
        met = any(line.split()[5] == kind.split("=")[0] for line in server.requests())
    if not met:
        yield f"request {index}: the fault did not take place"
    if result.exit != 0 or result.timeless != town.whole.timeless:
        yield f"request {index}: exit {result.exit}, other output: {result.stderr[-400:]}"


def fault_everywhere(checks, kind):
    """The complaints about one run in which nothing ever works."""
    patience = {"FAULT_SPEED": "1000"} if kind == "429" else SPEED  # a rate limit is waited for, 15 minutes a request
    with Server("--scale", "demo", "--fault", f"*:{kind}") as server:
        tap = checks.tap(server, max_attempts=2, request_timeout=3600 if kind == "429" else 60)
        result = tap.sync(catalog=plain_catalog(*SMALL), env=patience)
    if result.exit != (1 if kind == "bad-json" else 3):
        yield f"exit {result.exit}"
    if result.of_type("RECORD"):
        yield "a record came out of it"
    if not result.log("ERROR", "CRITICAL"):
        yield "no error was told"
    if not result.lines or json.loads(result.lines[-1])["type"] != "STATE":
        yield "the last line is no STATE"


# --- each call of libc that may fail


INTERRUPTED = f"={errno.EINTR}"  # a signal's doing: whoever is interrupted tries again
MEMORY_CALLS = ["malloc", "calloc", "realloc"]
NET_CALLS = ["socket", "connect", "getsockopt", "fcntl", "send", "recv", "poll"]
AGAIN_CALLS = ["open", "read", "write", "connect", "send", "recv", "poll"]
MODES = [
    # name, arguments, config, calls that fail, calls that are interrupted
    ("sync", [], {}, [*MEMORY_CALLS, *NET_CALLS, "open", "read", "write"], AGAIN_CALLS),
    ("--discover", ["--discover"], {}, ["malloc", "realloc", "write"], ["write"]),
    ("--test", ["--test"], {}, [*MEMORY_CALLS, *NET_CALLS, "open", "read", "write"], AGAIN_CALLS),
    ("by proxy", ["--test"], {"proxy": "user:word"}, [*MEMORY_CALLS, "send", "recv"], ["send", "recv"]),
]


@part("test-calls")
def calls(checks):
    """The n-th call of each kind fails, once or from then on: the first fifteen, then ever fewer, as far as a run gets."""
    with Server("--scale", "demo") as server, segment.Proxy() as proxy:
        sweeps = []
        for name, words, config, failing, interrupted in MODES:
            proxied = {key: f"{value}@{proxy.address}" for key, value in config.items()}
            town = Town(checks, server, *words, **proxied)
            checks.equal(town.whole.exit, 0, f"{name}: the faultless run", town.whole.stderr)
            sweeps += [(name, town, *way) for way in itertools.product(failing, ("", "+"))]
            sweeps += [(name, town, call, INTERRUPTED) for call in interrupted]
        results = beside(lambda sweep: call_sweep(*sweep[1:]), sweeps)
        for (name, _, call, ending), (tried, complaints) in zip(sweeps, results):
            way = "interrupted" if ending == INTERRUPTED else "failing" + (" from then on" if ending else "")
            checks.ok(tried > 0, f"{name}: {call} is met", tried)
            checks.none(complaints, f"{name}: {call} {way} at any of {tried} places")


def call_sweep(town, call, ending):
    """How many places were tried, and the complaints; goes on until a run meets no fault."""
    complaints, n = [], 1
    for tried in itertools.count():
        met, found = call_fails(town, f"{call}:{n}{ending}", ending == INTERRUPTED)
        complaints += found
        if not met:
            return tried, complaints
        n += max(1, n // 8) * STEP


def call_fails(town, fault, heals=False):
    """Was the fault met, and what is wrong with the run."""
    hit = Path(town.tap.folder) / f"hit-{fault}"
    run = town.run(FAULT=fault, FAULT_HIT=str(hit))
    found = [f"{fault}: {c}" for c in complaints_of_fault(town, run, fault)]
    if heals and run.exit != 0:
        found.append(f"{fault}: exit {run.exit}: {run.stderr[-400:]}")
    return hit.exists(), found


def complaints_of_fault(town, run, fault):
    """A fault may be got over, or end the run with an error; it may never lose a row in silence."""
    if run.exit == 0:
        if run.timeless != town.whole.timeless:
            yield "exit 0, but another output"
        return
    if run.exit not in (1, 2, 3):
        yield f"exit {run.exit}: {run.stderr[-400:]}"
    if not run.log("ERROR", "CRITICAL"):
        yield f"no error was told: {run.stderr[-400:]}"
    if run.exit == 2:
        if run.stdout:
            yield "exit 2, but something on standard output"
        return
    lines = whole_lines(run.stdout)
    if not lines and not town.resumes:
        return
    strange = rows_of(lines) - town.rows
    if strange:
        yield f"a row that is not in the workspace: {min(strange)[:200]}"
    yield from town.complaints_of_resume(lines, fault)


# --- output and state file

FILES = ("out.jsonl", "state.json")
FILE_CALLS = "open close read write ftruncate fsync rename fchmod stat fstat access readlink lock".split()
FILE_AGAIN_CALLS = ["read", "write", "fsync", "lock"]


@part("test-files")
def files(checks):
    """Killed at each call that changes a file, or with one that fails: the state is never ahead of the output."""
    with Server("--scale", "demo") as server:
        town = Town(checks, server)
        half = stamp(midnight(segment.now()) - 20 * DAY)
        early = town.tap.file("early.json", {**town.tap.config, "end_date": half})
        old = file_run(town, "old", "--config", early)
        new = file_run(town, "new", before=old.folder)
        checks.equal((old.exit, new.exit), (0, 0), "the faultless runs", old.stderr + new.stderr)
        checks.ok(old.files != new.files and old.files[1] != new.files[1], "they differ", old.files)
        faults = ["FAULT_CRASH"] + [f"{call}{ending}" for call in FILE_CALLS for ending in ("", "+")]
        faults += [call + INTERRUPTED for call in FILE_AGAIN_CALLS]
        for fault, (tried, complaints) in zip(faults, beside(lambda fault: files_sweep(town, fault, old, new), faults)):
            checks.ok(tried > 0, f"{fault} is met", tried)
            checks.none(complaints, f"{fault} at any of {tried} places")


def files_sweep(town, fault, old, new):
    """How many places were tried, and the complaints; every call up to the last."""
    complaints = []
    for tried in itertools.count():
        met, found = files_at(town, fault, 1 + tried * STEP, old, new)
        complaints += found
        if not met:
            return tried, complaints


@dataclass
class FileRun:
    """A run into files, and what they hold then; None for one that is not there."""

    folder: Path
    exit: int
    stderr: str
    files: list


def file_run(town, name, *words, before=None, **environment):
    """A run of the town in a folder of its own, which begins as a copy of another one."""
    folder = Path(town.tap.folder, name)
    if before != folder:
        shutil.copytree(before, folder) if before else folder.mkdir()
    options = ["--output", str(folder / FILES[0]), "--state-file", str(folder / FILES[1])]
    run = town.tap.run(*town.words, *words, *options, env=SPEED | environment)
    if run.exit == -signal.SIGKILL:
        town.tap.runs.remove(run)  # it died of a signal, as it was meant to
    texts = [timeless((folder / file).read_text()) if (folder / file).exists() else None for file in FILES]
    return FileRun(folder, run.exit, run.stderr + run.stdout.decode(), texts)


def timeless(text):
    """What a run writes, without what differs from run to run."""
    return re.sub('"time_extracted":"[^"]*"', "", text)


def files_at(town, fault, n, old, new):
    """Was the fault met, and what is wrong with the files."""
    hit = Path(town.tap.folder) / f"hit-{fault}-{n}"
    call = re.match("[a-z]*", fault)[0]
    wish = {"FAULT": f"{call}:{n}{fault.removeprefix(call)}"} if call else {fault: str(n)}
    run = file_run(town, f"{fault}-{n}", before=old.folder, FAULT_HIT=str(hit), **wish)
    met = hit.exists()
    found = list(complaints_of_files(town, run, old, new)) if met else []
    if INTERRUPTED in fault and run.exit != 0:
        found.append(f"exit {run.exit}: {run.stderr[-300:]}")
    return met, [f"{fault}:{n}: {c}" for c in found]


def complaints_of_files(town, run, old, new):
    """Old output and old state, or new output and old state, or both new; and a next run brings what is missing."""
    pairs = {(old.files[0], old.files[1]): False, (new.files[0], old.files[1]): False, tuple(new.files): True}
    if tuple(run.files) not in pairs:
        yield f"neither old nor new, or a state that is ahead: {[text and text[-200:] for text in run.files]}"
    if run.exit == 0 and not pairs.get(tuple(run.files)):
        yield "exit 0, but not both are new"
    if run.exit > 0 and "CRITICAL" not in run.stderr:
        yield f"exit {run.exit} without an error: {run.stderr[-300:]}"
    second = file_run(town, run.folder.name, before=run.folder)
    known = {timeless(row) for row in town.rows}
    missing = known - {row for text in (old.files[0], run.files[0], second.files[0]) for row in text.splitlines()}
    if second.exit != 0 or missing:
        yield f"the next run: exit {second.exit}, {len(missing)} rows are lost: {second.stderr[-300:]}"
    left = sorted(set(os.listdir(run.folder)) - set(FILES))
    if left:
        yield f"left over: {left}"


# --- two at once


PAIRS = 12 if singer.WRAPPED else 150


@part("test-pairs")
def pairs(checks):
    """Two calls of one run fail, drawn by lot; the same in every run of the test."""
    lots = random.Random(13)
    with Server("--scale", "demo") as server:
        town = Town(checks, server)
        names = sorted({call for _, _, _, failing, _ in MODES for call in failing})
        faults = [",".join(lot(lots, name) for name in lots.sample(names, 2)) for _ in range(PAIRS)]
        results = beside(lambda fault: call_fails(town, fault), faults)
        met = sum(hit for hit, _ in results)
        checks.ok(met > PAIRS * 2 / 3, f"most of {PAIRS} pairs of faults are met", met)
        checks.none((c for _, found in results for c in found), f"{PAIRS} pairs of failing calls in a sync")
        half = stamp(midnight(segment.now()) - 20 * DAY)
        old = file_run(town, "old", "--config", town.tap.file("early.json", {**town.tap.config, "end_date": half}))
        new = file_run(town, "new", before=old.folder)
        faults = [",".join(lot(lots, name) for name in lots.sample(FILE_CALLS, 2)) for _ in range(PAIRS)]

        def at(number):
            run = file_run(town, f"pair-{number}", before=old.folder, FAULT=faults[number])
            return [f"{faults[number]}: {c}" for c in complaints_of_files(town, run, old, new)]

        checks.none(each(at, range(PAIRS)), f"{PAIRS} pairs of failing calls with files")


def lot(lots, call):
    """A fault of this call: an early place as likely as all those twice as far."""
    return f"{call}:{int(2 ** lots.uniform(0, 9 if call in MEMORY_CALLS else 6))}{lots.choice(('', '+', INTERRUPTED))}"


# --- the clock


CLOCKS = [
    # name, now, start_date
    ("midnight to the second", "2026-03-10T00:00:00Z", "2026-01-15"),
    ("a second before midnight", "2026-03-09T23:59:59Z", "2026-01-15"),
    ("the first day of a month", "2026-03-01T00:05:00Z", "2026-01-31"),
    ("the last second of a month", "2026-04-30T23:59:58Z", "2026-02-28"),
    ("leap day", "2024-02-29T12:00:00Z", "2024-01-31"),
    ("the day after leap day", "2024-03-01T00:00:01Z", "2024-02-29"),
    ("the end of February in a common year", "2025-02-28T23:59:50Z", "2024-12-31T23:59:59Z"),
    ("a new year", "2026-01-01T00:00:00Z", "2025-11-30T12:00:00Z"),
    ("an hour after midnight, within the settle times", "2026-06-02T01:00:00Z", "2026-05-01"),
    ("seven hours after midnight", "2026-06-02T07:00:00Z", "2026-05-01"),
    ("thirty days of audit to the second", "2026-06-30T00:00:00Z", "2026-05-31"),
    ("after 2038", "2040-02-29T06:00:00Z", "2040-01-15"),
]
TIMED = [stream.name for stream in segment.STREAMS if stream.incremental]


@part("test-clock")
def clock(checks):
    """The windows of the incremental streams at days on which calendars go wrong, and resumed a day later."""
    for name, now, start in CLOCKS:
        at = instant(now)
        bookmarks, state = None, {}
        for label, clock_us in ((name, at), (f"{name}, resumed a day later", at + DAY)):
            world = World("--scale", "demo", "--still", "--now", stamp(clock_us))
            try:
                run = at_time(checks.tap(world.open(), start_date=start), clock_us, state=state)
                options = Options(instant(start), clock=clock_us)
                check_clock(checks, run, options, world, f"{label}: ", bookmarks)
            finally:
                world.close()
            state = run.states[-1]
            bookmarks = {stream: instant(mark["timestamp"]) for stream, mark in state["bookmarks"].items()}


def at_time(tap, now, **files):
    """A sync of the incremental streams with the clock standing still."""
    environment = {"FAULT_NOW": str(now // segment.SECOND)}
    return tap.sync(catalog=plain_catalog(*TIMED), env=environment, **files)


def check_clock(checks, run, options, world, label, bookmarks=None):
    """Rows and bookmarks are the model's, and none of the workspace's rows is written twice."""
    check_sync(checks, run, TIMED, options, label, bookmarks=bookmarks, world=world)
    records = [line for line in run.lines if '"type":"RECORD"' in line]
    checks.equal(len(rows_of(records)), len(records), f"{label}no row twice")


# --- signals


@contextlib.contextmanager
def full_backlog():
    """A port whose queue of connections is full: one more gets no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"https://localhost:{listener.getsockname()[1]}"


@contextlib.contextmanager
def segmentd(*options):
    """The URL of a fake Segment."""
    with Server("--scale", "demo", *options) as server:
        yield server.url


@contextlib.contextmanager
def nowhere():
    """A name that is not resolved while FAULT_RESOLVER says so."""
    yield "https://segment.example"


HANGING = {"FAULT_RESOLVER": "hang"}
STATES = [
    # name, server, environment, does standard output still take the last STATE
    ("resolving", nowhere, HANGING, False),
    ("connecting", full_backlog, {}, True),
    ("shaking hands", lambda: segmentd("--mute"), {}, True),
    ("waiting for an answer", lambda: segmentd("--fault", "*:stall"), {}, True),
    ("in a body", lambda: segmentd("--fault", "*:drip"), {}, True),
    ("backing off", lambda: segmentd("--fault", "*:500"), {}, True),
    ("held by a rate limit", lambda: segmentd("--fault", "*:429-after=600"), {}, True),
]


@part("test-signals")
def signals(checks):
    """SIGTERM, SIGINT and SIGHUP end a run from every state it can be stuck in, within about a second."""
    ways = list(itertools.product(STATES, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)))
    for (state, number), (run, seconds) in zip(ways, beside(lambda way: interrupted(checks, *way), ways, len(ways))):
        label = f"{number.name} while {state[0]}"
        checks.equal(run.exit, 128 + number, f"{label}: exit status", run.stderr)
        checks.ok(seconds < e2e.SOON, f"{label}: soon", seconds)
        checks.equal(len(run.states), 3 if state[3] else 2, f"{label}: STATE lines", run.lines, run.stderr)
        names = {state["currently_syncing"] for state in run.states[1:]}
        checks.equal(names, {"sources"}, f"{label}: the stream under way")


def interrupted(checks, state, number):
    """A run that gets the signal once it is stuck, and the time that it takes to end."""
    _, server, environment, _ = state
    with server() as url:
        tap = checks.tap(base_url=url, ca_file=str(segment.certificates() / "root.pem"))
        hangs = Path(tap.folder) / "hangs"
        with tap.start(*tap.arguments(), env=environment | {"FAULT_HIT": str(hangs)}) as process:
            head = singer.first_lines(process, 2)
            time.sleep(0.3 * singer.PATIENCE)  # too early is no harm, but in the resolver
            while environment and not hangs.exists() and process.poll() is None:
                time.sleep(0.01)
            begun = time.monotonic()
            process.send_signal(number)
            run = tap.finish(process, head)
        return run, time.monotonic() - begun


# --- memory


MEMORY = 64 << 20
HUNGRY = ["endless-body", "endless-head", "endless-1xx", "endless-trailer", "endless-chunks", "huge-length", "gzip-bomb"]


@part("test-memory")
def memory(checks):
    """What a peer sends without end is cut off, under a limit of the process's memory too."""
    with limited(MEMORY):
        runs = beside(lambda kind: fed_by(checks, kind), HUNGRY)
    for kind, run in zip(HUNGRY, runs):
        checks.equal(run.exit, 1, f"{kind}: exit status", run.stderr)
        checks.ok(run.log("ERROR", "CRITICAL"), f"{kind}: an error says so", run.stderr)
        checks.equal((run.of_type("RECORD"), len(run.states) > 1), ([], True), f"{kind}: no record, a last STATE")


def fed_by(checks, kind):
    """A run whose every answer is of this kind."""
    with Server("--scale", "demo", "--fault", f"*:{kind}") as server:
        return checks.tap(server, max_attempts=1).sync("--select", "iam_groups,iam_users")


@contextlib.contextmanager
def limited(size):
    """Programs that are started get no more address space than this; a sanitizer or emulator needs it all."""
    sanitized = b"__asan" in Path(singer.COMMAND[-1]).read_bytes()
    shell = [] if singer.WRAPPED or sanitized else ["sh", "-c", f'ulimit -v {size >> 10}; exec "$@"', "sh"]
    singer.COMMAND[:0] = shell
    try:
        yield
    finally:
        del singer.COMMAND[: len(shell)]


def main():
    """Runs the parts, prints their checks."""
    wanted = os.environ.get("PART")
    number = failed = 0
    segment.certificates()
    for name, function in PARTS.items():
        if wanted not in (None, "", name):
            continue
        checks = e2e.run_case(name, function)
        failed += checks.failed
        for passed, text in checks.lines:
            number += passed is not None
            print(
                f"{'' if passed else 'not '}ok {number} - {text}" if passed is not None else f"# {text}", flush=True
            )
    segment.remove_certificates()
    print(f"1..{number}")
    return 1 if failed or not number else 0


if __name__ == "__main__":
    sys.exit(main())
