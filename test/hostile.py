#!/usr/bin/env python3
"""What a hostile server, catalog, state or target can take from the tap: memory, time, requests.

    test/hostile.py

The figures of contrib/security.md.  Each case has a ceiling of memory, and what its last line or exit status must be.  TAP is
the tap, FAULTED its fault build (for a clock that runs a hundred times as fast); CASES=WORD,... runs those whose names hold
one of the words.  Output is TAP (Test Anything Protocol).
"""

import functools
import gzip
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

TAP = os.environ.get("TAP", "./tap-segment")
FAULTED = os.environ.get("FAULTED", "./test/tap-fault")
CASES = os.environ.get("CASES", "").split(",")
MEBI = 1 << 20
WITHHELD = 60  # seconds
LISTS = {
    "/sources": "sources",
    "/destinations": "destinations",
    "/warehouses": "warehouses",
    "/catalog/sources": "sourcesCatalog",
    "/catalog/destinations": "destinationsCatalog",
    "/catalog/warehouses": "warehousesCatalog",
    "/users": "users",
    "/groups": "userGroups",
}
STREAMS = "sources,destinations,warehouses,catalog_sources,catalog_destinations,catalog_warehouses,iam_users,iam_groups"


def page(path, row, cursor=None):
    """An answer's body: one row of that list."""
    pagination = {"current": "x", "totalEntries": 1, **({"next": cursor} if cursor else {})}
    text = json.dumps({"data": {LISTS[path]: ["ROW"], "pagination": pagination}})
    return text.replace('"ROW"', row).encode()


def filled(path, member, opening, filling, closing, size=64 * MEBI):
    """A page of just that size: one row with a member that is full of something."""
    body = page(path, '{"id":"1","%s":%s@%s}' % (member, opening, closing))
    count = (size - len(body)) // len(filling)
    return body.replace(b"@", filling * count if opening == '"' else filling * (count - 1) + b"0")


def answer(body, *fields, status=b"200 OK"):
    """A whole answer."""
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields, b"", body])


def small(path):
    """As it should be."""
    return [answer(page(path, '{"id":"1"}'))]


def large(path):
    """As large as an answer may be: a string."""
    return [answer(filled(path, "name", '"', b"x", '"'))]


def dense(path):
    """As large as an answer may be: about as many values as are taken."""
    return [answer(filled(path, "z", "[", b"0,   ", "]"))]


def denser(path):
    """More values than are taken."""
    return [answer(filled(path, "z", "[", b"0,", "]"))]


@functools.cache
def bomb(path):
    """As large as an answer may be, in a thousandth of the bytes."""
    return [answer(gzip.compress(filled(path, "z", "[", b"0,   ", "]"), 6), b"Content-Encoding: gzip")]


def withheld(path):
    """The first list comes late, so that all others must be kept."""
    if path == "/sources":
        time.sleep(WITHHELD)
    return bomb(path)


def too_large(path):
    """In gzip, and more than an answer may be."""
    return [answer(gzip.compress(filled(path, "z", "[", b"0,", "]", 128 * MEBI), 1), b"Content-Encoding: gzip")]


def announced(_):
    """Much is announced, a little comes."""
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEBI) + b"x" * 1000]


def endless(begin, more):
    """A head, or chunks, that never end."""

    def pieces(_):
        yield begin
        while True:
            yield more * 1000

    return pieces


def trickle(_):
    """A byte now and then."""
    for byte in answer(b"{}" * 1000):
        yield bytes([byte])
        time.sleep(0.05)


def limited(_):
    """Not yet, each time."""
    return [answer(b"", b"Retry-After: 1", status=b"429 Too Many Requests")]


def deep(path):
    """Nested as deeply as a page of a mebibyte can be."""
    return [answer(page(path, '{"id":"1","z":' + "[" * MEBI + "]" * MEBI + "}"))]


def cursors(pages):
    """So many pages, each with a cursor of its own."""
    count = [0]

    def pieces(path):
        count[0] += 1
        return [answer(page(path, '{"id":"%d"}' % count[0], f"c{count[0]}" if count[0] < pages else None))]

    return pieces


FOUR = ",".join(STREAMS.split(",")[:4])


class Server:
    """Answers every request with the pieces that a function of its path gives."""

    def __init__(self, pieces):
        self.pieces, self.requests, self.cache = pieces, 0, {}
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        """One thread a connection."""
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        """Request by request."""
        with connection, connection.makefile("rb") as reader:
            while True:
                try:
                    path = reader.readline().split(b" ")[1].decode().partition("?")[0]
                    while reader.readline() not in (b"\r\n", b""):
                        pass
                    self.requests += 1
                    for piece in self.pieces(path):
                        connection.sendall(piece)
                except (OSError, IndexError):
                    return

    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"


