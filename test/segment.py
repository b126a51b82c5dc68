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
        for name, value in reversed(self):
            if name == key:
                return value
        return default

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
    at = EPOCH + timedelta(microseconds=us)
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"  # strftime writes the year 1 as "1"


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
    """One endpoint: where its rows are, what identifies them, how far a bookmark stays behind the clock.

    In path, query and added fields, {x} is field x of the parent's row, {each} the fixed value of the request, {from}
    and {to} its window.  Added fields also know {.x.y}, field y of field x of the row whose array `inner` holds the
    records, {time}, a member of such a record, and {.}, the record itself where it is a bare string.
    """

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
    query: tuple = ()  # names and values
    each: tuple = ("",)  # a request for each of these values
    only: tuple = None  # a field of the parent's row, and how it begins where there is something to ask for
    shape: str = "list"  # or object, texts
    inner: str = None  # the array in a row whose elements are the records
    cap: int = 1000  # rows of a page
    names: tuple = ("pagination.count", "pagination.cursor")  # none: not paginated
    reach: int = None  # days before today
    groups: int = None  # rows of one list beyond which the API shows none
    add: dict = field(default_factory=dict)
    blank: tuple = ()  # fields of the key that are "" where the API leaves them out
    secret: tuple = ()  # fields that are only read where they are named
    limit: int = None  # documented: requests a minute
    complete: bool = False  # the API leaves out none of its fields

    @property
    def incremental(self):
        """Streams that are walked by time keep a bookmark."""
        return self.walk in ("months", "days", "spans", "windows")

    @property
    def is_complete(self):
        """Does every record have all fields, be it that the tap puts them there?"""
        return self.complete or set(self.schema["properties"]) == set(self.add)

    def keys(self, unique_keys=False):
        """The key_properties in force."""
        return self.unique if unique_keys and self.unique else self.key

    @functools.cached_property
    def schema(self):
        """The committed schema, members in order."""
        return json.loads((SCHEMAS / f"{self.name}.json").read_text("utf-8"))

    @functools.cached_property
    def usual_schema(self):
        """What is read where nobody names the secrets."""
        fields = {name: node for name, node in self.schema["properties"].items() if name not in self.secret}
        return {**self.schema, "properties": fields}

    @functools.cached_property
    def handed_down(self):
        """The fields of the parent's row that requests and added fields name, in order."""
        texts = [self.path, *(value for _, value in self.query), *self.add.values()]
        named = [name for text in texts for name in re.findall(r"\{(\w+)\}", text)]
        named += [self.only[0]] if self.only else []
        return tuple(dict.fromkeys(name for name in named if name not in ("each", "from", "to", "month", "time")))


def _child(name, path, rows, *unique, walk="parents", **more):
    """A list a parent; the documented key is the parent's id alone."""
    parent = path.split("/")[1]
    key = parent.removesuffix("s") + "Id"
    return Stream(name, path, rows, walk, parent, (key,), (key, *unique), **more)


def _usage(name, path, rows, *unique):
    """Daily snapshots, asked for by month; the documented key is the first field that names what was counted."""
    key = "sourceId" if "sourceId" in unique else "timestamp"
    return Stream(
        name, f"/usage/{path}/daily", rows, "months", None, (key,), unique, count=1000, settle=24 * HOUR, complete=True
    )


OF_SOURCE = {"sourceId": "{id}"}
WHOLE_DAYS = (("startTime", "{from}"), ("endTime", "{to}"), ("granularity", "DAY"))
STREAMS = (
    Stream("sources", "/sources", "sources"),
    Stream("destinations", "/destinations", "destinations", unique=("id", "sourceId"), count=100),
    Stream("warehouses", "/warehouses", "warehouses"),
    _child(
        "source_connected_destinations",
        "/sources/{id}/connected-destinations",
        "destinations",
        "id",
        count=100,
        add=OF_SOURCE,
    ),
    _child("source_connected_warehouses", "/sources/{id}/connected-warehouses", "warehouses", "id", add=OF_SOURCE),
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
    Stream("audit_events", "/audit-events", "events", "spans", count=1000, settle=1 * HOUR),
    Stream("iam_users", "/users", "users"),
    Stream("iam_groups", "/groups", "userGroups"),
    Stream("transformations", "/transformations", "transformations"),
    _child(
        "destination_delivery_metrics_summary",
        "/destinations/{id}/delivery-metrics",
        "deliveryMetricsSummary",
        *("sourceId", "timestamp"),
        walk="days",
        stage="v1beta",
        settle=6 * HOUR,
        query=(("sourceId", "{sourceId}"), *WHOLE_DAYS),
        shape="object",
        names=(),
        add={"destinationId": "{id}", "timestamp": "{from}"},
    ),
)


