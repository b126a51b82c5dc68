#!/usr/bin/env python3
"""What the tap costs, beside other programs that do a part of the same work: `make bench` runs this.

Every figure stands beside its goal; what could not be measured is said, and never counts as reached.  Machines differ,
so look at the ratios: memcpy, curl, jq and Python see the same bytes in the same run.  Nothing here fails: a missed
goal is a line to look into, not an error.

BUILD is the folder of the build, TAP a tap from elsewhere, with its prefix if it has one.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

BUILD = os.environ.get("BUILD", "")
os.environ.setdefault("SEGMENTD", f"./{BUILD}test/segmentd")
import segment  # noqa: E402 (it reads SEGMENTD)

BENCH = f"./{BUILD}test/bench"
TAP = shlex.split(os.environ.get("TAP", f"./{BUILD}tap-segment"))
STATIC = "build/static/tap-segment"
ROOTS = "/etc/ssl/certs/ca-certificates.crt"
REPETITIONS = 5
LATENCY_MS = 30

# Goals, in the units that are printed.
PARSE_GBS = 2.0
RECORD_GBS = {"usage": 0.8, "audit": 0.8, "catalog": 1.0}
GUNZIP_GBS = {"usage": 0.9, "audit": 1.2, "catalog": 1.2}  # usage is made of random ids: there libdeflate does 1.1
# Of the tap's CPU time to curl's, which only receives; and what is asked where nothing is compressed.
CURL_RATIO = {"a whole workspace": 1.0, "large pages: usage, catalog, audit": 1.3}
CURL_PLAIN_RATIO = 3
LINE_BITS = 10_000_000
LINE_RATIO = 1.05
PEAK_MB = 12
PEAK_GROWTH = 1.5  # for ten times the rows; ids of parents are kept
DEMO_PEAK_MB = 3
DISCOVER_MS = 2
ROOTS_MS = 2
LATENCY_RATIO = 1.15


# --- the table


class Table:
    """One line a figure: what, how much, the goal, and whether it was reached."""

    WIDTHS = (52, 14, 14)

    def __init__(self):
        self.verdicts = Counter()

    def heading(self, text):
        """Opens a part of the table."""
        print(f"\n{text}\n{'-' * len(text)}", flush=True)

    def line(self, what, figure, goal, reached):
        """A figure beside its goal."""
        verdict = "reached" if reached else "MISSED"
        self.verdicts[verdict] += 1
        cells = [cell.ljust(width) for cell, width in zip((what, figure, goal), self.WIDTHS)]
        print(" ".join([*cells, verdict]).rstrip(), flush=True)

    def note(self, text):
        """More about the line above."""
        print(f"    {text}", flush=True)

    def at_least(self, what, value, goal, unit):
        """A figure that should not be smaller than its goal."""
        self.line(what, f"{value:.4g} {unit}", f">= {goal} {unit}", value >= goal)

    def at_most(self, what, value, goal, unit=""):
        """A figure that should not be larger than its goal."""
        self.line(what, f"{value:.4g} {unit}".strip(), f"<= {goal} {unit}".strip(), value <= goal)

    def not_measured(self, what, why):
        """Says so, and counts as neither."""
        self.verdicts["not measured"] += 1
        print(f"{what}: not measured, {why}", flush=True)

    def total(self):
        """The last line."""
        counts = ", ".join(f"{self.verdicts[v]} {v}" for v in ("reached", "MISSED", "not measured"))
        print(f"\nGoals: {counts}.")


# --- running commands


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of CPU and of wall time, most memory in MB."""

    cpu: float
    wall: float
    peak: float


class Failed(Exception):
    """A command that ended otherwise than it should have."""


