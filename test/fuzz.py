#!/usr/bin/env python3
"""Runs the fuzzing programs (test/fuzz_*.c) for a while each, as many at once as FUZZ_JOBS says, or as there are
processors.

    test/fuzz.py

FUZZ_SECONDS=N: how long each target runs.  FUZZ_ONLY=NAME: one of them alone.  BUILD=FOLDER/: where the programs are, and
where inputs that were found stay, for the next run.  FUZZ_SEED=N: the same inputs in a clean folder, as far as the
time goes.  Each begins with test/corpus/NAME and the vectors of test/*.txt that are its matter.  A target fails if
something that must hold does not, or if it ran too seldom to say anything.  Output is TAP (Test Anything Protocol).
"""

import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SECONDS = int(os.environ.get("FUZZ_SECONDS") or 10)
ONLY = os.environ.get("FUZZ_ONLY", "")
SEED = os.environ.get("FUZZ_SEED", "")
JOBS = int(os.environ.get("FUZZ_JOBS") or os.cpu_count() or 1)
BUILD = Path(os.environ.get("BUILD") or ".")
LEAST = 20  # executions a second: the slowest target on a busy machine does ten times as many


def framing():
    """The answers of test/framing.txt."""
    letters = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    escape = re.compile(r"\\\((\d+) (.*?)\\\)|\\x(..)|\\(.)|([^\\]+)")

    def meaning(text):
        for count, repeated, code, letter, plain in escape.findall(text):
            yield (
                min(int(count), 100) * b"".join(meaning(repeated))
                if count
                else bytes([int(code, 16)])
                if code
                else letters[letter]
                if letter
                else plain.encode()
            )

    answer = b""
    for line in [*Path("test/framing.txt").read_text("utf-8").splitlines(), "name: "]:
        word, _, rest = line.partition(": ")
        if word == "name" and answer:
            yield answer
            answer = b""
        elif word == "sent":
            answer += b"".join(meaning(rest))


def gzips():
    """The bodies of test/gzip.txt."""
    body = ""
    for line in [*Path("test/gzip.txt").read_text("ascii").splitlines(), "name: "]:
        word, _, rest = line.partition(": ")
        if word == "name" and body:
            yield bytes.fromhex(body)
            body = ""
        elif word == "gzip":
            body += rest


def deflated():
    """What stands in them between a short header and the check values."""
    return (body[10:-8] for body in gzips() if len(body) > 18 and body[3:4] == b"\0")


def exchanges():
    """Their answers, each three times on one connection, and nothing that goes wrong."""
    return (b"\x1e".join([answer] * 3) + b"\x1e" + bytes(40) for answer in framing())


def throws():
    """Bytes by chance, for what is made by dice alone."""
    dice = random.Random(1)
    return (dice.randbytes(size) for size in range(20, 400, 20))


def long_names():
    """About as long as a file's name may be."""
    return (b"%F" * 409 + b"a" * more for more in range(8))


class Target(NamedTuple):
    """A target of a program."""

    program: str
    most: int  # bytes of an input
    words: str = ""  # that inputs may be made of
    vectors: object = tuple  # more inputs to begin with