def _more(name, path, rows, key=("id",), **more):
    """One of the others: its documented key identifies a row."""
    if "parent" in more and "walk" not in more:
        more["walk"] = "parents"
    return Stream(name, path, rows, key=key, **more)


def _events(name, path, rows, parent, **more):
    """Counts of events by day, of one source or one destination in windows of days."""
    add = more.pop("add")
    groups = [key for key in add if key in ("eventName", "eventType", "discardReason")]
    grouped = ["source"] if "{.source.id}" in add.values() else []
    group_by = tuple((f"groupBy.{i}", dimension) for i, dimension in enumerate(grouped + groups))
    key = tuple(k for k in ("sourceId", "destinationId") if k in add) + tuple(groups) + ("timestamp",)
    more |= {"query": more["query"] + WHOLE_DAYS + group_by, "add": {"timestamp": "{time}", **add}, "key": key}
    more |= {"blank": tuple(groups), "walk": "windows", "inner": "series", "count": 1000, "settle": 6 * HOUR}
    return Stream(name, path, rows, parent=parent, **more)


def _overview(step, parent, *dimensions):
    """One step of the way of events through Segment."""
    add = {"sourceId": "{id}"} if parent == "sources" else {"sourceId": "{sourceId}", "destinationId": "{id}"}
    query = (("sourceId", "{id}"),)
    if parent == "destinations":
        query = (("sourceId", "{sourceId}"), ("destinationConfigId", "{id}"))
    add |= {dimension: f"{{.{dimension}}}" for dimension in ("eventName", "eventType", *dimensions)}
    name, path = f"delivery_overview_{step}", f"/delivery-overview/{step.replace('_', '-')}"
    return _events(name, path, "dataset", parent, stage="v1beta", reach=29, query=query, add=add)


ALPHA = {"stage": "v1alpha"}
KINDS_OF_FUNCTIONS = ("DESTINATION", "INSERT_DESTINATION", "INSERT_SOURCE", "INSERT_TRANSFORMATION", "SOURCE")
VOLUME = {
    "sourceId": "{.source.id}",
    "sourceName": "{.source.name}",
    "sourceSlug": "{.source.slug}",
    "eventName": "{.eventName}",
    "eventType": "{.eventType}",
}
IN_AUDIENCE = "/spaces/{spaceId}/audiences/{id}/"

