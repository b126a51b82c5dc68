#!/usr/bin/env python3
"""Does the client read gzip as zlib does?  The same verdict, the same bytes.

    test/gzip_test.py

The bodies are those of test/gzip.txt and some that are made here by zlib, each whole, cut at every byte, and with every
bit changed; and what gzip, pigz and zopfli make of a page, where they are installed.  They go through test/httpcheck.
BUILD=FOLDER/ and WRAP=COMMAND say where that is and what stands before it.  Output is TAP (Test Anything Protocol).
"""

import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

# Where each takes many times as long, a part of the changes shows what there is to be seen.
PART = 100 if os.environ.get("WRAP") else 10 if os.environ.get("FEW") else 1
HTTPCHECK = [*shlex.split(os.environ.get("WRAP", "")), f"./{os.environ.get('BUILD', '')}test/httpcheck", "-z"]
GZIP = 31  # zlib's way to say so
CHANGES = 15_000_000 // PART  # most bytes that one body's changes may come to when decoded
SAMPLE = 1000 // PART  # how many of those of a body that is made here
STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED)
FLUSHES = (zlib.Z_NO_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK)


def vectors():
    """Name and bytes of each in the file."""
    name, text = "", ""
    for line in [*Path("test/gzip.txt").read_text("ascii").splitlines(), "name: "]:
        word, _, rest = line.partition(": ")
        if word == "name":
            if text:
                yield name, bytes.fromhex(text)
            name, text = rest, ""
        elif word == "gzip":
            text += rest


def by_zlib(body):
    """What all members say; None if anything is wrong."""
    said = b""
    while True:
        member = zlib.decompressobj(GZIP)
        try:
            said += member.decompress(body)
        except zlib.error:
            return None
        if not member.eof:
            return None
        body = member.unused_data
        if not body:
            return said


def by_us(bodies, folder):
    """What the client says of each: "LENGTH CRC" or a reason."""
    file = folder / "bodies"
    file.write_bytes(b"".join(len(body).to_bytes(4, "little") + body for body in bodies))
    return subprocess.run([*HTTPCHECK, str(file)], check=True, capture_output=True, text=True).stdout.splitlines()


def disagreements(bodies, folder):
    """Those that the two judge differently."""
    answers = by_us(bodies, folder)
    if len(answers) != len(bodies):
        yield f"{len(answers)} answers"
    for body, ours in zip(bodies, answers):
        theirs = by_zlib(body)
        right = f"{len(theirs)} {zlib.crc32(theirs):08x}" if theirs is not None else None
        if ours != right and (right or ours[0].isdigit()):
            yield f"zlib: {right}; client: {ours}: {body.hex()[:400]}"


def changed(body, dice):
    """It, its beginnings, and it with each bit changed; only some of them where all would take long."""
    said = by_zlib(body) or b""
    most = CHANGES // (len(said) + 1000)
    cuts = [body[:n] for n in range(len(body))]
    bits = [body[: n // 8] + bytes([body[n // 8] ^ 1 << n % 8]) + body[n // 8 + 1 :] for n in range(len(body) * 8)]
    if len(bits) > most:
        bits = dice.sample(bits, most)
    return [body, *cuts, *bits]


def made(dice):
    """(name, body) of every level and strategy of zlib's, in blocks of several kinds."""
    for level in range(10):
        for strategy in STRATEGIES:
            alphabet = dice.choice((2, 16, 256))
            text = bytearray(dice.randrange(alphabet) for _ in range(50))
            while len(text) < dice.choice((60, 600, 6000)):
                start = dice.randrange(len(text))
                text += text[start : start + dice.randrange(300)] + bytes([dice.randrange(alphabet)])
            maker = zlib.compressobj(level, zlib.DEFLATED, GZIP, dice.randrange(1, 10), strategy)
            middle = dice.randrange(len(text))
            body = maker.compress(text[:middle]) + maker.flush(dice.choice(FLUSHES)) + maker.compress(text[middle:])
            yield f"zlib, level {level}, strategy {strategy}", body + maker.flush()


def by_programs(folder):
    """(program, body) of those that are here."""
    page = folder / "page"
    row = '{"id":"%d","name":"Zo\u00eb \\"%x\\"","enabled":true,"tags":["a","b"]},'
    page.write_text("".join(row % (n * n, n % 977) for n in range(20000)), "utf-8")
    commands = [f"gzip -c{level}" for level in range(1, 10)] + [f"pigz -c{level}" for level in (0, 1, 6, 9)]
    for command in [*commands, "pigz -c -p 3 -b 32", "zopfli -c --i1"]:
        if shutil.which(command.split()[0]):
            yield command, subprocess.run([*command.split(), str(page)], check=True, capture_output=True).stdout


class Report:
    """The lines of the Test Anything Protocol."""

    run = failed = 0

    def none(self, faults, name):
        """Is the sequence of complaints empty?"""
        faults = list(faults)
        self.run += 1
        self.failed += bool(faults)
        print("not ok" if faults else "ok", self.run, "-", name, flush=True)
        for fault in faults[:5]:
            print("#", fault)


def main():
    """All of them."""
    dice, report = random.Random(1), Report()
    with tempfile.TemporaryDirectory(prefix="gzip-test-") as name:
        folder = Path(name)
        for what, body in vectors():
            report.none(disagreements(changed(body, dice), folder), f"as zlib, cut and changed: {what}")
        for what, body in made(dice):
            bodies = changed(body, dice)
            bodies = [body, *dice.sample(bodies, min(SAMPLE, len(bodies)))]
            report.none(disagreements(bodies, folder), f"as zlib, cut and changed: made by {what}")
        for command, body in by_programs(folder):
            report.none(disagreements([body, body[:-1], body + b"\0"], folder), f"as zlib: made by {command}")
    print(f"1..{report.run}")
    return report.failed != 0


if __name__ == "__main__":
    sys.exit(main())