JSON = r'{ } [ ] : , " \ \u \ud800 \udc00 0 -1 1.5e+9 true false null'
HEAD = "HTTP/1.1 200 204 304 100 Content-Length: Transfer-Encoding: chunked Content-Encoding: gzip identity Connection: close"
CATALOG = '"streams" "tap_stream_id" "users" "people" "events" "members" "schema" "properties" "type" "metadata" '
CATALOG += (
    '"breadcrumb" "selected" "inclusion" "automatic" "key_properties" "replication-method" "FULL_TABLE" "id" *,!*.'
)
STATE = (
    '"bookmarks" "events" "timestamp" "replication_key_value" "currently_syncing" "singer_state" "completed" "STATE"'
)
OPTIONS = (
    "--config= --catalog --state-file=x --output=- --select --test=schema --about --format=json --log-level -c -d --"
)
CONFIG = (
    '"api_token" "access_token" "start_date" "2021-01-01" "request_timeout" "region" "page_size" "stream_maps" true'
)
TARGETS = {
    "json": Target("fuzz_json", 400, JSON),
    "round": Target("fuzz_json", 400, JSON),
    "time": Target("fuzz_json", 48, "2026-02-29 T23:59:60 .123456 Z +01:00 -0130"),
    "answer": Target("fuzz_http", 600, HEAD, framing),
    "gzip": Target("fuzz_http", 600, "", gzips),
    "deflate": Target("fuzz_http", 600, "", deflated),
    "date": Target("fuzz_http", 64, "Sun Nov 06 1994 08:49:37 GMT -0130 ("),
    "url": Target("fuzz_http", 300, "https:// [::1] @ 127.0.0.1 :443 .example.com /8"),
    "der": Target("fuzz_http", 1200),
    "pem": Target("fuzz_http", 3000, "-----BEGIN -----END CERTIFICATE----- TRUSTED X509"),
    "project": Target("fuzz_singer", 600, "", throws),
    "catalog": Target("fuzz_singer", 1500, CATALOG),
    "glob": Target("fuzz_singer", 60),
    "state": Target("fuzz_singer", 500, STATE),
    "secret": Target("fuzz_singer", 200, JSON),
    "options": Target("fuzz_tap", 200, OPTIONS),
    "config": Target("fuzz_tap", 500, CONFIG),
    "name": Target("fuzz_tap", 5000, "%Y%m%d %F %T %%", long_names),
    "client": Target("fuzz_client", 1500, HEAD + " 429 503 Retry-After: 3", exchanges),
}


def prepare(name, target):
    """The arguments of a run: its words, its folder of inputs, and those it begins with."""
    folder, dictionary = BUILD / "corpus" / name, BUILD / "corpus" / f"{name}.words"
    folder.mkdir(parents=True, exist_ok=True)
    for number, vector in enumerate(target.vectors()):
        (folder / f"vector-{number}").write_bytes(vector[: target.most])
    words = [re.sub(r'(["\\])', r"\\\1", word) for word in target.words.split()]
    dictionary.write_text("".join(f'"{word}"\n' for word in words), "utf-8")
    seeds = Path("test/corpus") / name
    return [*([f"-dict={dictionary}"] if words else []), folder, *([seeds] if seeds.is_dir() else [])]


def run(name):
    """What came of one: ok, a line of numbers, and what was said if it failed."""
    target = TARGETS[name]
    crash = BUILD / f"{name}-"
    limits = [f"-max_len={target.most}", f"-max_total_time={SECONDS}", "-timeout=30", "-rss_limit_mb=2048"]
    limits += [f"-seed={SEED}"] if SEED else []
    command = [BUILD / "test" / target.program, *limits, f"-artifact_prefix={crash}", "-print_final_stats=1"]
    try:
        done = subprocess.run(
            [*command, *prepare(name, target)],
            check=False,
            env={**os.environ, "FUZZ_TARGET": name},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            timeout=SECONDS * 3 + 120,
        )
        said, status = done.stderr.decode("utf-8", "replace"), done.returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        said, status = str(error), -1
    executions = int((re.findall(r"number_of_executed_units: *(\d+)", said) or [0])[-1])
    coverage = (re.findall(r"cov: (\d+)", said) or [0])[-1]
    enough = executions >= SECONDS * LEAST
    numbers = f"{name}: {executions} executions, {coverage} edges"
    if status == 0 and enough:
        return True, numbers, []
    told = [line for line in said.splitlines() if not line.startswith("#")]
    return False, numbers, [f"exit status {status}", *([] if enough else ["too few executions"]), *told[-40:]]


def main():
    """All of them."""
    names = [name for name in TARGETS if ONLY in ("", name)]
    failed = 0
    with ThreadPoolExecutor(JOBS) as pool:
        for number, (good, numbers, told) in enumerate(pool.map(run, names), 1):
            failed += not good
            print("ok" if good else "not ok", number, "-", numbers)
            print("#", numbers, flush=True)  # which prove shows
            for line in told:
                print("#", line)
    print(f"1..{len(names)}" if names else f"Bail out! FUZZ_ONLY: there are {' '.join(TARGETS)}")
    return failed != 0 or not names


if __name__ == "__main__":
    sys.exit(main())
