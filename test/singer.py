"""A Singer reader that forgives nothing: runs the tap, reads its messages, and holds them against the protocol.

Sources: the Singer specification (getting-started/docs), what singer-python and the Meltano SDK read and write, and
what targets are known to stumble over.
"""

import collections
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jsonschema

from segment import STREAM, STREAMS, TOKEN, Pairs, certificates, instant, read_json

TIMEOUT = float(os.environ.get("E2E_TIMEOUT", "300"))
STRICT_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
LOG_LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) [ -~]+")
STRUCTURED = {"level", "pid", "logger_name", "ts", "thread_name", "app_name", "stream_name", "message"}
# Whatever the machine's own settings say, a test must not depend on it.
FOREIGN = re.compile(r"(https?|all|no)_proxy|TAP_SEGMENT_.*|(SINGER_SDK_)?LOG.*|SSL_CERT_.*", re.IGNORECASE)


# --- running the tap


def _command():
    """$TAP, its files made absolute so that a run may take place in another folder."""
    words = shlex.split(os.environ.get("TAP", "./tap-segment"))
    return [os.path.abspath(word) if os.path.isfile(word) else word for word in words]


COMMAND = _command()
# Started in the background by a shell, or by nohup, a test would hand an ignored signal on to the tap, which leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A sanitizer would take longer to look for leaks than all else takes: that is left to unit tests and valgrind.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
WRAPPED = len(COMMAND) > 1  # by valgrind, qemu or the like: many times slower
PATIENCE = 10 if WRAPPED else 1  # seconds in which a request that nothing hinders is through


def is_log_line(line):
    """LEVEL and text, in printable ASCII; or the JSON object of Meltano's structured logging."""
    if not line.startswith("{"):
        return bool(LOG_LINE.fullmatch(line))
    return line.isascii() and STRUCTURED <= set(json.loads(line))


@dataclass
class Run:
    """What one run of the tap left behind."""

    args: list
    exit: int
    stdout: bytes
    stderr: str

    @cached_property
    def lines(self):
        """Standard output, line by line."""
        return self.stdout.decode("utf-8").removesuffix("\n").split("\n") if self.stdout else []

    @cached_property
    def messages(self):
        """Standard output as Singer messages."""
        return [read_json(line) for line in self.lines]

    @cached_property
    def by_kind(self):
        """Messages by their type, and by type and stream."""
        found = collections.defaultdict(list)
        for message in self.messages:
            kind, stream = message.get("type"), message.get("stream")
            found[kind, None].append(message)
            if stream is not None:
                found[kind, stream].append(message)
        return found

    def of_type(self, kind, stream=None):
        """Messages of one type, and of one stream if it is named."""
        return list(self.by_kind.get((kind, stream), ()))

    def records(self, stream):
        """The rows of one stream."""
        return [m.get("record") for m in self.of_type("RECORD", stream)]

    @property
    def order(self):
        """Streams in the order of their SCHEMA messages."""
        return [m.get("stream") for m in self.of_type("SCHEMA")]

    @cached_property
    def states(self):
        """The values of all STATE messages, as ordinary dictionaries."""
        return [message["value"] for message in map(json.loads, self.lines) if message["type"] == "STATE"]

    @property
    def timeless(self):
        """Standard output without what differs from run to run."""
        return re.sub(rb'"time_extracted": ?"[^"]*"', b"", self.stdout)

    def log(self, *levels):
        """Lines of standard error of these levels."""
        return [line for line in self.stderr.splitlines() if line.split(" ")[0] in levels]

    def complaints(self):
        """What must hold of every run, whatever became of it."""
        if TOKEN[:10] in self.stderr or TOKEN[:10].encode() in self.stdout:
            yield "the token was printed"
        if self.exit < 0:
            yield f"died of signal {-self.exit}"
        yield from (f"no log line: {line}" for line in self.stderr.splitlines() if not is_log_line(line))
        yield from (f"{len(line)} bytes: {line[:60]}..." for line in self.stderr.splitlines() if len(line) > 2048)