# Those that are read by name only: cheap lists first, then what the API limits, what takes half a minute a request last.
MORE = (
    _more("workspace", "/", "workspace", shape="object", names=(), complete=True),
    _more("labels", "/labels", "labels", ("key", "value"), names=()),
    _more("roles", "/roles", "roles", complete=True),
    _more("invites", "/invites", "invites", ("email",), shape="texts", add={"email": "{.}"}),
    _more(
        "iam_group_members",
        "/groups/{id}/users",
        "users",
        ("userGroupId", "id"),
        parent="iam_groups",
        complete=True,
        add={"userGroupId": "{id}"},
    ),
    _more("tracking_plans", "/tracking-plans", "trackingPlans"),
    _more(
        "tracking_plan_sources",
        "/tracking-plans/{id}/sources",
        "sources",
        ("trackingPlanId", "id"),
        parent="tracking_plans",
        add={"trackingPlanId": "{id}"},
    ),
    _more(
        "source_schema_settings",
        "/sources/{id}/settings",
        "settings",
        ("sourceId",),
        parent="sources",
        shape="object",
        names=(),
        add=OF_SOURCE,
    ),
    _more("destination_filters", "/destination/{id}/filters", "filters", parent="destinations"),
    _more("functions", "/functions", "functions", query=(("resourceType", "{each}"),), each=KINDS_OF_FUNCTIONS),
    _more(
        "function_versions",
        "/functions/{id}/versions",
        "versions",
        ("functionId", "id"),
        parent="functions",
        add={"functionId": "{id}"},
        **ALPHA,
    ),
    _more(
        "insert_function_instances",
        "/insert-function-instances",
        "instances",
        parent="functions",
        query=(("functionId", "{id}"),),
        only=("resourceType", "INSERT_"),
        secret=("settings", "encryptedSettings"),
        **ALPHA,
    ),
    _more("reverse_etl_models", "/reverse-etl-models", "models", complete=True, **ALPHA),
    _more(
        "reverse_etl_syncs",
        "/reverse-etl-models/{modelId}/subscriptionId/{id}/syncs",
        "syncStatuses",
        ("syncId",),
        parent="destination_subscriptions",
        count=100,
        cap=100,
        names=("count", "cursor"),
        add={"subscriptionId": "{id}"},
        **ALPHA,
    ),
    _more(
        "warehouse_connected_sources",
        "/warehouses/{id}/connected-sources",
        "sources",
        ("warehouseId", "id"),
        parent="warehouses",
        add={"warehouseId": "{id}"},
    ),
    _more("spaces", "/spaces", "spaces", complete=True, **ALPHA),
    _more(
        "profiles_warehouses",
        "/spaces/{id}/profiles-warehouses",
        "profilesWarehouses",
        ("spaceId", "id"),
        parent="spaces",
        **ALPHA,
    ),
    _more("regulations", "/regulations", "regulations", count=100),
    _more(
        "suppressions",
        "/suppressions",
        "suppressed",
        ("subjectType", "subjectId"),
        inner="subjectIds",
        count=1000,
        add={"subjectType": "{.subjectType}", "subjectId": "{.}"},
    ),
    _more("credentials", "/credentials", "credentials", complete=True),
    _overview("successfully_received", "sources"),
    _overview("failed_on_ingest", "sources", "discardReason"),
    _overview("filtered_at_source", "sources", "discardReason"),
    _overview("filtered_at_destination", "destinations", "discardReason"),
    _overview("failed_delivery", "destinations", "discardReason"),
    _overview("successful_delivery", "destinations", "discardReason"),
    _more(
        "tracking_plan_rules",
        "/tracking-plans/{id}/rules",
        "rules",
        ("trackingPlanId", "type", "key", "version"),
        parent="tracking_plans",
        add={"trackingPlanId": "{id}"},
        blank=("key",),
        limit=200,
    ),
    _events(
        "events_volume_daily",
        "/events/volume",
        "result",
        "sources",
        query=(("sourceId.0", "{id}"),),
        add=VOLUME,
        groups=5000,
        limit=60,
    ),
    _more(
        "audiences",
        "/spaces/{id}/audiences",
        "audiences",
        parent="spaces",
        query=(("include", "schedules"),),
        cap=200,
        limit=60,
    ),
    _more("activations", IN_AUDIENCE + "activations", "activations", parent="audiences", limit=60, **ALPHA),
    _more(
        "audience_destination_connections",
        IN_AUDIENCE + "destination-connections",
        "connections",
        ("audienceId", "id"),
        parent="audiences",
        add={"spaceId": "{spaceId}", "audienceId": "{id}"},
        limit=50,
        **ALPHA,
    ),
    _more("computed_traits", "/spaces/{id}/computed-traits", "computedTraits", parent="spaces", limit=25, **ALPHA),
    _more(
        "space_events",
        "/spaces/{id}/events",
        "events",
        ("spaceId", "type", "name"),
        parent="spaces",
        query=(("sortBy", "name"), ("sortDir", "asc")),
        complete=True,
        add={"spaceId": "{id}"},
        limit=25,
        **ALPHA,
    ),
    _more(
        "space_traits",
        "/spaces/{id}/traits",
        "traits",
        ("spaceId", "collection", "trait", "type"),
        parent="spaces",
        query=(("collection", "{each}"), ("sortBy", "trait"), ("sortDir", "asc")),
        each=("users", "accounts"),
        complete=True,
        add={"spaceId": "{id}", "collection": "{each}"},
        limit=25,
        **ALPHA,
    ),
    _more(
        "warehouse_syncs",
        "/warehouses/{id}/syncs",
        "reports",
        ("warehouseId", "sourceId", "start"),
        parent="warehouses",
        count=1000,
        add={"warehouseId": "{id}"},
        limit=2,
    ),
    _more(
        "warehouse_selective_syncs",
        "/warehouses/{warehouseId}/connected-sources/{id}/selective-syncs",
        "items",
        ("warehouseId", "sourceId", "collection"),
        parent="warehouse_connected_sources",
        complete=True,
        limit=2,
    ),
)
ALL = STREAMS + MORE
STREAM = {stream.name: stream for stream in ALL}


