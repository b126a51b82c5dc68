"""Segment as the end-to-end tests see it: a server to run, a client of its own, a model of what a sync must write.

Nothing here shares code with the tap.  Rows are fetched through http.client and read by Python's json module with
every number kept as text, so that a digit lost by the tap shows.  The model says in Python what the README says in
English: which rows of which windows are written, how a row is projected on its schema, how far a bookmark moves.
"""

import calendar
import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parent / "schemas"
SEGMENTD = os.environ.get("SEGMENTD", str(HERE / "segmentd"))
TOKEN = "sgp_e2e-token-that-must-never-be-printed"

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


# --- JSON, with numbers as text and objects as pairs


@dataclass(frozen=True)
class Number:
    """A number as it was written; 1.0 and 1 are two different things here."""

    text: str


@dataclass(frozen=True)
class Inner:
    """A value that must arrive as its own compact JSON text inside a string."""

    value: object


class Pairs(list):
    """The members of an object in order, duplicates included."""

    def get(self, key, default=None):
        """The last of equal keys, as the tap and most parsers take it."""
        return next((v for k, v in reversed(self) if k == key), default)

    def names(self):
        """The keys in order."""
        return [k for k, _ in self]


def read_json(text):
    """Reads JSON without converting anything but escapes."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse, object_pairs_hook=Pairs)


def _refuse(name):
    raise ValueError(f"{name} is not JSON")


REFUSED = re.compile("[\0\ud800-\udfff]")


def well_formed(text):
    """Half a surrogate pair can't be written as UTF-8, PostgreSQL takes no U+0000; the tap puts U+FFFD in their place."""
    return REFUSED.sub("\ufffd", text)


def is_compact(text):
    """No blank outside of strings."""
    return not re.search(r"[ \t\r\n]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text))


def difference(expected, actual, where="row"):
    """None if the record is what was expected, else the first place where it isn't."""
    if isinstance(expected, Inner):
        if not isinstance(actual, str) or not is_compact(actual):
            return f"{where}: no compact JSON text: {actual!r}"
        return difference(expected.value, read_json(actual), where + "(text)")
    if isinstance(expected, str) and isinstance(actual, str):
        return None if well_formed(expected) == actual else f"{where}: expected {expected!r}, got {actual!r}"
    if isinstance(expected, Pairs) and isinstance(actual, Pairs):
        names = [well_formed(name) for name in expected.names()]
        if names != actual.names():
            return f"{where}: expected the members {names}, got {actual.names()}"
        children = [(f"{where}.{k}", v, a) for (k, v), (_, a) in zip(expected, actual)]
    elif type(expected) is list and type(actual) is list:
        if len(expected) != len(actual):
            return f"{where}: expected {len(expected)} elements, got {len(actual)}"
        children = [(f"{where}[{i}]", v, a) for i, (v, a) in enumerate(zip(expected, actual))]
    else:
        same = type(expected) is type(actual) and expected == actual
        return None if same else f"{where}: expected {expected!r}, got {actual!r}"
    return next(filter(None, (difference(v, a, w) for w, v, a in children)), None)


# --- time, in microseconds since 1970


class Misfit(ValueError):
    """A value that its schema has no room for, or a time that is none."""


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d))?")


