#!/usr/bin/env python3
"""What the tests take of the five modules: lines and branches, of all programs that were built from them.

    test/coverage.py FOLDER    a build with gcc's --coverage, and the counters that its programs left

Counters of the same line add up, whichever program it was compiled into.  What no test takes must stand in
test/uncovered.txt with its reason.  Exit status: 0 if it does and the goals are met, else 1.
"""

import sys

sys.dont_write_bytecode = True

import collections
import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LISTED = HERE / "uncovered.txt"
MODULES = ["json.c", "http.c", "singer.c", "streams.c", "tap.c"]
SOURCE = {name: (ROOT / name).read_text().splitlines() for name in MODULES}
LINES, BRANCHES = 99.0, 96.0  # percent


@dataclass
class Line:
    """A line of a function, and how often it and each of its branches were taken."""

    function: str
    count: int = 0
    branches: list = field(default_factory=list)

    def add(self, count, branches):
        """The counters of one more program."""
        if not self.branches:
            self.branches = [0] * len(branches)
        if len(branches) != len(self.branches):
            raise SystemExit("one line has other branches in another program: see what a macro makes of it")
        self.count += count
        self.branches = [a + b for a, b in zip(self.branches, branches)]

    @property
    def open(self):
        """How many branches were never taken; 0 if it has none and never ran; None if all is taken."""
        return None if self.count and all(self.branches) else self.branches.count(0)


# --- what gcov says


def gcov(folder):
    """Name, line and counters, of each line of each program."""
    programs = [str(path) for path in sorted(Path(folder).rglob("*.gcno"))]
    command = [os.environ.get("GCOV", "gcov"), "--json-format", "--branch-probabilities", "--stdout", *programs]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    for report in map(json.loads, output.splitlines()):
        for source in report["files"]:
            name = os.path.relpath(os.path.join(report["current_working_directory"], source["file"]), ROOT)
            for line in source["lines"]:
                yield name, line


def measured(folder):
    """The lines of the five modules by file and number."""
    lines = {}
    asserts = {name: set(assertions(SOURCE[name])) for name in MODULES}
    for name, line in gcov(folder):
        number = line["line_number"]
        if name in asserts and number not in asserts[name]:
            counts = [branch["count"] for branch in line["branches"]]
            lines.setdefault((name, number), Line(line["function_name"])).add(line["count"], counts)
    return lines


def assertions(source):
    """The numbers of the lines of assertions, whose other branch no program survives."""
    inside = False
    for number, text in enumerate(source, 1):
        inside = inside or bool(re.match(r"\s*assert\(", text))
        if inside:
            yield number
        inside = inside and not text.endswith(";")


# --- what may be left


@dataclass(frozen=True, order=True)
class Place:
    """A line by its text, which stays the same when others move it."""

    file: str
    function: str
    text: str


def listed():
    """The reasons, and under each its places with the number of branches that may be left."""
    reasons = {}
    for line in LISTED.read_text().splitlines():
        entry = re.fullmatch(r"\t(\S+) (\w+): (\d+): (.+)", line)
        if entry:
            file, function, count, text = entry.groups()
            places[Place(file, function, text)] = int(count)
        elif line and not line.startswith("#"):
            places = reasons.setdefault(line, {})
    return reasons


def places_of(lines):
    """The place of each line, and the line."""
    for (name, number), line in lines.items():
        yield Place(name, line.function, SOURCE[name][number - 1].strip()), line


def left(lines):
    """The places where something is never taken, and how many branches that are."""
    found = collections.Counter()
    for place, line in places_of(lines):
        if line.open is not None:
            found[place] += line.open
    return found


# --- the report


def percent(part, whole):
    """How much of it."""
    return 100 * part / whole if whole else 100.0


def figures(lines):
    """Prints a line a module and one for all; are the goals met?"""
    print(f"{'':10} {'lines':>8} {'not run':>8} {'':8}  {'branches':>8} {'not taken':>9}")
    for name in MODULES + [None]:
        chosen = [line for (file, _), line in lines.items() if name in (None, file)]
        branches = [count for line in chosen for count in line.branches]
        run, taken = sum(line.count > 0 for line in chosen), sum(count > 0 for count in branches)
        of_lines, of_branches = percent(run, len(chosen)), percent(taken, len(branches))
        print(
            f"{name or 'all':10} {len(chosen):8} {len(chosen) - run:8} {of_lines:6.2f} %"
            f"  {len(branches):8} {len(branches) - taken:9} {of_branches:6.2f} %"
        )
    return of_lines >= LINES and of_branches >= BRANCHES


def show(places):
    """A line a place, as the list has it."""
    for place, count in sorted(places.items()):
        print(f"\t{place.file} {place.function}: {count}: {place.text}")


def complaints(lines, found, allowed):
    """What must not be, each with its places."""
    there = {place for place, _ in places_of(lines)}
    yield "Never taken, and not in test/uncovered.txt", {
        place: count for place, count in found.items() if count > allowed.get(place, -1)
    }
    yield "In test/uncovered.txt, and nowhere in the source", {
        place: count for place, count in allowed.items() if place not in there
    }


def main(folder):
    """Prints figures, what is left, and what is wrong with that."""
    lines = measured(folder)
    found, reasons = left(lines), listed()
    allowed = {place: count for places in reasons.values() for place, count in places.items()}
    good = figures(lines)
    if not good:
        print(f"\nToo little: {LINES} % of the lines and {BRANCHES} % of the branches are the goal")
    for reason, places in reasons.items():
        rest = {place: found[place] for place in places if place in found}
        print(f"\n{reason} ({sum(rest.values())} branches)")
        show(rest)
    taken = {place: count for place, count in allowed.items() if count > found.get(place, -1)}
    if taken:
        print("\nIn test/uncovered.txt, and taken by now, or fewer of them are left")
        show(taken)
    for title, places in complaints(lines, found, allowed):
        if places:
            print(f"\n{title}")
            show(places)
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
