#!/usr/bin/env python3
"""Mutants: does a test notice when one operator, constant or statement of the program is another?

    test/mutate.py             the mutants that the seed chooses, in all modules

Each mutant is one change in one function or table.  It counts if it compiles to other code than the original; it is
killed if a test fails, crashes or does not end.  First comes the unit test of its module, then those of the modules
above, then its own with sanitizers, at last the program end to end.  What nothing kills must stand in test/mutants.txt,
with the reason why no test can tell it from the original.  Each module needs SCORE per cent of the others.

COUNT=N    so many mutants                     FILES=json.c,tap.c     of these modules only
SEED=WORD  others than usual                   ONLY=survivors         what the last run left, once more
JOBS=N     so many at a time                   ONLY=WORD              those whose place or text contains WORD
SHOW=1     print them as diffs, run nothing    ONLY=listed            those of test/mutants.txt: is any killed?
END=own    only the unit test of its module    END=near               of the end-to-end cases only those whose title
END=unit   only unit tests                                            has a word of the function's name

What was found of each goes into build/mutate/results.txt too.  ONLY=survivors keeps the rest of it and counts all, as
does ONLY=rest, which goes on where a run was interrupted.  Output is TAP (Test Anything Protocol).
"""

import sys

sys.dont_write_bytecode = True

import concurrent.futures
import difflib
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

MODULES = ["json.c", "http.c", "singer.c", "streams.c", "tap.c"]
SCORE = 95
SEED = os.environ.get("SEED", "tap-segment")
COUNT = int(os.environ.get("COUNT", "600"))
JOBS = int(os.environ.get("JOBS", "2"))
FILES = [f for f in os.environ.get("FILES", "").split(",") if f] or MODULES
ONLY = os.environ.get("ONLY", "")
SHOW = bool(os.environ.get("SHOW"))
END = os.environ.get("END", "")
CC = os.environ.get("CC", "cc")
TOP = Path(__file__).resolve().parent.parent
WORK = TOP / "build/mutate"
LIST = TOP / "test/mutants.txt"
RESULTS = WORK / "results.txt"


# --- C, as far as a mutator must know it

TOKEN = re.compile(
    r"""(?P<space>(?:\s|\\\n|/\*.*?\*/|^[ \t]*\#(?:[^\n\\]|\\.)*)+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<word>[A-Za-z_]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<sign>\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[^\w\s])""",
    re.X | re.S | re.M,
)
OPENS, CLOSES = {"(", "[", "{"}, {")", "]", "}"}
NEIGHBOURS = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&"},
    **{"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "<<": ">>", ">>": "<<", "&": "|", "|": "&", "^": "|"},
    **{"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "%=": "/=", "|=": "&=", "&=": "|=", "^=": "|="},
    **{"<<=": ">>=", ">>=": "<<=", "++": "--", "--": "++"},
}
BINARY = {"<", ">", "+", "-", "*", "/", "%", "&", "|", "^"}  # those that may be something else too
CALLS_NOTHING = {"if", "for", "while", "switch", "return", "sizeof", "case", "assert"}
DECLARES = {*"const static struct enum union unsigned signed char int long short bool double void return case".split()}
JUMPS = {"break", "continue", "goto"}
BLOCKS = {"if", "for", "while", "switch", "do", "else", "assert", "default"}


@dataclass
class Token:
    """A token that means something, and where it stands."""

    kind: str
    text: str
    start: int
    end: int
    mate: int = -1  # the index of the bracket that belongs to it


def tokens_of(text):
    """What is left of a source without comments, white space and lines of the preprocessor."""
    found, open_ones = [], []
    for match in TOKEN.finditer(text):
        if match.lastgroup == "space":
            continue
        token = Token(match.lastgroup, match.group(), match.start(), match.end())
        if token.text in OPENS:
            open_ones.append(len(found))
        elif token.text in CLOSES:
            token.mate = open_ones.pop()
            found[token.mate].mate = len(found)
        found.append(token)
    return found


def blocks_of(tokens):
    """The name, first and last token of each function, table and enumeration of a file."""
    i = 0
    while i < len(tokens):
        if tokens[i].text != "{":
            i = tokens[i].mate + 1 if tokens[i].text in OPENS else i + 1
            continue
        last, before = tokens[i].mate, i - 1
        while tokens[before].text == "]":
            before = tokens[before].mate - 1
        if tokens[before].text == ")":
            yield tokens[tokens[before].mate - 1].text, i, last
        elif tokens[before].text == "=":
            before -= 1
            while tokens[before].text == "]":
                before = tokens[before].mate - 1
            yield tokens[before].text, i, last
        elif tokens[before].text == "enum" or tokens[before - 1].text == "enum":
            yield tokens[i + 1].text, i, last
        i = last + 1


@dataclass
class Mutant:
    """One change of one file: the bytes from start to end are others."""

    file: str
    place: str  # the name of the function, table or (its first name) enumeration
    start: int
    end: int
    new: str
    text: str = ""  # its line, with the change in it as {old => new}
    verdict: str = ""
    by: str = ""
    seconds: float = 0.0

    @property
    def name(self):
        """What it is known by, wherever its line may stand."""
        return f"{self.file} {self.place}: {self.text}"

    def counts(self):
        """Is it a program, and another one?"""
        return self.verdict not in ("does not compile", "same code")


def nearby(value):
    """A constant less and more by one, in its own base and with its own suffix."""
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)", value)
    if match:
        number = int(match[1], 16 if match[1][:2] in ("0x", "0X") else 8 if re.match(r"0\d", match[1]) else 10)
        for other in (number - 1, number + 1):
            if other >= 0:
                yield (hex(other) if match[1][:2] in ("0x", "0X") else str(other)) + match[2]