class Tap:
    """Runs the tap against one server, with files in a folder of its own."""

    def __init__(self, server=None, **config):
        self.folder = Path(tempfile.mkdtemp(prefix="tap-segment-e2e-"))
        self.config = {"api_token": TOKEN, "start_date": "2020-01-01T00:00:00Z"}
        if server:
            self.config |= {"base_url": server.url, "ca_file": str(certificates() / "root.pem")}
        self.config |= config
        self.runs = []

    def file(self, name, content, mode=0o600):
        """Writes a file: text as it is, anything else as JSON.  Returns its path."""
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8", "surrogateescape")
        path.chmod(mode)
        return str(path)

    def arguments(self, *args, config=None, catalog=None, properties=None, state=None):
        """Arguments and files of a run; a config of changes to the usual one, None to leave a key out."""
        merged = {k: v for k, v in {**self.config, **(config or {})}.items() if v is not None}
        words = ["--config", self.file("config.json", merged)]
        for option, content in (("catalog", catalog), ("properties", properties), ("state", state)):
            if content is not None:
                words += [f"--{option}", self.file(f"{option}.json", content)]
        return words + list(args)

    def sync(self, *args, env=None, cwd=None, **files):
        """A run to its end."""
        return self.run(*self.arguments(*args, **files), env=env, cwd=cwd)

    def run(self, *words, env=None, cwd=None):
        """A run with just these arguments."""
        with self.start(*words, env=env, cwd=cwd) as process:
            return self.finish(process)

    def start(self, *words, env=None, cwd=None, stdout=subprocess.PIPE):
        """A run that the caller goes on with; every process must go through finish."""
        clean = {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)}
        return subprocess.Popen(
            COMMAND + list(words),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=clean | (env or {}),
            cwd=cwd,
        )

    def finish(self, process, head=b""):
        """Waits for the end; head is what the caller has read of the output."""
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            stderr += f"\nno end after {TIMEOUT} s".encode()
        args = process.args[len(COMMAND) :]
        run = Run(args, process.returncode, head + (stdout or b""), stderr.decode("ascii", "backslashreplace"))
        self.runs.append(run)
        return run

    def close(self):
        """Removes the files."""
        shutil.rmtree(self.folder)


def first_lines(process, count):
    """What a run has written when so many lines are there.  Read from the descriptor: a buffer would keep the rest."""
    head, more = b"", b"?"
    while more and head.count(b"\n") < count:
        more = os.read(process.stdout.fileno(), 65536)
        head += more
    return head


# --- catalogs


def entry_of(catalog, name):
    """The catalog's entry for one stream."""
    return next(entry for entry in catalog["streams"] if entry["tap_stream_id"] == name)


def metadata_of(entry, *breadcrumb):
    """The metadata of a field, made if there is none."""
    for item in entry["metadata"]:
        if item["breadcrumb"] == list(breadcrumb):
            return item["metadata"]
    entry["metadata"].append({"breadcrumb": list(breadcrumb), "metadata": {}})
    return entry["metadata"][-1]["metadata"]


def select(catalog, *names, **stream_metadata):
    """A copy of the catalog with just these streams selected."""
    copy = json.loads(json.dumps(catalog))
    for name in names:
        metadata_of(entry_of(copy, name)).update(selected=True, **stream_metadata)
    return copy


