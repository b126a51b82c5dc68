#!/usr/bin/env python3
"""The test bed tested, without the tap: every operation of the fake API answers as the model of it says.

    test/bed_test.py

Rows are held against the committed schemas in both directions (what comes fits, what the schema names comes), keys
against what is said of them, and careless requests must be refused.  Output is TAP (Test Anything Protocol).
"""

import sys

sys.dont_write_bytecode = True

import re
import socket
import struct
import time
import traceback
import urllib.parse

import jsonschema

import segment
import singer
from segment import ALL, DAY, MORE, STREAM, Client, Model, Options, Pairs, Refused, Server, instant, stamp

START = segment.month(segment.STARTED, -3)
DEMO = ("--scale", "demo")
STAGES = ("v1", "v1beta", "v1alpha")
SEEN, LACKING = {}, {}  # fields that occurred, and that a row went without, by stream


class Report:
    """Counts checks and prints them."""

    def __init__(self):
        self.number = self.failed = 0

    def ok(self, passed, name, *why):
        """One check; why is shown if it failed."""
        self.number += 1
        self.failed += not passed
        print(f"{'' if passed else 'not '}ok {self.number} - {name}")
        if not passed:
            print("\n".join(f"# {line}" for text in why for line in str(text)[:1500].splitlines()))

    def equal(self, got, expected, name):
        """Are two values the same?"""
        self.ok(got == expected, name, f"expected {expected!r}", f"got      {got!r}")

    def none(self, faults, name):
        """Is the sequence of complaints empty?"""
        faults = list(faults)
        self.ok(not faults, name, *faults[:5])


REPORT = Report()


# --- rows and schemas


def paths_of(value, schema, path=""):
    """The schema's fields that a projected record has, nested ones by dotted path."""
    if isinstance(value, Pairs):
        for key, child in value:
            yield f"{path}.{key}"
            yield from paths_of(child, schema.get("properties", {}).get(key, {}), f"{path}.{key}")
    elif isinstance(value, list):
        for child in value:
            yield from paths_of(child, schema.get("items", {}), path + "[]")


def named_in(schema):
    """Every field that a schema names, in the same form."""
    return {path for path, _ in singer.schema_nodes(schema) if path and not path.endswith("[]")}


def plain(value):
    """A record as ordinary Python data, with a text for what must arrive as JSON text."""
    if isinstance(value, segment.Inner):
        return "{}"
    if isinstance(value, Pairs):
        return {k: plain(v) for k, v in value}
    return [plain(v) for v in value] if isinstance(value, list) else singer.plain(value)


def check_rows(stream, expected, label):
    """What a sync must write of one stream fits its schema and has one row a key."""
    check = singer.validator(stream.schema)
    rows = [plain(row) for row in expected.records]
    REPORT.none(
        (
            f"row {i}: {error.json_path}: {error.message}"
            for i, row in enumerate(rows)
            for error in check.iter_errors(row)
        ),
        f"{label}{stream.name}: {len(rows)} rows fit the schema",
    )
    keys = [tuple(row.get(key) for key in stream.keys(True)) for row in rows]
    REPORT.none((key for key in keys if None in key), f"{label}{stream.name}: no key is missing")
    REPORT.equal(len(set(keys)), len(keys), f"{label}{stream.name}: the unique key is unique")


def check_workspace(*options, streams=ALL):
    """Every stream of one workspace, or some."""
    with Server(*options, plain=True) as server:
        model = Model(Client(server))
        label = " ".join(options) + ": "
        for stream in streams:
            expected = model.expect(stream.name, Options(START), schema=stream.schema)
            check_rows(stream, expected, label)
            REPORT.ok(expected.records, f"{label}{stream.name}: is not empty")
            seen = SEEN.setdefault(stream.name, set())
            for paths in ({*paths_of(row, stream.schema)} for row in expected.records):
                LACKING.setdefault(stream.name, set()).update(named_in(stream.schema) - paths)
                seen.update(paths)
        check_access(server, label)


def check_fields():
    """The fields that schemas name occur in one workspace or another."""
    for stream in ALL:
        REPORT.equal(sorted(named_in(stream.schema) - SEEN[stream.name]), [], f"{stream.name}: every field occurs")
        lacking = bool(LACKING[stream.name])
        REPORT.equal(lacking, not stream.is_complete, f"{stream.name}: does a row go without some field?")