class Source:
    """A module and all its mutants."""

    def __init__(self, file):
        self.file = file
        self.text = (TOP / file).read_text("utf-8")
        self.tokens = tokens_of(self.text)
        self.mutants = []
        self.lines = {}  # how many, by place
        for name, first, last in blocks_of(self.tokens):
            self.lines[name] = self.text.count("\n", self.tokens[first].start, self.tokens[last].end) + 1
            self.walk(name, first, last)
        known = {}
        for mutant in self.mutants:  # what stands twice in a function is told apart by number
            known[mutant.text, mutant.place] = n = known.get((mutant.text, mutant.place), 0) + 1
            if n > 1:
                mutant.text += f" ({n})"

    def add(self, place, start, end, new):
        """One mutant; its text is its line, or as much as is needed."""
        old = self.text[start:end]
        before = self.text[self.text.rfind("\n", 0, start) + 1 : start]
        stop = self.text.find("\n", end)
        text = f"{before}{{{old} => {new.strip()}}}{self.text[end:stop]}"
        self.mutants.append(Mutant(self.file, place, start, end, new, re.sub(r"\s+", " ", text).strip()))

    def change(self, place, token, new):
        """A mutant with another token."""
        self.add(place, token.start, token.end, new)

    def walk(self, place, first, last):
        """All mutants of one function."""
        i = first
        while i < last:
            token, before = self.tokens[i], self.tokens[i - 1]
            if token.text == "assert":
                i = self.tokens[i + 1].mate + 1
                continue
            self.signs(place, i, token)
            if token.text in ("if", "while"):
                self.negate(place, self.tokens[i + 1])
            elif token.text in ("true", "false"):
                self.change(place, token, "false" if token.text == "true" else "true")
            elif token.kind == "number":
                for other in nearby(token.text):
                    self.change(place, token, other)
            elif token.kind == "char":
                self.change(place, token, f"({token.text} + 1)")
            elif token.text == "?":
                self.swap_arms(place, i)
            elif token.text == "(" and before.kind == "word" and before.text not in CALLS_NOTHING:
                self.swap_arguments(place, i)
            if before.text in (";", "{", "}", ":", "else") or (before.text == ")" and self.heads_block(i - 1)):
                self.delete(place, i)
            i += 1

    def negate(self, place, bracket):
        """The condition between brackets, turned round; without the '!' of a lone one is another mutant."""
        start, end = bracket.end, self.tokens[bracket.mate].start
        if self.text[start] != "!" or re.search(r"&&|\|\|", self.text[start:end]):
            self.add(place, start, end, f"!({self.text[start:end]})")

    def signs(self, place, i, token):
        """Operators: the neighbour of a binary one; without it, of '!'."""
        text, following = self.text, self.tokens[i + 1]
        if token.kind != "sign":
            return
        apart = text[token.start - 1].isspace() and text[token.end].isspace()
        if token.text in NEIGHBOURS and (apart or token.text not in BINARY):
            self.change(place, token, NEIGHBOURS[token.text])
        elif token.text == "!":
            self.add(place, token.start, following.start, "")

    def heads_block(self, i):
        """Is this the bracket that ends the head of an if, for or while?"""
        return self.tokens[self.tokens[i].mate - 1].text in ("if", "for", "while")

    def part_end(self, i, stops):
        """The first token from i on, outside of brackets, that is one of the stops or closes the bracket around."""
        while self.tokens[i].text not in stops and self.tokens[i].text not in CLOSES:
            i = self.tokens[i].mate + 1 if self.tokens[i].text in OPENS else i + 1
        return i

    def swap(self, place, first, second):
        """Two parts, each from one token to before another, in each other's place."""
        start, end = self.tokens[first[0]].start, self.tokens[first[1] - 1].end
        begin, stop = self.tokens[second[0]].start, self.tokens[second[1] - 1].end
        if self.text[start:end] != self.text[begin:stop]:
            self.add(place, start, stop, self.text[begin:stop] + self.text[end:begin] + self.text[start:end])

    def swap_arms(self, place, i):
        """b and c of a ? b : c."""
        colon, depth = i + 1, 1
        while True:
            colon = self.part_end(colon, {"?", ":"})
            depth += 1 if self.tokens[colon].text == "?" else -1
            if not depth:
                break
            colon += 1
        self.swap(place, (i + 1, colon), (colon + 1, self.part_end(colon + 1, {",", ";", ":"})))

    def swap_arguments(self, place, i):
        """Neighbours in a call."""
        parts, start = [], i + 1
        while start < self.tokens[i].mate:
            end = self.part_end(start, {","})
            parts.append((start, end))
            start = end + 1
        for first, second in zip(parts, parts[1:]):
            self.swap(place, first, second)

    def delete(self, place, i):
        """A statement that is neither a declaration nor a block."""
        first, second = self.tokens[i], self.tokens[i + 1]
        if first.kind != "word" and first.text not in ("*", "(", "++", "--"):
            return
        bare_return = first.text == "return" and second.text == ";"
        if first.text in DECLARES | BLOCKS and not bare_return or first.text.endswith("_t") or second.text == ":":
            return
        if second.kind == "word" and first.text not in JUMPS:  # a type and a name
            return
        end = self.part_end(i, {";"})
        if self.tokens[end].text == ";":
            old = self.text[first.start : self.tokens[end].start]
            self.add(place, first.start, self.tokens[end].start, "\n" * old.count("\n"))

    def mutated(self, mutant):
        """The file with the change in it; line numbers stay where they matter, as assert() has them."""
        old = self.text[mutant.start : mutant.end]
        new = mutant.new + "\n" * (old.count("\n") - mutant.new.count("\n"))
        return self.text[: mutant.start] + new + self.text[mutant.end :]