def run(command, folder):
    """Runs it to its end, its output thrown away."""
    report = folder / "report"
    with open(folder / "errors", "w+b") as errors:
        status = subprocess.run(
            [BENCH, "run", str(report), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            check=False,
        ).returncode
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
    if status != 0:
        raise Failed(f"{command[0]} ended with {status}: {said[-1] if said else 'no word'}")
    cpu_us, wall_us, peak_kib = map(int, report.read_text("ascii").split())
    return Cost(cpu_us / 1e6, wall_us / 1e6, peak_kib * 1024 / 1e6)


def bench(*arguments):
    """What test/bench prints."""
    done = subprocess.run([BENCH, *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(done.stderr.strip() or f"{BENCH} ended with {done.returncode}")
    return done.stdout


def median(costs, field):
    """Of one field of several costs."""
    return statistics.median(getattr(cost, field) for cost in costs)


def spread(values):
    """The median, and how far the others lie from it."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def median_cpu(command, folder, times=REPETITIONS):
    """Seconds."""
    return median([run(command, folder) for _ in range(times)], "cpu")


class Workspace:
    """A fake Segment of one size, and the tap as it is run against it."""

    def __init__(self, folder, scale, days, *options):
        self.folder = folder
        self.server = segment.Server("--scale", scale, *options)
        self.start_date = segment.stamp(segment.midnight(segment.STARTED) - days * segment.DAY)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *_):
        self.server.__exit__()

    def tap(self, *arguments, program=None, **config):
        """The command of a sync, by the tap or another build of it."""
        config |= {
            "api_token": segment.TOKEN,
            "base_url": self.server.url,
            "ca_file": str(segment.certificates() / "root.pem"),
            "start_date": self.start_date,
        }
        file = self.folder / "config.json"
        file.touch(0o600)
        file.write_text(json.dumps(config), "utf-8")
        return [*(program or TAP), "--config", str(file), "--log-level", "warning", *arguments]

    def targets(self, *statuses):
        """The targets asked for so far, in order; with statuses those that were answered so."""
        fields = (line.split() for line in self.server.requests())
        return [target for _, _, target, status, *_ in fields if not statuses or status in statuses]


# --- JSON: pages from memory


def python_speeds(page):
    """Bytes a second from text to objects, and on to RECORD lines."""
    text = page.read_bytes()

    def parse():
        return json.loads(text)

    def record():
        rows = next(v for v in parse()["data"].values() if isinstance(v, list))
        with open(os.devnull, "w", encoding="utf-8") as out:
            for row in rows:
                message = {"type": "RECORD", "stream": "s", "record": row, "time_extracted": "1970-01-01T00:00:00Z"}
                out.write(json.dumps(message, ensure_ascii=False, separators=(",", ":")) + "\n")

    def seconds(work):
        begin = time.process_time()
        work()
        return time.process_time() - begin

    return tuple(len(text) / statistics.median(seconds(work) for _ in range(5)) for work in (parse, record))


def jq_speeds(page, folder):
    """Likewise; its start, which is long, is taken off."""
    many = folder / "many.json"
    copies = 1 + 4_000_000 // page.stat().st_size
    many.write_bytes(page.read_bytes() * copies)
    message = '.data[] | arrays[] | {type: "RECORD", stream: "s", record: ., time_extracted: "1970-01-01T00:00:00Z"}'
    start = median_cpu(["jq", "-n", "empty"], folder)
    return tuple(
        many.stat().st_size / (median_cpu(["jq", "-c", program, str(many)], folder, 3) - start)
        for program in ("empty", message)
    )


def beside(table, speed, others):
    """How many times as fast as each of the others."""
    ratios = []
    for name, other in others:
        factor = speed / other
        ratio = f"{factor:.0f} x" if factor >= 1 else f"1/{1 / factor:.0f} of"
        ratios.append(f"{ratio} {name} ({other / 1e6:.0f} MB/s)")
    table.note(", ".join(ratios))


def measure_json(table, folder):
    """Parse, and parse + projection + RECORD."""
    table.heading("JSON, pages in memory (CPU time)")
    for line in bench("pages", str(folder)).splitlines():
        name, size, *nanoseconds = line.split()
        copy, parse, record = (int(size) / int(ns) * 1e9 for ns in nanoseconds)
        page = folder / f"{name}.json"
        python = python_speeds(page)
        jq = jq_speeds(page, folder) if shutil.which("jq") else None
        for i, (what, speed, goal) in enumerate(
            (("parse", parse, PARSE_GBS), ("parse + projection + RECORD", record, RECORD_GBS[name]))
        ):
            table.at_least(f"{name}, {int(size) / 1e3:.0f} kB: {what}", speed / 1e9, goal, "GB/s")
            others = [("memcpy", copy), ("Python's json", python[i])] + ([("jq", jq[i])] if jq else [])
            beside(table, speed, others)
    if not shutil.which("jq"):
        table.not_measured("jq on the same pages", "there is no jq")


# --- gzip


def measure_gzip(table, folder):
    """Decoding of the same pages, beside zlib."""
    table.heading("Gzip, pages in memory (CPU time)")
    for page in sorted(folder.glob("*.json")):
        if page.stem not in GUNZIP_GBS:
            continue
        text = page.read_bytes()
        maker = zlib.compressobj(6, zlib.DEFLATED, 31)
        packed = maker.compress(text) + maker.flush()
        file = folder / f"{page.stem}.gz"
        file.write_bytes(packed)
        ours, theirs = [], []
        for _ in range(REPETITIONS):
            ours.append(len(text) / int(bench("gunzip", str(file))))
            theirs.append(len(text) / zlib_ns(packed, len(text)))
        what = f"{page.stem}, {len(text) / 1e3:.0f} kB, {len(text) / len(packed):.1f} x smaller in gzip"
        table.at_least(what, statistics.median(ours), GUNZIP_GBS[page.stem], "GB/s")
        ratios = [a / b for a, b in zip(ours, theirs)]
        table.note(f"{spread(ratios)} x zlib ({statistics.median(theirs):.2f} GB/s)")


def zlib_ns(packed, size):
    """Nanoseconds that zlib takes, the median as in test/bench."""
    took = []
    for _ in range(101):
        begin = time.process_time_ns()
        zlib.decompress(packed, 31, size)
        took.append(time.process_time_ns() - begin)
    return statistics.median(took)


# --- the whole tap beside curl


def curl_command(workspace, folder):
    """curl for the same targets over one connection that is kept."""
    config = folder / "curl"
    config.touch(0o600)
    config.write_text(
        f'header = "Authorization: Bearer {segment.TOKEN}"\nheader = "Accept: application/json"\n'
        + "".join(f'url = "{workspace.server.url}{t}"\noutput = "{os.devnull}"\n' for t in workspace.targets("200")),
        "utf-8",
    )
    root = str(segment.certificates() / "root.pem")
    options = "--compressed --silent --show-error --fail --globoff --ipv4 --http1.1 --tlsv1.2 --tls-max 1.2 --noproxy *".split()
    return ["curl", "--disable", *options, "--cacert", root, "--config", str(config)]


def check_curl(command, requests):
    """Bytes of all bodies; Failed unless each target was answered, over one connection."""
    written = subprocess.run(
        [*command, "--write-out", "%{http_code} %{num_connects} %{size_download}\n"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    answers = [tuple(map(int, line.split())) for line in written.splitlines()]
    if [status for status, *_ in answers] != [200] * requests or sum(connects for _, connects, _ in answers) != 1:
        raise Failed("curl did not get the same answers over one connection")
    return sum(size for *_, size in answers)


def measure_curl(table, folder):
    """CPU seconds of the tap and of curl, for the same bytes over the same TLS."""
    table.heading("Whole tap beside curl --compressed (CPU time)")
    cases = (
        ("a whole workspace", 100, 90, ()),
        ("large pages: usage, catalog, audit", 300, 90, ("--select", "usage_*,catalog_*,audit_events")),
    )
    for what, scale, days, arguments in cases:
        for coding, options in (("gzip", ()), ("as they are", ("--no-gzip",))):
            name = f"{what}, {coding}: tap / curl"
            if not shutil.which("curl"):
                table.not_measured(name, "there is no curl")
                continue
            with Workspace(folder, scale, days, *options) as workspace:
                tap = workspace.tap(*arguments)
                run(tap, folder)
                requests = len(workspace.targets("200"))
                curl = curl_command(workspace, folder)
                size = check_curl(curl, requests)
                pairs = [(run(tap, folder), run(curl, folder)) for _ in range(2 * REPETITIONS)]
            ratios = [ours.cpu / theirs.cpu for ours, theirs in pairs]
            table.at_most(name, statistics.median(ratios), CURL_PLAIN_RATIO if options else CURL_RATIO[what])
            ours, theirs = (median(costs, "cpu") for costs in zip(*pairs))
            table.note(
                f"{spread(ratios)}; {requests} requests, {size / 1e6:.1f} MB: "
                f"{ours * 1e3:.0f} ms / {theirs * 1e3:.0f} ms"
            )


# --- memory, discovery, trusted roots


def peak(folder, scale, days, times, program=None, **config):
    """The peak of a whole sync in MB, and how many requests it took."""
    with Workspace(folder, scale, days) as workspace:
        costs = [run(workspace.tap(program=program, **config), folder) for _ in range(times)]
        return median(costs, "peak"), len(workspace.targets()) // times


def measure_memory(table, folder):
    """Peaks of whole syncs."""
    table.heading("Peak memory of a sync, 4 connections")
    for scale, days, times, goal in (
        ("demo", 90, 3, DEMO_PEAK_MB),
        (1, 90, 3, PEAK_MB),
        (10, 90, 3, PEAK_MB),
        (100, 90, 3, PEAK_MB),
        (10000, 0, 1, PEAK_MB),
    ):
        most, requests = peak(folder, scale, days, times)
        table.at_most(f"scale {scale}, {requests} requests", most, goal, "MB")
        what = f"scale {scale}, the static build"
        if os.path.exists(STATIC):
            table.at_most(what, peak(folder, scale, days, times, [STATIC])[0], goal, "MB")
        else:
            table.not_measured(what, "`make static` makes it")
    small, large = (peak(folder, scale, 0, times, page_size=10) for scale, times in ((100, 5), (1000, 1)))
    what = "flat in rows: 10 a page, scale 1000 / scale 100"
    table.at_most(what, large[0] / small[0], PEAK_GROWTH)
    table.note(f"{large[1]} / {small[1]} requests, {large[0]:.2f} MB / {small[0]:.2f} MB")


def measure_start(table, folder):
    """What is paid before the first request."""
    table.heading("Start (CPU time)")
    discover = median_cpu([*TAP, "--discover"], folder, 51)
    table.at_most("--discover", discover * 1e3, DISCOVER_MS, "ms")
    nothing = median_cpu(["true"], folder, 51)
    table.note(f"of which a program that only starts takes {nothing * 1e3:.2f} ms")
    what = "reading the system's trusted roots"
    if not Path(ROOTS).exists():
        table.not_measured(what, f"there is no {ROOTS}")
        return
    table.at_most(what, int(bench("roots", ROOTS)) / 1e6, ROOTS_MS, "ms")


# --- wall time where each answer takes a while


def least_seconds(targets, connections):
    """max(requests / connections, longest chain with its parents' chain in front) x latency.

    A chain is a first page and those that follow it by cursor: none is known before the answer in front of it is here.
    The lists below /NAME/{id} are known when the chain of /NAME is at its end.
    """
    chains = Counter()
    for target in targets:
        path, _, query = target.partition("?")
        fixed = (pair for pair in query.split("&") if not pair.startswith("pagination.cursor="))
        chains[path, *sorted(fixed)] += 1
    lists = {path: length for (path, *_), length in chains.items()}
    longest = 0
    for (path, *_), length in chains.items():
        parents = "/" + path.split("/")[1]
        longest = max(longest, length + (lists.get(parents, 0) if parents != path else 0))
    return max(len(targets) / connections, longest) * LATENCY_MS / 1e3


def measure_latency(table, folder):
    """How near the walk comes to what latency allows."""
    table.heading(f"Wall time at {LATENCY_MS} ms of latency / the least that is possible")
    cases = (
        ("child lists", 200, 0, {}, ("--select", "source_connected_warehouses")),
        ("months of up to 8 pages", 8, 330, {"page_size": 32}, ("--select", "usage_*")),
        ("whole workspace", 10, 10, {}, ()),
    )
    for what, scale, days, config, arguments in cases:
        for connections, times in ((1, 1), (4, 3), (8, 3)):
            with Workspace(folder, scale, days, "--latency", LATENCY_MS) as workspace:
                command = workspace.tap(*arguments, **config, max_connections=connections)
                costs = [run(command, folder) for _ in range(times)]
                targets = workspace.targets()
            requests = len(targets) // times
            least = least_seconds(targets[:requests], connections)
            name = f"{what}, {requests} requests, {connections} connection{'s' if connections > 1 else ''}"
            table.at_most(name, median(costs, "wall") / least, LATENCY_RATIO)


def measure_line(table, folder):
    """How near a sync comes to what a slow line allows: its bytes, and what the walk would take without it."""
    table.heading(f"Wall time over {LINE_BITS / 1e6:.0f} Mbit/s and {LATENCY_MS} ms / the least that is possible")
    for what, scale, days, config, arguments in (
        ("a whole workspace", 60, 30, {}, ()),
        # no larger, for segmentd compresses such a page in less than the latency, which that is part of
        ("a chain of large pages", 500, 0, {"page_size": 10}, ("--select", "destinations")),
    ):
        with Workspace(folder, scale, days, "--latency", LATENCY_MS, "--rate", LINE_BITS) as workspace:
            command = workspace.tap(*arguments, **config)
            costs = [run(command, folder) for _ in range(3)]
            targets = workspace.targets()
            requests = len(targets) // len(costs)
            workspace.server.most_open()
            sent = workspace.server.stat("sent") / len(costs)
        least = sent * 8 / LINE_BITS + least_seconds(targets[:requests], 4)
        table.at_most(f"{what}, {requests} requests", median(costs, "wall") / least, LINE_RATIO)
        table.note(
            f"{sent / 1e6:.2f} MB sent, which take {sent * 8 / LINE_BITS:.2f} s, and {least_seconds(targets[:requests], 4):.2f} s "
            f"of walking: {spread([cost.wall for cost in costs])} s"
        )


def main():
    """All parts; a part that can't be measured says so, and the others go on."""
    parts = (measure_json, measure_gzip, measure_curl, measure_memory, measure_start, measure_latency, measure_line)
    table = Table()
    folder = Path(tempfile.mkdtemp(prefix="tap-segment-bench-"))
    try:
        for part in parts:
            try:
                part(table, folder)
            except (Failed, RuntimeError) as failure:
                table.not_measured("the rest of this part", str(failure))
    finally:
        shutil.rmtree(folder)
        segment.remove_certificates()
    table.total()
    return 0


if __name__ == "__main__":
    sys.exit(main())