def check_access(server, label):
    """No request of the model was refused, and none was made twice."""
    lines = [line.split(maxsplit=6) for line in server.requests()]
    REPORT.none((words for words in lines if words[3] != "200"), f"{label}all {len(lines)} requests were answered")
    targets = [words[2] for words in lines]
    REPORT.equal(len(set(targets)), len(targets), f"{label}none was made twice")


def check_sizes():
    """The model's rows don't depend on the size of pages."""
    with Server(*DEMO, plain=True) as server:
        whole, small = Model(Client(server)), Model(SmallPages(server))
        for stream in ALL:
            expected, got = (model.expect(stream.name, Options(START)) for model in (whole, small))
            REPORT.equal(got, expected, f"pages of 3: {stream.name}: the same rows")


class SmallPages(Client):
    """Asks for three rows a page."""

    def get(self, path, stage="v1", **query):
        """As Client.get."""
        for name in ("pagination.count", "count"):
            if name in query:
                query[name] = 3
        return super().get(path, stage, **query)


def check_schemas():
    """The committed schemas load everywhere; those of the same rows are the same."""
    for stream in ALL:
        jsonschema.Draft7Validator.check_schema(stream.schema)
        REPORT.none(singer.schema_faults(stream, stream.schema), f"{stream.name}: schema loads everywhere")
    files = {path.stem for path in segment.SCHEMAS.glob("*.json")}
    REPORT.equal(files, set(STREAM), "a row of test/segment.py for each schema, and no other")
    for name, key in (("tracking_plan_sources", "trackingPlanId"), ("warehouse_connected_sources", "warehouseId")):
        fields = dict(STREAM[name].schema["properties"])
        del fields[key]
        REPORT.equal(list(fields.items()), list(STREAM["sources"].schema["properties"].items()), f"{name}: as sources")


# --- careless requests


def target_of(stream, model):
    """Path and query of one good request."""
    values = model.parents(stream)[0] if stream.parent else {"each": stream.each[0]}
    end = segment.midnight(segment.STARTED)
    values = {**values, "from": stamp(end - 20 * DAY), "to": stamp(end)}
    path = segment.fill(stream.path, values, lambda text: urllib.parse.quote(text, safe=""))
    query = {name: segment.fill(value, values) for name, value in stream.query}
    return path, query | ({stream.names[0]: 2} if stream.names else {})


def status_of(client, path, stage, query):
    """Of the answer."""
    try:
        client.get(path, stage, **query)
        return 200
    except Refused as refused:
        return refused.status


# Parameters that the API does without.
OPTIONAL = {"pagination.count", "count", "include", "sortBy", "sortDir", "collection"}


def check_strictness():
    """What a client may forget or make up is refused."""
    with Server(*DEMO, plain=True) as server:
        client = Client(server)
        model = Model(client)
        for stream in MORE:
            path, query = target_of(stream, model)
            REPORT.equal(status_of(client, path, stream.stage, query), 200, f"{stream.name}: a good request")
            REPORT.none(careless(client, stream, path, query), f"{stream.name}: careless ones are refused")


def careless(client, stream, path, query):
    """Requests with one thing wrong that were answered, or refused in another way."""
    wrong = [("an unknown parameter", {**query, "colour": "red"}, 422)]
    for name in query:
        rest = {k: v for k, v in query.items() if k != name}
        if name not in OPTIONAL:
            wrong.append((f"no {name}", rest, 422))
        wrong.append((f"{name}: nonsense", {**rest, name: "none-of-yours"}, (422, 404)))
        wrong.append((f"{name}: nothing", {**rest, name: ""}, 422))
    if stream.names:
        wrong.append(("a page beyond the cap", {**query, stream.names[0]: stream.cap + 1}, 422))
        wrong.append(("a cursor of nobody's making", {**query, stream.names[1]: "AAAAA123456="}, 400))
        other = "cursor" if stream.names[0] != "count" else "pagination.cursor"
        wrong.append(("a cursor by another name", {**query, other: "x"}, 422))
    else:
        wrong.append(("a page size", {"pagination.count": 10}, 422))
    for name, changed, statuses in wrong:
        status = status_of(client, path, stream.stage, changed)
        if status not in (statuses if isinstance(statuses, tuple) else (statuses,)):
            yield f"{name}: {status}"
    known = STAGES[STAGES.index(stream.stage) :] if stream.name != "credentials" else ("v1",)
    known = ("v1beta",) if stream.name.startswith("delivery_overview") else known
    for stage in STAGES:
        if status_of(client, path, stage, query) != (200 if stage in known else 406):
            yield f"stage {stage}"
    if stream.parent and "{" in stream.path:
        for match in re.finditer(r"(?<=/)[^/]{22,}(?=/)", path):
            unknown = path[: match.start()] + "0" * 22 + path[match.end() :]
            status = status_of(client, unknown, stream.stage, query)
            if status != 404:
                yield f"an unknown id: {status}"