# --- choosing


def fraction(*words):
    """A number from 0 to 1 that depends on the seed and these words alone."""
    digest = hashlib.sha256("\0".join([SEED, *words]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def in_turn(sources):
    """All mutants in an order whose every beginning has as many of each function as it has lines, about."""
    order = []
    for source in sources:
        places = {}
        for mutant in sorted(source.mutants, key=lambda m: fraction(m.name)):
            places.setdefault(mutant.place, []).append(mutant)
        for place, mutants in places.items():
            late = fraction(source.file, place)
            order += [((n + late) / source.lines[place], mutant) for n, mutant in enumerate(mutants)]
    return [mutant for _, mutant in sorted(order, key=lambda pair: (pair[0], pair[1].name))]


def listed():
    """The names in test/mutants.txt: lines that are not indented, each or some together with their reason below."""
    names = []
    if LIST.exists():
        names = [l for l in LIST.read_text("utf-8").splitlines() if l and not l[0].isspace() and l[0] != "#"]
    return names


def recorded(mutants):
    """Those that the last run has judged, with what it found, if the source still has them."""
    by_name = {mutant.name: mutant for mutant in mutants}
    found = []
    for line in RESULTS.read_text("utf-8").splitlines() if RESULTS.exists() else []:
        verdict, seconds, name, by = line.split("\t")
        if name in by_name:
            mutant = by_name[name]
            mutant.verdict, mutant.seconds, mutant.by = verdict, float(seconds), by
            found.append(mutant)
    return found


# --- programs and their verdicts

MACROS = ["-D_POSIX_C_SOURCE=200809L", "-D_FILE_OFFSET_BITS=64", "-D_TIME_BITS=64"]
MACROS += ['-DVERSION="0.1.0"', '-DBEARSSL_VERSION="0.6"']
# What every compiler of today refuses, and what no reader would let pass.
COMPILE = [CC, "-std=c99", "-Werror=incompatible-pointer-types", "-Werror=int-conversion", "-Werror=format"]
COMPILE += ["-Werror=implicit-function-declaration", *MACROS]
QUICK, CODE = ["-O0"], ["-O1"]
# The first try is by tcc, where it is installed and the original passes so: it takes no time.
FAST = ["tcc", "-std=c99", "-w", *MACROS] if shutil.which("tcc") else [*COMPILE, *QUICK]
FEW = {"HOLES": "60"}  # see streams_test.c
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LIBRARIES = ["-lbearssl"]
SANITIZED = {"FEW": "1", "HOLES": "60"}
SURROUNDINGS = {"TAP": "./tap-segment", "SEGMENTD": "./test/segmentd", "BUILD": ""}
MEMORY = 4 << 30  # bytes that a mutant may have, where no sanitizer needs more
OUTPUT = 1 << 30  # bytes that a file of it may have
# The other unit tests that run a module.
TESTS = {
    "json.c": ["singer", "tap", "http", "streams"],
    "http.c": [],
    "singer.c": ["streams", "tap"],
    "streams.c": ["tap"],
    "tap.c": [],
}
SCRIPTS = {"json.c": ["test/drivers_test.sh"], "http.c": ["test/drivers_test.sh", "test/gzip_test.py"]}
# End to end in three steps: cases whose title has a word of the function's name, what most often tells, everything.
TITLES = re.findall(r'^ *@case\(f?"(.*)"\)', (TOP / "test/e2e.py").read_text("utf-8"), re.M)
FIRST = {
    "json.c": "config,state,discovery,all streams",
    "http.c": "TLS,proxy,certificates,unreachable,gzip,trouble,limit,progress",
    "singer.c": "catalog,select,keys,state,logs,all streams",
    "streams.c": "sync,state,access,parents,events,others,resume",
    "tap.c": "usage,help,config,about,output,signal,environment,values,state",
}


@dataclass
class Limits:
    """How long a program takes with the original: of the clock and of the processor."""

    wall: float = 0.0
    processor: float = 0.0


@dataclass
class Bench:
    """A copy of the sources and their objects in which one mutant at a time is tried."""

    folder: Path
    limits: dict = field(default_factory=dict)
    slow: set = field(default_factory=set)  # unit tests that fail if FAST compiles them

    def run(self, *command, **more):
        """A compiler or the like; was it content?"""
        result = subprocess.run(command, cwd=self.folder, capture_output=True, check=False, **more)
        return result.returncode == 0

    def build(self, *command):
        """What can't fail, as the original is built so."""
        if not self.run(*command):
            sys.exit(f"test/mutate.py: {' '.join(map(str, command))}: failed")

    def prepare(self):
        """The objects of all tests and modules."""
        for source in MODULES:
            self.build(*COMPILE, *CODE, "-c", source)
        for unit in [*(f"{m[:-2]}_test" for m in MODULES), "fake_http"]:
            self.build(*COMPILE, *QUICK, "-c", f"test/{unit}.c", "-o", f"test/{unit}.o")
        for driver in ("segmentd", "httpcheck", "jsoncheck"):
            self.build(*COMPILE, *CODE, "-c", f"test/{driver}.c", "-o", f"test/{driver}.o")
        self.archive()
        self.build(*COMPILE, *CODE, "test/segmentd.o", "-o", "test/segmentd", *LIBRARIES)
        self.link_program("original")

    def archive(self):
        """What a test gets of the modules that it does not include."""
        Path(self.folder, "test/modules.a").unlink(missing_ok=True)
        return self.run("ar", "rc", "test/modules.a", *(f"{m[:-2]}.o" for m in MODULES[:-1]))

    def link_test(self, unit, *compiler, own=False):
        """One unit test as an executable; own: the module that it includes is the mutant."""
        program = f"test/{unit}_test"
        parts = [f"{program}.c" if own else f"{program}.o"]
        if unit == "streams":
            parts.append("test/fake_http.o")
        return self.run(*(compiler or [*COMPILE, *QUICK]), *parts, "test/modules.a", "-o", program, *LIBRARIES)

    def link_first(self, unit):
        """The mutant in its own unit test, as fast as may be."""
        return self.link_test(unit, *([] if unit in self.slow else FAST), own=True)

    def link_driver(self, driver, own):
        """A parser driver."""
        part = f"test/{driver}.c" if own else f"test/{driver}.o"
        return self.run(*COMPILE, *QUICK, part, "test/modules.a", "-o", f"test/{driver}", *LIBRARIES)

    def link_program(self, name):
        """The tap itself."""
        return self.run(*COMPILE, *(f"{m[:-2]}.o" for m in MODULES), "-o", name, *LIBRARIES)

    def start(self, command, environment, known):
        """A test program in a session of its own, which ends with it."""

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT, OUTPUT))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if known and environment != SANITIZED:
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            if known:
                seconds = int(known.processor * 4) + 5
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **SURROUNDINGS, "TMPDIR": str(self.folder / "tmp"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=limit,
        )

    def complaint(self, *command, **environment):
        """The first failed check of a test program, "" if there is none.  It ends with that."""
        known = self.limits.get(f"{command[0]} {environment}")
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        process = self.start(command, environment, known)
        late = threading.Event()

        def stop():
            late.set()
            end(process)

        timer = threading.Timer(known.wall * 6 + 20 if known else 3600, stop)
        timer.start()
        found, planned = "", False
        for line in process.stdout:
            planned = planned or line.startswith(b"1..")
            if line.startswith(b"not ok"):
                found = re.sub(r"^not ok \d+ - ", "", line.decode("utf-8", "replace").strip())
                break
        if not found:
            process.wait()
        timer.cancel()
        end(process)
        process.stdout.close()
        shutil.rmtree(temporary, ignore_errors=True)
        if not found and late.is_set():
            return "does not end"
        return found or (f"exit status {process.returncode}" if process.returncode or not planned else "")

    def measure(self, *command, **environment):
        """The same with the original; how long it takes is kept."""
        started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        found = self.complaint(*command, **environment)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        if not found:
            self.limits[f"{command[0]} {environment}"] = Limits(time.monotonic() - started, processor)
        return found

    def trials(self, file):
        """What a module's mutants go through after the first try: name, built?, command, its environment."""
        unit = file[:-2]
        if END == "own":
            return
        if file == "streams.c":
            yield "streams_test in full", self.link_test(unit, own=True), ["test/streams_test"], {}
        for other in TESTS[file]:
            yield f"{other}_test", self.link_test(other), [f"test/{other}_test"], {}
        for script in SCRIPTS.get(file, []):
            linked = self.link_driver("httpcheck", file == "http.c") and self.link_driver("jsoncheck", file == "json.c")
            yield script, linked, [script], {}
        if self.sanitizes():
            linked = self.link_test(unit, *COMPILE, *SANITIZE, own=True)
            yield f"{unit}_test with sanitizers", linked, [f"test/{unit}_test"], SANITIZED

    def from_outside(self, mutant):
        """The program end to end.  These tests take long, so the original is not measured; it must pass what failed."""
        near = [w for w in mutant.place.split("_") if len(w) > 2 and any(w in title for title in TITLES)]
        steps = [",".join(near)] * bool(near) + [FIRST[mutant.file], ""] * (END != "near")
        for cases in steps:
            found = self.complaint("test/e2e.py", CASES=cases)
            again = found.partition(": ")[0] if ": " in found else cases
            if found and not self.complaint("test/e2e.py", CASES=again, TAP="./original"):
                return found
        found = END != "near" and self.complaint("test/contrib_test.py")
        return found if found and not self.complaint("test/contrib_test.py", TAP="./original") else ""

    def sanitizes(self):
        """Has this machine the sanitizers?"""
        return self.run(*COMPILE, *SANITIZE, "-x", "c", "-", "-o", "/dev/null", input=b"int main(void) { return 0; }")

    def measure_all(self, files):
        """The original must pass all that is not from outside."""
        for file in files:
            unit = file[:-2]
            if not self.link_first(unit) or self.complaint(f"test/{unit}_test", **FEW):
                self.slow.add(unit)
            self.must_pass(f"{unit}_test", self.link_first(unit), [f"test/{unit}_test"], FEW)
            for trial in self.trials(file):
                self.must_pass(*trial)

    def must_pass(self, name, built, command, environment):
        """Twice at most: a test that depends on the machine's load is not to end this."""
        if not built:
            sys.exit(f"test/mutate.py: {name}: does not compile")
        found = self.measure(*command, **environment) and self.measure(*command, **environment)
        if found:
            sys.exit(f"test/mutate.py: {name}: fails with the original: {found}")
        note(f"{name} of the original: passed")

    def judge(self, source, mutant):
        """Compiles and tries one mutant; its verdict."""
        started = time.monotonic()
        path, thing = self.folder / mutant.file, self.folder / f"{mutant.file[:-2]}.o"
        original = thing.read_bytes()
        path.write_text(source.mutated(mutant), "utf-8")
        try:
            mutant.verdict, mutant.by = self.verdict(mutant, thing, original)
        finally:
            path.write_text(source.text, "utf-8")
            thing.write_bytes(original)
            mutant.seconds = time.monotonic() - started

    def verdict(self, mutant, thing, original):
        """"does not compile", "same code", "killed" or "survived", and by what."""
        file, unit = mutant.file, mutant.file[:-2]
        if not self.run(*COMPILE, "-fsyntax-only", file):
            return "does not compile", ""
        found = self.complaint(f"test/{unit}_test", **FEW) if self.link_first(unit) else "does not compile"
        if found:
            return "killed", f"{unit}_test: {found}"
        if not self.run(*COMPILE, *CODE, "-c", file):
            return "does not compile", ""
        if thing.read_bytes() == original:
            return "same code", ""
        self.archive()
        for name, built, command, environment in self.trials(file):
            found = self.complaint(*command, **environment) if built else "does not compile"
            if found:
                return "killed", f"{name}: {found}"
        found = self.from_outside(mutant) if END in ("", "near") and self.link_program("tap-segment") else ""
        return ("killed", f"end to end: {found}") if found else ("survived", "")