class Case(NamedTuple):
    """What is done to the tap, and what must come of it."""

    name: str
    pieces: object
    most: int  # MiB of memory
    statuses: tuple  # of the exit, either
    connections: int = 1
    streams: str = "sources"
    config: dict = {}
    fast: bool = False
    deaf: bool = False  # the target reads nothing, and after some seconds the tap is asked to stop
    file: str = ""  # an option and what its file holds: size of an array of zeros


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TABLE = (
    Case("a list of one row", small, 8, (0,)),
    Case("a body of 64 MiB, a string that is written", large, 270, (0,)),
    Case("a body of 64 MiB, 13 million numbers", dense, 200, (0,)),
    Case("a body of 64 MiB, 33 million numbers", denser, 200, (1,)),
    Case("four lists over four connections, each 64 MiB of numbers", dense, 800, (0,), 4, FOUR),
    Case("eight lists of that, and the first comes last", withheld, 8 * 200, (0,), 4, STREAMS),
    Case("64 MiB of numbers in a gzip", bomb, 200, (0,)),
    Case("128 MiB of numbers in a gzip", too_large, 140, (1,)),
    Case("64 MiB announced, 1 KB sent", announced, 8, (3,), 4, config={"request_timeout": 1, "max_attempts": 2}),
    Case("an endless head", endless(HEAD, b"X-More: x\r\n"), 8, (1,), 4),
    Case("endless interim answers", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 8, (1,), 4),
    Case("endless chunks", endless(CHUNKED, b"5\r\nhello\r\n"), 140, (1,)),
    Case("an endless chunk size", endless(CHUNKED, b"0"), 8, (1,)),
    Case("a byte each 50 ms", trickle, 8, (3,), config={"request_timeout": 2, "max_attempts": 2}),
    Case("429 without end (at a hundred times the speed)", limited, 8, (3,), fast=True),
    Case("ten thousand pages", cursors(10000), 8, (0,)),
    Case("arrays a million deep", deep, 16, (1,)),
    Case("a catalog of 64 MiB of numbers", limited, 480, (2,), file="--catalog"),
    Case("a state of 64 MiB of numbers", small, 520, (0,), file="--state"),
    Case("a catalog of more than 64 MiB", limited, 140, (2,), file="--catalog+"),
    Case("a target that never reads", cursors(100000), 12, (143,), 4, STREAMS, deaf=True),
)


def peak(process):
    """The most memory that it had, in MiB, asked for until it ends."""
    most = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            most = max(most, int(status.partition("VmHWM:")[2].split()[0] or 0) / 1024)
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.005)
    return most


def command(case, server, folder):
    """The tap with its files."""
    config = {"api_token": "t", "start_date": "2026-11-01", "base_url": server.url(), **case.config}
    (folder / "config").write_text(json.dumps({**config, "max_connections": case.connections}), "utf-8")
    (folder / "config").chmod(0o600)
    arguments = [FAULTED if case.fast else TAP, "--config", folder / "config", "--log-level", "error"]
    if not case.file.startswith("--catalog"):
        arguments += ["--select", case.streams]
    if case.file:
        size = (65 if case.file.endswith("+") else 64) * MEBI - 100
        (folder / "file").write_text('{"streams":[],"bookmarks":{},"z":[' + "0," * (size // 2) + "0]}", "ascii")
        arguments += [case.file.rstrip("+"), folder / "file"]
    return arguments


def run(case, folder):
    """Peak MiB, seconds of CPU, exit status, requests."""
    server, before = Server(case.pieces), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, **({"FAULT_SPEED": "100"} if case.fast else {})}
    output = subprocess.PIPE if case.deaf else subprocess.DEVNULL
    arguments = command(case, server, folder)
    with subprocess.Popen(arguments, stdout=output, stderr=subprocess.DEVNULL, env=environment) as process:
        if case.deaf:
            threading.Timer(5, process.send_signal, (signal.SIGTERM,)).start()
        most = peak(process)
        status = process.wait()
        if process.stdout:
            process.stdout.close()
    server.listener.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return most, seconds, status, server.requests


def main():
    """All of them."""
    failed, cases = 0, [case for case in TABLE if any(word in case.name for word in CASES)]
    for number, case in enumerate(cases, 1):
        with tempfile.TemporaryDirectory(prefix="hostile-") as name:
            most, seconds, status, requests = run(case, Path(name))
        good = most <= case.most and status in case.statuses
        failed += not good
        print("ok" if good else "not ok", number, "-", case.name)
        print(
            f"# {case.name}: {most:.0f} MiB of {case.most}, {seconds:.1f} s of CPU, exit {status}, {requests} requests",
            flush=True,
        )
    print(f"1..{len(cases)}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