WINDOWS = [
    # name, days from midnight to the start and to the end, status of volume and of delivery
    ("29 days", -29, 0, 200, 200),
    ("more than 30 days", -31, 0, 422, 422),
    ("30 days ago at midnight", -30, -1, 200, 422),
    ("a year ago", -365, -350, 200, 422),
    ("an end before the start", -3, -4, 422, 422),
    ("nothing", -3, -3, 422, 422),
    ("into the future", -3, 2, 422, 422),
]


def check_windows():
    """The limits of windows, groups and what they are grouped by."""
    names = ("events_volume_daily", "delivery_overview_failed_on_ingest", "delivery_overview_failed_delivery")
    with Server(*DEMO, plain=True) as server:
        client = Client(server)
        model = Model(client)
        for stream in (STREAM[name] for name in names):
            path, query = target_of(stream, model)
            for label, first, last, volume, delivery in WINDOWS:
                today = segment.midnight(segment.STARTED)
                times = {"startTime": stamp(today + first * DAY), "endTime": stamp(today + last * DAY)}
                wanted = volume if stream.name == "events_volume_daily" else delivery
                status = status_of(client, path, stream.stage, query | times)
                REPORT.equal(status, wanted, f"{stream.name}: {label}")
            for label, changed in bad_groups(query):
                REPORT.equal(status_of(client, path, stream.stage, changed), 422, f"{stream.name}: {label}")
        soon = {"endTime": stamp(segment.now() - 30 * segment.SECOND)}
        path, query = target_of(STREAM["events_volume_daily"], model)
        REPORT.equal(status_of(client, path, "v1", query | soon), 422, "events volume: an end half a minute ago")
        functions = client.ask(STREAM["functions"], each="SOURCE")
        query = {"functionId": functions[0].get("id")}
        status = status_of(client, "/insert-function-instances", "v1alpha", query)
        REPORT.equal(status, 422, "instances of a function that is not inserted")


def bad_groups(query):
    """Queries whose groupBy is wrong."""
    last = max(name for name in query if name.startswith("groupBy."))
    rest = {k: v for k, v in query.items() if k != last}
    yield "a dimension twice", {**rest, last: query["groupBy.0"]}
    yield "one left out", rest
    yield "a gap", {**rest, "groupBy.9": query[last]}
    yield "plain repeats", {**rest, "groupBy": query[last]}
    yield "brackets", {**rest, "groupBy[]": query[last]}


def check_edges():
    """Points from outside of the window come along, for nothing promises that they don't."""
    stream = STREAM["events_volume_daily"]
    with Server(*DEMO, plain=True) as server:
        model = Model(Client(server))
        end = segment.midnight(segment.STARTED)
        window = {"from": stamp(end - 3 * DAY), "to": stamp(end)}
        rows = model.client.ask(stream, **model.parents(stream)[0], **window)
    times = {instant(point.get("time")) for row in rows for point in row.get("series")}
    REPORT.ok(min(times) == end - 4 * DAY, "a day before the window")
    REPORT.ok(max(times) == end, "the day after it")
    REPORT.ok(any(not row.get("series") for row in rows), "a group without points")


def check_groups():
    """No more than 5000 groups come, the largest first."""
    stream = STREAM["events_volume_daily"]
    with Server(*DEMO, "--groups", "5200", plain=True) as server:
        model = Model(Client(server))
        end = segment.midnight(segment.STARTED)
        for values, wanted in zip(model.parents(stream), (9, 5000, 11)):
            rows = model.client.ask(stream, **values, **{"from": stamp(end - 3 * DAY), "to": stamp(end)})
            REPORT.equal(len(rows), wanted, f"{wanted} groups")
            totals = [int(row.get("total").text) for row in rows]
            REPORT.equal(totals, sorted(totals, reverse=True), "the largest first")


# --- rate limits