def end(process):
    """Ends a test program and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


# --- a run


def note(text):
    """A line for whoever waits."""
    print(f"# {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def benches():
    """One copy for each job; the first is measured, the others get what was found."""
    shutil.rmtree(WORK / "jobs", ignore_errors=True)
    leave = shutil.ignore_patterns("build", ".git", "__pycache__", "*.o", "*.a", "tap-segment", "*_test")
    first = Bench(WORK / "jobs/1")
    shutil.copytree(TOP, first.folder, ignore=leave, symlinks=True)
    first.prepare()
    found = [first]
    for n in range(2, JOBS + 1):
        shutil.copytree(first.folder, WORK / f"jobs/{n}", symlinks=True)
        found.append(Bench(WORK / f"jobs/{n}", first.limits, first.slow))
    return found


class Run:
    """Mutants being judged, until enough of them count."""

    def __init__(self, sources, mutants, count, judged):
        self.sources = {source.file: source for source in sources}
        self.waiting = iter(mutants)
        self.left = count
        self.lock = threading.Lock()
        self.judged = judged
        self.known = set() if ONLY == "listed" else set(listed())
        self.record()

    def record(self):
        """Writes what was found up to now."""
        part = RESULTS.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            for m in self.judged:
                print(m.verdict, f"{m.seconds:.1f}", m.name, m.by, sep="\t", file=file)
        part.replace(RESULTS)

    def work(self, bench):
        """What one job does."""
        while True:
            with self.lock:
                mutant = next(self.waiting, None) if self.left else None
                if mutant is None:
                    return
                self.left -= 1
            if mutant.name in self.known:
                mutant.verdict = "listed"
            else:
                bench.judge(self.sources[mutant.file], mutant)
            with self.lock:
                self.judged.append(mutant)
                self.left += not mutant.counts()
                self.record()
            if mutant.verdict == "survived":
                note(f"survived: {mutant.name}")

    def all(self, found):
        """Judges them, each bench in a thread."""
        with concurrent.futures.ThreadPoolExecutor(len(found)) as pool:
            for job in [pool.submit(self.work, bench) for bench in found]:
                job.result()


def show(sources, mutants):
    """Mutants as diffs."""
    for mutant in mutants:
        source = next(s for s in sources if s.file == mutant.file)
        lines = [text.splitlines(keepends=True) for text in (source.text, source.mutated(mutant))]
        print(f"# {mutant.name}")
        sys.stdout.writelines(difflib.unified_diff(*lines, mutant.file, mutant.file, n=2))


def report(run, known):
    """One check for each module, and one for the list."""
    number = failed = 0

    def ok(passed, text):
        nonlocal number, failed
        number, failed = number + 1, failed + (not passed)
        print(f"{'' if passed else 'not '}ok {number} - {text}")

    for file in FILES:
        mine = [m for m in run.judged if m.file == file and m.counts()]
        if not mine:
            continue
        killed = [m for m in mine if m.verdict == "killed"]
        alike = [m for m in mine if m.verdict == "listed" or (m.verdict == "survived" and m.name in known)]
        left = [m for m in mine if m.verdict == "survived" and m.name not in known]
        for mutant in left:
            print(f"# survived: {mutant.name}")
        score = 100 * len(killed) / max(len(killed) + len(left), 1)
        figures = f"{len(killed)} killed, {len(left)} survived, {len(alike)} as listed: {score:.1f} %"
        ok(score >= SCORE, f"{file}: {len(killed) + len(left) + len(alike)} mutants, {figures}")
    there = {m.name for s in run.sources.values() for m in s.mutants}
    gone = [n for n in known if n.split()[0] in FILES and n not in there]
    wrong = [m.name for m in run.judged if m.verdict == "killed" and m.name in known]
    ok(run.judged, "there are mutants")
    ok(not gone, "every mutant of test/mutants.txt is one of the source as it stands")
    ok(not wrong, "none of test/mutants.txt was killed")
    for name in gone + wrong:
        print(f"# {name}")
    print(f"1..{number}")
    return 1 if failed else 0


def main():
    """Chooses, builds, judges, reports."""
    os.chdir(TOP)
    sys.stdout.reconfigure(line_buffering=True)
    sources = [Source(file) for file in FILES]
    order, judged = in_turn(sources), []
    if ONLY in ("survivors", "rest"):
        last = recorded(order)
        judged = [m for m in last if m.verdict != "survived" or ONLY == "rest"]
        mutants = [m for m in last if m.verdict == "survived"] if ONLY == "survivors" else order
        mutants = [m for m in mutants if m not in judged]
    elif ONLY == "listed":
        known = set(listed())
        mutants = [m for m in order if m.name in known]
    else:
        mutants = [m for m in order if ONLY in m.name]
    count = COUNT if ONLY in ("", "rest") else len(mutants)
    if ONLY == "rest":
        count = max(count - sum(m.counts() for m in judged), 0)
    if SHOW:
        return show(sources, mutants[:count])
    WORK.mkdir(parents=True, exist_ok=True)
    found = benches()
    found[0].measure_all({m.file for m in mutants if m.name not in set(listed()) or ONLY == "listed"})
    run = Run(sources, mutants, count, judged)
    run.all(found)
    return report(run, listed())


if __name__ == "__main__":
    sys.exit(main())