# --- the server


@functools.cache
def certificates():
    """A folder with a root and a chain; made once a run, before there are threads."""
    folder = Path(tempfile.mkdtemp(prefix="tap-segment-pki-"))
    subprocess.run([str(HERE / "pki"), str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder


def all_certificates():
    """Every good and every broken chain too, which takes seconds."""
    subprocess.run([str(HERE / "pki"), str(certificates()), "all"], check=True, stdout=subprocess.DEVNULL)


def remove_certificates():
    """Call once, at the end."""
    if certificates.cache_info().currsize:
        shutil.rmtree(certificates())


class Server:
    """A fake Segment on a port of its own, for the length of a with block."""

    def __init__(self, *options, chain="chain.pem", key="key.pem", plain=False):
        self.folder = Path(tempfile.mkdtemp(prefix="tap-segment-server-"))
        self.plain = plain
        self.command = [SEGMENTD, "--token", TOKEN]
        self.command += ["--port-file", str(self.folder / "port"), "--log", str(self.folder / "log")]
        self.command += ["--now", stamp(STARTED), "--stats", str(self.folder / "stats")]
        if plain:
            self.command += ["--plain"]
        else:
            self.command += ["--chain", str(certificates() / chain), "--key", str(certificates() / key)]
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
        deadline = time.monotonic() + 120
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
        return self.stat("most_open")

    def stat(self, name):
        """A number that the server wrote when it ended."""
        return int(re.search(rf"{name} (\d+)", (self.folder / "stats").read_text())[1])

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
        self.command += [
            "-cert",
            str(pki / chain),
            "-cert_chain",
            str(pki / "intermediate.pem"),
            "-key",
            str(pki / key),
            *options,
        ]
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
        deadline = time.monotonic() + 120
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
    except OSError:  # one of them is gone, and the other must not wait for it
        for left in (source, sink):
            with contextlib.suppress(OSError):
                left.shutdown(socket.SHUT_RDWR)


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
        self.connection = kind("localhost", server.port, timeout=300, **more)
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
        if not stream.names:
            yield from self.get(path, stream.stage, **query).get(stream.rows)
            return
        size, cursor = stream.names
        query[size] = min(stream.count, stream.cap, 200)
        while True:
            data = self.get(path, stream.stage, **query)
            yield from data.get(stream.rows)
            query[cursor] = (data.get("pagination") or Pairs()).get("next")
            if not query[cursor]:
                return

    def ask(self, stream, **values):
        """All rows that one request for them brings, with the pages that follow; values are what {x} stand for."""
        path = fill(stream.path, values, lambda text: urllib.parse.quote(text, safe=""))
        query = {name: fill(value, values) for name, value in stream.query}
        if stream.shape == "object":
            return [self.get(path, stream.stage, **query).get(stream.rows)]
        return list(self.walk(stream, path, **query))


def fill(template, values, quote=str):
    """The text with what its {x} stand for."""
    return re.sub(r"\{(\w+)\}", lambda match: quote(values[match[1]]), template)


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
        self.read = {}  # rows of parents by stream

    def expect(self, name, options, bookmark=None, schema=None):
        """The stream's records in order, and each bookmark that it reaches (the old one first, if there was one)."""
        stream = STREAM[name]
        since = options.start if bookmark is None else bookmark
        since = midnight(since) if stream.walk in ("days", "windows") else since
        records, bookmarks = [], [] if bookmark is None else [bookmark]
        for rows, limit in getattr(self, "_" + stream.walk)(stream, since, options, bookmark):
            records += [project(schema or stream.usual_schema, row) for row in rows]
            times = [instant(row.get("timestamp")) for row in rows] if stream.incremental else []
            reached = min(max(times), limit) if times else since - 1
            if reached >= max([since] + bookmarks) and reached not in bookmarks:
                bookmarks.append(reached)
        return Expected(records, bookmarks)

    def _list(self, stream, *_):
        for each in stream.each:
            yield shaped(stream, self.client.ask(stream, each=each), {"each": each}), None

    def _parents(self, stream, *_):
        for values in self.parents(stream):
            try:
                rows = self.client.ask(stream, **values)
            except Refused as refused:
                if refused.status not in (403, 404):
                    raise
                continue
            yield shaped(stream, rows, values), None

    def parents(self, stream):
        """What each of a stream's requests takes from its parents: distinct, and nothing of it missing or empty."""
        if stream.parent not in self.read:
            parent = STREAM[stream.parent]
            self.read[stream.parent] = [row for rows, _ in getattr(self, "_" + parent.walk)(parent) for row in rows]
        found = {}
        for row in self.read[stream.parent]:
            values = {name: text_of(row.get(name)) for name in stream.handed_down}
            unwanted = stream.only and not values[stream.only[0]].startswith(stream.only[1])
            if all(values.values()) and not unwanted:
                found[tuple(values.values())] = values
        return [{**values, "each": each} for values in found.values() for each in stream.each]

    def _windows(self, stream, since, options, _):
        """Whole days, thirty at most in a window; the whole of a window is one step of the bookmark."""
        if since >= options.until:
            return
        start = since if stream.reach is None else max(since, midnight(options.clock) - stream.reach * DAY)
        end = midnight(options.clock - 60 * SECOND)
        end = end if options.end is None else min(end, midnight(options.end))
        while start < end:
            to = min(start + 30 * DAY, end)
            rows = []
            for values in self.parents(stream):
                points = self.client.ask(stream, **values, **{"from": stamp(start), "to": stamp(to)})
                rows += [row for row in shaped(stream, points, values) if in_range(row, start, to)]
            yield rows, midnight(options.clock - stream.settle)
            start = to

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
        times = {"from": stamp(day), "to": stamp(min(day + DAY - 1000, options.clock))}
        for values in self.parents(stream):
            try:
                rows = self.client.ask(stream, **values, **times)
            except Refused as refused:
                if refused.status not in (403, 404):
                    raise
                continue
            yield from shaped(stream, rows, values | times)

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
    """The row with fields of the tap's own, which win over the row's; a bare string has no others."""
    row = row if isinstance(row, Pairs) else Pairs()
    return Pairs([(k, v) for k, v in row if k not in fields] + list(fields.items()))


def text_of(value):
    """A field of a parent's row as requests have it."""
    return value.text if isinstance(value, Number) else value or ""


def shaped(stream, rows, values):
    """The records of one answer's rows, with the fields that the tap adds."""
    elements = [(row, row) for row in rows]
    if stream.inner:
        elements = [(row, element) for row in rows for element in row.get(stream.inner) or []]
    return [with_fields(element, added(stream, row, element, values)) for row, element in elements]


def added(stream, row, element, values):
    """The fields that the tap puts into a record: of the request, of the row around it, or renamed."""
    fields = {name: value_of(template, row, element, values) for name, template in stream.add.items()}
    for name in stream.blank:
        if (fields[name] if name in fields else element.get(name)) is None:
            fields[name] = ""
    return {name: value for name, value in fields.items() if value is not None}


def value_of(template, row, element, values):
    """What a template of Stream.add stands for; None where the API says nothing."""
    name = template[1:-1]
    if name == ".":
        return element
    if name in values:
        return values[name]
    if not name.startswith("."):
        return element.get(name)
    for part in name[1:].split("."):
        row = row.get(part) if row is not None else None
    return row