def check_limits():
    """A limit for each kind of request, and what is said of it."""
    with Server(*DEMO, "--minute", "4000", plain=True) as server:
        client = Client(server)
        model = Model(client)
        for name in ("warehouse_syncs", "warehouse_selective_syncs", "space_events"):
            stream = STREAM[name]
            path, query = target_of(stream, model)
            client.pages.clear()
            answers = [answer_of(client, path, stream.stage, query) for _ in range(stream.limit + 1)]
            wanted = [(200, str(used), str(stream.limit - used), None) for used in range(1, stream.limit + 1)]
            REPORT.equal([answer[:4] for answer in answers[:-1]], wanted, f"{name}: {stream.limit} a minute")
            status, used, left, seconds, body = answers[-1]
            REPORT.equal((status, used, left), (429, str(stream.limit + 1), "0"), f"{name}: one more is refused")
            ms = re.search(rb'"msBeforeNext":(\d+)', body)
            told = ms and 0 < int(ms[1]) <= 4000 and seconds in ("1", "2", "3", "4")
            REPORT.ok(told, f"{name}: the answer says how long", seconds, body)
        REPORT.equal(status_of(client, "/roles", "v1", {}), 200, "an operation without a limit")
        time.sleep(4.1)
        REPORT.equal(status_of(client, path, stream.stage, query), 200, "the next minute")


def answer_of(client, path, stage, query):
    """Status, what was used and is left of the limit, seconds to wait, and body of an answer."""
    target = path + "?" + urllib.parse.urlencode(query, quote_via=urllib.parse.quote)
    headers = {"Authorization": f"Bearer {segment.TOKEN}", "Accept": f"application/vnd.segment.{stage}+json"}
    client.connection.request("GET", target, headers=headers)
    answer = client.connection.getresponse()
    fields = [answer.headers.get(f"X-RateLimit-{name}") for name in ("Consumed", "Remaining")]
    return answer.status, *fields, answer.headers.get("Retry-After"), answer.read()


def check_bookmarks():
    """Whole days, from the bookmark's on; nothing from outside of a window."""
    day = segment.midnight(segment.STARTED) - 3 * DAY
    with Server(*DEMO, plain=True) as server:
        model = Model(Client(server))
        for stream in (stream for stream in MORE if stream.incremental):
            whole = model.expect(stream.name, Options(START))
            times = [instant(row.get("timestamp")) for row in whole.records]
            limit = segment.midnight(segment.STARTED - stream.settle)
            REPORT.equal(whole.bookmarks[-1], min(max(times), limit), f"{stream.name}: the bookmark stays behind")
            REPORT.ok(
                all(at % DAY == 0 and START <= at <= segment.STARTED - DAY for at in times), f"{stream.name}: days"
            )
            again = model.expect(stream.name, Options(START), bookmark=day)
            kept = [row for row in whole.records if instant(row.get("timestamp")) >= day]
            same = sorted(map(repr, again.records)) == sorted(map(repr, kept))
            REPORT.ok(same, f"{stream.name}: the rows from a bookmark on", len(again.records), len(kept))


def check_relay():
    """A proxy whose client is gone leaves none of its connections open: a server takes so many and no more."""
    linger = struct.pack("ii", 1, 0)
    with socket.create_server(("127.0.0.1", 0)) as server, segment.Proxy() as relay:
        for name, reset in (("ends", False), ("resets its connection", True)):
            with socket.create_connection(("127.0.0.1", relay.port)) as client:
                client.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.getsockname()[1])
                client.recv(1024)
                peer = server.accept()[0]
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with peer:
                peer.settimeout(60)
                try:
                    heard = peer.recv(1)
                except OSError as error:
                    heard = error
            REPORT.equal(heard, b"", f"a client of the proxy that {name}")


CHECKS = [
    check_schemas,
    lambda: check_workspace("--scale", "demo"),
    lambda: check_workspace("--scale", "12"),
    lambda: check_workspace("--scale", "60", streams=[STREAM["iam_groups"]]),
    check_fields,
    check_sizes,
    check_strictness,
    check_windows,
    check_edges,
    check_groups,
    check_limits,
    check_bookmarks,
    check_relay,
]


def main():
    """All checks; an exception in one is a failed check, and the others still run."""
    for check in CHECKS:
        try:
            check()
        except Exception:  # whatever it is
            REPORT.ok(False, "runs to its end", traceback.format_exc())
    print(f"1..{REPORT.number}")
    return 1 if REPORT.failed or not REPORT.number else 0


if __name__ == "__main__":
    sys.exit(main())