def plain_catalog(*names):
    """A catalog of the committed schemas, for tests that only want a few streams read."""
    return {
        "streams": [
            {
                "tap_stream_id": name,
                "stream": name,
                "schema": STREAM[name].schema,
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
            for name in names
        ]
    }


def breadcrumbs(schema, path=()):
    """Where discovery must put metadata: every property of every object, none below an array's items."""
    for name, child in schema.get("properties", {}).items():
        here = path + ("properties", name)
        yield here
        yield from breadcrumbs(child, here)


def schema_nodes(schema, path=""):
    """Every schema below this one, by path, this one included."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from schema_nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from schema_nodes(schema["items"], path + "[]")


def schema_faults(stream, schema):
    """What some target could not load, or what says too much of a field."""
    if schema.get("type") != "object" or not schema.get("properties"):
        yield "top: no object with properties"
    for path, node in list(schema_nodes(schema))[1:]:
        types = node.get("type")
        if not isinstance(types, list) or len(types) != 2 or types[0] != "null":
            yield f"{path}: type {types} is not [null, T]"
        elif types[1] == "array" and "type" not in node.get("items", {}):
            yield f"{path}: array without typed items"
        if "format" in node and (node["format"] != "date-time" or path.count(".") > 1 or "[" in path):
            yield f"{path}: format {node['format']}"
        surplus = set(node) - {"type", "properties", "items", "format", "description"}
        if surplus:
            yield f"{path}: {sorted(surplus)}"
        names = [name.lower() for name in node.get("properties", {})]
        if len(set(names)) != len(names):
            yield f"{path}: names that differ by case"
    missing = set(stream.keys()) | set(stream.keys(True)) | ({"timestamp"} if stream.incremental else set())
    if missing - set(schema["properties"]):
        yield f"no property {missing - set(schema['properties'])}"


# --- the protocol


FORMATS = jsonschema.FormatChecker(())


@FORMATS.checks("date-time", raises=ValueError)
def _strict_time(value):
    """jsonschema checks date-times only where further packages are installed, and then less strictly."""
    return not isinstance(value, str) or bool(STRICT_TIME.fullmatch(value) and instant(value) is not None)


def validator(schema):
    """An independent validator of records, formats included."""
    return jsonschema.Draft7Validator(schema, format_checker=FORMATS)


MEMBERS = {
    "SCHEMA": ({"stream", "schema", "key_properties"}, {"bookmark_properties"}),
    "RECORD": ({"stream", "record", "time_extracted"}, {"version"}),
    "ACTIVATE_VERSION": ({"stream", "version"}, set()),
    "STATE": ({"value"}, set()),
}


def protocol_faults(run):
    """Where a sync's output is not what every Singer target takes."""
    if not run.stdout.endswith(b"\n"):
        yield "the last line has no end"
    messages = [json.loads(line) for line in run.lines]
    kinds = [message["type"] for message in messages]
    if not kinds or kinds[0] != "STATE" or kinds[-1] != "STATE":
        yield "first and last message must be STATE"
    seen = {}
    for number, message in enumerate(messages, 1):
        yield from (f"line {number}: {fault}" for fault in _message_faults(message, seen))


def _message_faults(message, seen):
    kind = message.get("type")
    if kind not in MEMBERS:
        yield f"type {kind}"
        return
    needed, allowed = MEMBERS[kind]
    members = set(message) - {"type"}
    if not needed <= members <= needed | allowed:
        yield f"{kind} with {sorted(members)}"
    elif kind == "SCHEMA":
        yield from _schema_faults(message, seen)
    elif kind == "RECORD":
        yield from _record_faults(message, seen)
    elif kind == "ACTIVATE_VERSION":
        if message["stream"] not in seen:
            yield f"ACTIVATE_VERSION of {message['stream']} before its SCHEMA"
    elif "currently_syncing" not in message["value"]:
        yield "STATE without currently_syncing"


def _schema_faults(message, seen):
    name, schema = message["stream"], message["schema"]
    if name in seen:
        yield f"second SCHEMA of {name}"
    jsonschema.Draft7Validator.check_schema(schema)
    keys = message["key_properties"]
    named = keys + message.get("bookmark_properties", [])
    if not set(named) <= set(schema["properties"]):
        yield f"{named} are not all in the schema"
    seen[name] = validator(schema), keys


def _record_faults(message, seen):
    name, row = message["stream"], message["record"]
    if name not in seen:
        yield f"RECORD of {name} before its SCHEMA"
        return
    check, keys = seen[name]
    yield from (f"{name}: {error.json_path}: {error.message[:200]}" for error in check.iter_errors(row))
    yield from (f"{name}: key {key} is missing or null" for key in keys if row.get(key) is None)
    if not STRICT_TIME.fullmatch(message["time_extracted"]):
        yield f"time_extracted {message['time_extracted']}"


def upsert(run, stream):
    """The table that a target keeps: of rows with equal keys, the last."""
    (schema,) = run.of_type("SCHEMA", stream)
    keys = schema.get("key_properties")
    return {tuple(json.dumps(plain(row.get(key))) for key in keys): row for row in run.records(stream)}


class Tables:
    """A small target that keeps tables by key, and gives up rows of other versions when it is told to."""

    def __init__(self):
        self.keys, self.rows, self.activated = {}, {}, []

    def load(self, run):
        """The messages of one run; activated are the streams whose old rows it gave up."""
        self.activated = []
        for message in map(json.loads, run.lines):
            name = message.get("stream")
            if message["type"] == "SCHEMA":
                self.keys[name] = message["key_properties"]
                self.rows.setdefault(name, {})
            elif message["type"] == "RECORD":
                row = message["record"]
                key = tuple(json.dumps(row[k]) for k in self.keys[name])
                self.rows[name][key] = (message.get("version"), row)
            elif message["type"] == "ACTIVATE_VERSION":
                kept = {k: v for k, v in self.rows[name].items() if v[0] == message["version"]}
                self.rows[name] = kept
                self.activated.append(name)

    def table(self, name):
        """The rows that are there, without an order."""
        return sorted(json.dumps(row, sort_keys=True) for _, row in self.rows.get(name, {}).values())


def plain(value):
    """Ordinary Python data of a value read with read_json."""
    if isinstance(value, Pairs):
        return {k: plain(v) for k, v in value}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return json.loads(value.text) if hasattr(value, "text") else value


def text(value):
    """A record as text, for comparison."""
    return json.dumps(plain(value))


def expected_entry_metadata(stream):
    """The metadata of a stream as discovery must show it, by breadcrumb."""
    automatic = set(stream.keys()) | set(stream.keys(True)) | ({"timestamp"} if stream.incremental else set())
    top = {
        "inclusion": "available",
        "table-key-properties": list(stream.keys()),
        "forced-replication-method": "INCREMENTAL" if stream.incremental else "FULL_TABLE",
    }
    if stream.incremental:
        top["valid-replication-keys"] = ["timestamp"]
    if stream.parent:
        top["parent-tap-stream-id"] = stream.parent
    result = {(): top}
    for path in breadcrumbs(stream.schema):
        is_automatic = len(path) == 2 and path[1] in automatic
        inclusion = "automatic" if is_automatic else "available"
        result[path] = {"inclusion": inclusion, "selected-by-default": path[1] not in stream.secret}
    return result


NAMES = [stream.name for stream in STREAMS]