def instant(text):
    """The instant that an RFC 3339 text means; digits past the sixth are cut."""
    match = TIME.fullmatch(text)
    if not match:
        raise Misfit(f"no date-time: {text!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    zone = match[8] or "Z"
    offset = 0 if zone in "Zz" else int(zone[1:3]) * 60 + int(zone[4:6])
    offset = -offset if zone[0] == "-" else offset
    seconds = calendar.timegm((year, month, day, hour, minute - offset, second))
    return seconds * SECOND + int((match[7] or "").ljust(6, "0")[:6])


def stamp(us):
    """The form in which the tap writes every instant."""
    return (EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now():
    """The machine's clock."""
    return time.time_ns() // 1000


STARTED = now()  # the workspace follows from the time: this makes it the same for all servers of a run of the tests


def midnight(us):
    """The start of the UTC day."""
    return us - us % DAY


def month(us, plus=0):
    """The start of the UTC month, or of one some months later."""
    at = EPOCH + timedelta(microseconds=us)
    index = at.year * 12 + at.month - 1 + plus
    return instant(f"{index // 12:04}-{index % 12 + 1:02}-01")


# --- the streams


@dataclass(frozen=True)
class Stream:
    """One endpoint: where its rows are, what identifies them, how far a bookmark stays behind the clock."""

    name: str
    path: str
    rows: str
    walk: str = "list"
    parent: str = None
    key: tuple = ("id",)
    unique: tuple = None
    stage: str = "v1"
    count: int = 200
    settle: int = 0

    @property
    def incremental(self):
        """Streams that are walked by time keep a bookmark."""
        return self.walk in ("months", "days", "spans")

    def keys(self, unique_keys=False):
        """The key_properties in force."""
        return self.unique if unique_keys and self.unique else self.key

    @functools.cached_property
    def schema(self):
        """The committed schema, members in order."""
        return json.loads((SCHEMAS / f"{self.name}.json").read_text("utf-8"))


def _child(name, path, rows, *unique, walk="parents", **more):
    """A list a parent; the documented key is the parent's id alone."""
    parent = path.split("/")[1]
    key = parent.removesuffix("s") + "Id"
    return Stream(name, path, rows, walk, parent, (key,), (key, *unique), **more)


def _usage(name, path, rows, *unique):
    """Daily snapshots, asked for by month; the documented key is the first field that names what was counted."""
    key = "sourceId" if "sourceId" in unique else "timestamp"
    return Stream(name, f"/usage/{path}/daily", rows, "months", None, (key,), unique, count=1000, settle=24 * HOUR)


STREAMS = (
    Stream("sources", "/sources", "sources"),
    Stream("destinations", "/destinations", "destinations", unique=("id", "sourceId"), count=100),
    Stream("warehouses", "/warehouses", "warehouses"),
    _child("source_connected_destinations", "/sources/{id}/connected-destinations", "destinations", "id", count=100),
    _child("source_connected_warehouses", "/sources/{id}/connected-warehouses", "warehouses", "id"),
    _child("destination_subscriptions", "/destinations/{id}/subscriptions", "subscriptions", "id", stage="v1alpha"),
    Stream("catalog_sources", "/catalog/sources", "sourcesCatalog"),
    Stream("catalog_destinations", "/catalog/destinations", "destinationsCatalog", count=100),
    Stream("catalog_warehouses", "/catalog/warehouses", "warehousesCatalog"),
    _usage(
        "usage_api_calls_per_source_daily",
        "api-calls/sources",
        "dailyPerSourceAPICallsUsage",
        *("sourceId", "timestamp"),
    ),
    _usage("usage_api_calls_workspace_daily", "api-calls", "dailyWorkspaceAPICallsUsage", "timestamp"),
    _usage(
        "usage_mtu_per_source_daily",
        "mtu/sources",
        "dailyPerSourceMTUUsage",
        *("sourceId", "periodStart", "timestamp"),
    ),
    _usage("usage_mtu_workspace_daily", "mtu", "dailyWorkspaceMTUUsage", "periodStart", "timestamp"),
    _child(
        "destination_delivery_metrics_summary",
        "/destinations/{id}/delivery-metrics",
        "deliveryMetricsSummary",
        *("sourceId", "timestamp"),
        walk="days",
        stage="v1beta",
        settle=6 * HOUR,
    ),
    Stream("audit_events", "/audit-events", "events", "spans", count=1000, settle=1 * HOUR),
    Stream("iam_users", "/users", "users"),
    Stream("iam_groups", "/groups", "userGroups"),
    Stream("transformations", "/transformations", "transformations"),
)
STREAM = {stream.name: stream for stream in STREAMS}


# --- the server


@functools.cache
def certificates():
    """A folder with a root, a chain, and every broken chain; made once a run, before there are threads."""
    folder = Path(tempfile.mkdtemp(prefix="tap-segment-pki-"))
    subprocess.run([str(HERE / "pki"), str(folder), "all"], check=True, stdout=subprocess.DEVNULL)
    return folder


def remove_certificates():
    """Call once, at the end."""
    if certificates.cache_info().currsize:
        shutil.rmtree(certificates())


class Server:
    """A fake Segment on a port of its own, for the length of a with block."""

    def __init__(self, *options, chain="chain.pem", key="key.pem", plain=False):
        self.folder = Path(tempfile.mkdtemp(prefix="tap-segment-server-"))
        self.plain = plain
        pki = certificates()
        self.command = [SEGMENTD, "--chain", str(pki / chain), "--key", str(pki / key), "--token", TOKEN]
        self.command += ["--port-file", str(self.folder / "port"), "--log", str(self.folder / "log")]
        self.command += ["--now", stamp(STARTED), "--stats", str(self.folder / "stats")]
        self.command += ["--plain"] if plain else []
        self.command += [str(option) for option in options]
        self.process = None
        self.port = None

    def __enter__(self):
        output = open(self.folder / "output", "wb")
        with output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.port = self._wait_for_port()
        return self

    def _wait_for_port(self):
        port_file = self.folder / "port"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            text = port_file.read_text() if port_file.exists() else ""
            if text.endswith("\n"):
                return int(text)
            time.sleep(0.005)
        raise RuntimeError("segmentd did not start: " + (self.folder / "output").read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)

    @property
    def url(self):
        """What goes into base_url."""
        return f"{'http' if self.plain else 'https'}://localhost:{self.port}"

    def most_open(self):
        """Ends the server; how many connections were open at once."""
        self.process.terminate()
        self.process.wait()
        return int(re.search(r"most_open (\d+)", (self.folder / "stats").read_text())[1])

    def requests(self):
        """The lines of the request log so far."""
        return (self.folder / "log").read_text("utf-8", "replace").splitlines()


# --- other servers


class Babbler:
    """A server on loopback that says one thing to everyone and then waits."""

    def __init__(self, greeting):
        self.greeting = greeting
        self.clients = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        for open_socket in (self.listener, *self.clients):
            open_socket.close()

    def _accept(self):
        while True:
            try:
                self.clients.append(self.listener.accept()[0])
            except OSError:  # closed: the end
                return
            threading.Thread(target=self._serve, args=(self.clients[-1],), daemon=True).start()

    def _serve(self, client):
        client.sendall(self.greeting)


class Proxy(Babbler):
    """An HTTP proxy that knows CONNECT alone; keeps the heads that it was sent."""

    def __init__(self, status=200):
        super().__init__(b"HTTP/1.1 %d Whatever\r\n\r\n" % status)
        self.status = status
        self.heads = []

    @property
    def address(self):
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def _serve(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            try:
                more = client.recv(4096)
            except OSError:  # the block has ended
                more = b""
            if not more:
                return
            head += more
        self.heads.append(head.decode())
        client.sendall(self.greeting)
        if self.status == 200:
            port = head.split()[1].decode().rsplit(":", 1)[1]
            server = socket.create_connection(("127.0.0.1", int(port)))  # whatever the name: this is its resolver
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)
        client.close()


class OpenSSL:
    """openssl s_server on a port of its own: one connection at a time, one answer to each path."""

    def __init__(self, *options, chain="chain.pem", key="key.pem", **answers):
        self.folder = Path(tempfile.mkdtemp(prefix="tap-segment-openssl-"))
        pki = certificates()
        self.command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-HTTP", "-naccept", "16"]
        self.command += ["-cert", str(pki / chain), "-cert_chain", str(pki / "intermediate.pem"), "-key", str(pki / key), *options]
        for name, body in answers.items():
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            (self.folder / f"{name}?pagination.count=200").write_text(head + body)
        self.process = None
        self.port = None

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for line in self.process.stdout:
            if match := re.match(rb"ACCEPT .*:(\d+)$", line):
                self.port = int(match[1])
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)

    url = property(lambda self: f"https://localhost:{self.port}")


class TinyProxy:
    """Debian's tinyproxy, with a user and a password."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="tap-segment-tinyproxy-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        port = self.address.split(":")[1]
        settings = f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nBasicAuth user secret-word\nTimeout 30\n"
        (self.folder / "conf").write_text(settings)
        self.process = None

    def __enter__(self):
        command = ["tinyproxy", "-d", "-c", str(self.folder / "conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        host, port = self.address.split(":")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                return self
            time.sleep(0.01)
        raise RuntimeError("tinyproxy did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


def _pump(source, sink):
    """All that comes from one to the other."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one of them is gone, and soon the other
        pass


# --- the client


class Refused(Exception):
    """The API answered, but not with 200."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class Client:
    """Reads the workspace behind a server; answers are kept, for the workspace doesn't change."""

    def __init__(self, server):
        context = None if server.plain else ssl.create_default_context(cafile=str(certificates() / "root.pem"))
        kind = http.client.HTTPConnection if server.plain else http.client.HTTPSConnection
        more = {} if server.plain else {"context": context}
        self.connection = kind("localhost", server.port, timeout=30, **more)
        self.pages = {}

    def get(self, path, stage="v1", **query):
        """The "data" of one answer."""
        target = path + ("?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote) if query else "")
        if (target, stage) not in self.pages:
            self.pages[target, stage] = self._fetch(target, stage)
        status, data = self.pages[target, stage]
        if status != 200:
            raise Refused(status)
        return data

    def _fetch(self, target, stage):
        accept = f"application/vnd.segment.{stage}+json"
        self.connection.request("GET", target, headers={"Authorization": f"Bearer {TOKEN}", "Accept": accept})
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, read_json(body.decode("utf-8")).get("data") if answer.status == 200 else None

    def walk(self, stream, path, **query):
        """All rows of one list, page after page."""
        cursor = None
        while True:
            more = {"pagination.cursor": cursor} if cursor else {}
            data = self.get(path, stream.stage, **query, **{"pagination.count": min(stream.count, 200)}, **more)
            yield from data.get(stream.rows)
            cursor = (data.get("pagination") or Pairs()).get("next")
            if not cursor:
                return

    def list(self, name):
        """The rows of a stream that depends on neither parent nor time."""
        return list(self.walk(STREAM[name], STREAM[name].path))


# --- the model: what a sync writes


def type_of(value):
    """The JSON Schema name of a value's type; an integer literal is called integer."""
    if isinstance(value, Number):
        return "number" if re.search("[.eE]", value.text) else "integer"
    kinds = {bool: "boolean", str: "string", Pairs: "object", list: "array", type(None): "null"}
    return kinds[type(value)]


def allows(types, kind):
    """Does the type list take this kind as it is?"""
    return kind in types or (kind == "integer" and "number" in types)


def project(schema, value):
    """The value as a record must hold it."""
    types = schema.get("type")
    if types is None:
        return value
    types = [types] if isinstance(types, str) else types
    kind = type_of(value)
    if not allows(types, kind):
        if kind != "null" and "string" in types:
            return Inner(value)
        raise Misfit(f"{kind} where {types} is expected")
    if kind == "object" and "properties" in schema:
        fields = schema["properties"].items()
        return Pairs((k, project(s, value.get(k))) for k, s in fields if k in value.names())
    if kind == "array" and "items" in schema:
        return [project(schema["items"], element) for element in value]
    if kind == "string" and schema.get("format") == "date-time":
        return stamp(instant(value)) if value else None
    return value


@dataclass
class Options:
    """The part of a config that decides what is read."""

    start: int
    end: int = None
    clock: int = field(default_factory=now)

    @property
    def until(self):
        """Windows are planned up to here."""
        return self.clock if self.end is None else min(self.end, self.clock)


@dataclass
class Expected:
    """What a sync must write of one stream."""

    records: list
    bookmarks: list


class Model:
    """Predicts the records and bookmarks of every stream of one workspace."""

    def __init__(self, client):
        self.client = client

    def expect(self, name, options, bookmark=None, schema=None):
        """The stream's records in order, and each bookmark that it reaches (the old one first, if there was one)."""
        stream = STREAM[name]
        since = options.start if bookmark is None else bookmark
        since = midnight(since) if stream.walk == "days" else since
        records, bookmarks = [], [] if bookmark is None else [bookmark]
        for rows, limit in getattr(self, "_" + stream.walk)(stream, since, options, bookmark):
            records += [project(schema or stream.schema, row) for row in rows]
            times = [instant(row.get("timestamp")) for row in rows] if stream.incremental else []
            reached = min(max(times), limit) if times else since - 1
            if reached >= max([since] + bookmarks) and reached not in bookmarks:
                bookmarks.append(reached)
        return Expected(records, bookmarks)

    def _list(self, stream, *_):
        yield self.client.list(stream.name), None

    def _parents(self, stream, *_):
        added = {"sourceId": "id"} if stream.parent == "sources" else {}
        for parent in self.client.list(stream.parent):
            path = stream.path.replace("{id}", urllib.parse.quote(parent.get("id"), safe=""))
            try:
                rows = list(self.client.walk(stream, path))
            except Refused as refused:
                if refused.status not in (403, 404):
                    raise
                continue
            yield [with_fields(row, {k: parent.get(v) for k, v in added.items()}) for row in rows], None

    def _months(self, stream, since, options, bookmark):
        """From the month before since on, for a billing period may run on into the next month."""
        first, good = month(since, -1), bookmark is not None
        start = first
        while start < options.until and since < options.until:
            try:
                rows = list(self.client.walk(stream, stream.path, period=stamp(start)[:10]))
                good = True
            except Refused as refused:
                if refused.status not in (400, 404, 422) or (good and start > first):
                    raise
                rows = []
            limit = min(midnight(options.clock - stream.settle), month(start, 1) - DAY)
            yield [row for row in rows if in_range(row, since, options.end)], limit
            start = month(start, 1)

    def _days(self, stream, since, options, _):
        """Whole days, of which the API gives today and the thirteen before."""
        day = max(since, midnight(options.clock) - 13 * DAY)
        while day < options.until and since < options.until:
            yield list(self._day(stream, day, options)), midnight(options.clock - stream.settle)
            day += DAY

    def _day(self, stream, day, options):
        times = {"startTime": stamp(day), "endTime": stamp(min(day + DAY - 1000, options.clock))}
        for parent in self.client.list(stream.parent):
            if not parent.get("sourceId"):
                continue
            path = stream.path.replace("{id}", urllib.parse.quote(parent.get("id"), safe=""))
            query = {"sourceId": parent.get("sourceId"), "granularity": "DAY", **times}
            try:
                row = self.client.get(path, stream.stage, **query).get(stream.rows)
            except Refused as refused:
                if refused.status not in (403, 404):
                    raise
                continue
            yield with_fields(row, {"destinationId": parent.get("id"), "timestamp": stamp(day)})

    def _spans(self, stream, since, options, _):
        """Asked for a little more than is kept, since the API doesn't say whether its ends are inclusive."""
        start = since
        while start < options.until:
            end = start + 30 * DAY
            last = end >= options.until
            end = options.end if last else end
            query = {"startTime": stamp(start - SECOND)}
            if end is not None:
                query["endTime"] = stamp(end + SECOND)
            rows = self.client.walk(stream, stream.path, **query)
            yield [row for row in rows if in_range(row, start, end)], options.clock - stream.settle
            if last:
                return
            start = end


def in_range(row, since, end):
    """Compared as instants: the texts have fractions and offsets of all kinds."""
    at = instant(row.get("timestamp"))
    return since <= at and (end is None or at < end)


def with_fields(row, fields):
    """The row with fields of the tap's own, which win over the row's."""
    return Pairs([(k, v) for k, v in row if k not in fields] + list(fields.items()))
