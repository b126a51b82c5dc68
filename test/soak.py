#!/usr/bin/env python3
"""A season of runs: a workspace that changes, a tap that runs every hour, and all that can go wrong meanwhile.

    test/soak.py               DAYS=90 days of WORLDS=10 workspaces, JOBS at a time; the first one's seed is SEED=1

TAP must be the fault build (test/tap-fault), for the time is a virtual one; see test/fault.c.  Each workspace follows
from its seed, and so do the hours of the runs, their settings, and the faults: those of a request are drawn by its
address and the number of its tries, so they are the same in whatever order requests come.

Rows come, change and go, counters grow and events turn up late, up to the last moment of the settle times; parents
appear and vanish, lists and single parents are forbidden for some hours and allowed again; fields are new, or of
another type.  Answers are cut, broken, refused, limited, slow; runs are killed, stopped, out of disk, without a
server, or not made at all, for weeks too.

What two consumers hold is compared with what the workspace really had: one that upserts by key and drops rows of old
versions, and one that appends.  Output is TAP (Test Anything Protocol).
"""

import sys

sys.dont_write_bytecode = True

import bisect
import collections
import contextlib
import email.utils
import functools
import gzip
import hashlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import re
import signal
import socket
import ssl
import struct
import threading
import time
import traceback
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import segment
import singer
from segment import DAY, HOUR, SECOND, STREAM, TOKEN, Inner, Misfit, Model, Number, Options, Pairs, Refused
from segment import fill, in_range, instant, midnight, month, project, read_json, shaped, stamp

# One stream of each shape and depth, and one of each kind that keeps a bookmark.
NAMES = """sources destinations warehouses source_connected_destinations destination_subscriptions
    usage_api_calls_per_source_daily usage_api_calls_workspace_daily usage_mtu_per_source_daily
    usage_mtu_workspace_daily audit_events iam_users destination_delivery_metrics_summary workspace invites
    source_schema_settings functions insert_function_instances reverse_etl_syncs spaces suppressions
    delivery_overview_successfully_received delivery_overview_failed_delivery events_volume_daily audiences
    activations space_traits""".split()
TIMED = [name for name in NAMES if STREAM[name].incremental]
SEASON = 60 * 24  # hours in which whatever comes has come, and whatever goes goes in as many again
NEVER = 1 << 62


# --- chance: the same for the same words


def draw(*words):
    """A number from 0 up to 1."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def pick(options, *words):
    """One of them."""
    return options[int(draw(*words) * len(options))]


def dice(*words):
    """Many numbers."""
    return random.Random("/".join(map(str, words)))


# --- rows


@dataclass(frozen=True)
class Record:
    """What the tap must make of a row: its text, None where it does not fit; its time, where its stream keeps one."""

    text: str
    at: int = None


@dataclass(frozen=True)
class Piece:
    """An element of an answer's list, and the records that are made of it."""

    text: str
    records: tuple


def compact(value):
    """The text of a projected row."""
    if isinstance(value, Inner):
        return json.dumps(compact(value.value))
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(k)}:{compact(v)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return value.text if isinstance(value, Number) else json.dumps(value)


WORDS = ["", "a", "\u00dcmlaut", 'say "so"', "back\\slash", "two\nlines", "/path/", "{}", "12", "null", "x" * 40]


def made(node, chance, before):
    """Some value that fits a schema."""
    kind = next(kind for kind in node["type"] if kind != "null")
    if kind == "object":
        if "properties" not in node:
            return {"some": chance.choice(WORDS), "more": [1, {"x": None}]}
        fields = node["properties"].items()
        return {name: made(child, chance, before) for name, child in fields if chance.random() < 0.8}
    if kind == "array":
        return [made(node["items"], chance, before) if "items" in node else 1.5 for _ in range(chance.randrange(3))]
    if node.get("format") == "date-time":
        return stamp(before - chance.randrange(DAY))
    if kind == "string":
        return chance.choice(WORDS)
    return chance.random() < 0.5 if kind == "boolean" else chance.choice([0, 7, 2.5, 1e21, -3])


def drift(row, fixed, schema, chance):
    """Now and then a field is new, or a text has become something else: the row fits all the same."""
    texts = [k for k in row if k not in fixed and "string" in schema[k]["type"] and "format" not in schema[k]]
    if texts and chance.random() < 0.1:
        row[chance.choice(texts)] = chance.choice([12, 2.5, True, None, ["x", 1], {"a": {"b": "c"}}])
    if chance.random() < 0.1:
        row["brandNew"] = {"since": chance.randrange(9)}


def spoil(row, fixed, schema):
    """A field gets a text where there is room for none, if there is such a field."""
    for name, node in schema.items():
        if name not in fixed and ("string" not in node["type"] or "format" in node):
            row[name] = "of another type"
            return


def parsed(stream, text):
    """An element of a list as the model reads it."""
    return json.loads(text) if stream.shape == "texts" else read_json(text)


@functools.cache
def asked_fields(name):
    """What a stream's path and query say of whose rows are wanted."""
    stream = STREAM[name]
    texts = [stream.path, *(value for _, value in stream.query)]
    names = [name for text in texts for name in re.findall(r"\{(\w+)\}", text)]
    return tuple(dict.fromkeys(name for name in names if name not in ("from", "to", "month")))


# --- the workspace


@dataclass(frozen=True)
class Thing:
    """A row of a full table: from when to when it is there, how long it stays the same, and what of it always does."""

    name: str
    born: int
    dies: int
    pace: int
    fixed: dict


COUNTS = {"sources": 4, "destinations": 4, "iam_users": 9, "spaces": 2, "audiences": 2, "activations": 2}
COUNTS |= {"workspace": 1, "source_schema_settings": 1}
# Fields of a child's row that are the parent's.
TAKEN = {
    "destination_subscriptions": {"destinationId": "id"},
    "functions": {"resourceType": "each"},
    "insert_function_instances": {"functionId": "id"},
    "audiences": {"spaceId": "id"},
    "activations": {"spaceId": "spaceId", "audienceId": "id"},
}
# Others that have few values.
CHOSEN = {
    "destination_subscriptions": {"modelId": ("", "model-1")},
    "suppressions": {"subjectType": ("USER_ID", "OBJECT_ID")},
}
EVENT_NAMES, EVENT_TYPES, REASONS = ("Signed Up", None), ("track",), (None, "invalid/utf8")
# How often, in each block of hours.
BANNED_LIST, BANNED_PARENT, BANNED_IN_WINDOWS, OUT, GONE, HOSTILE = 0.002, 0.0007, 0.005, 0.004, 0.0006, 0.0004
LONG = 36 * HOUR  # longer than a day's row can change, and then till a bookmark passes it
HOSTILE_TO = {"audit_events": 0.002, "destination_delivery_metrics_summary": 0.004}


class Ground:
    """What all parts of a workspace have in common: its times, its owners, its troubles.  All follows from the seed."""

    def __init__(self, seed):
        self.seed = seed
        self.begin = instant("2026-01-01") + int(draw(seed, "begin") * 300) * DAY
        self.created = self.begin - 25 * DAY
        self.start = self.begin - 40 * DAY  # start_date: the workspace is younger
        self.strict = seed % 2 == 1  # fail_on_forbidden
        self.billed = seed // 2 % 2 * 11 * DAY  # into a month: when its billing period begins
        self.cache = {}
        self.known = collections.defaultdict(set)  # the texts of all records that ever were, by stream

    def once(self, make, *key):
        """A value that is made only once."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def owner(self, stream, values):
        """Whose rows a request wants."""
        return tuple(values[name] for name in asked_fields(stream.name))

    def piece(self, stream, text, values, undated=None):
        """One element of a list, with its records; undated is the time of one that doesn't say it."""
        found = []
        for row in shaped(stream, [parsed(stream, text)], values):
            try:
                record = compact(project(stream.usual_schema, row))
            except Misfit:
                record = None
            timed = stream.incremental and undated is None
            found.append(Record(record, instant(row.get("timestamp")) if timed else undated))
            self.known[stream.name].add(record)
        return Piece(text, tuple(found))

    # --- what is forbidden, gone or spoilt for some hours

    def is_banned(self, stream, values, now):
        """Is a list, or what belongs to one parent, forbidden?"""
        if draw(self.seed, "banned", stream.name, now // (8 * HOUR)) < BANNED_LIST:
            return True
        length, rate = (LONG, BANNED_IN_WINDOWS) if stream.incremental else (8 * HOUR, BANNED_PARENT)
        words = self.seed, "banned", stream.name, self.owner(stream, values), now // length
        return bool(stream.parent) and draw(*words) < rate

    def is_out(self, stream, values, now):
        """Does the API fail for the days of one parent?"""
        words = self.seed, "out", stream.name, self.owner(stream, values), now // LONG
        return bool(stream.parent) and stream.incremental and draw(*words) < OUT

    def is_gone(self, stream, values, now):
        """Is a parent not found, though it is in the list?"""
        words = self.seed, "gone", stream.name, self.owner(stream, values), now // (3 * HOUR)
        return bool(stream.parent) and draw(*words) < GONE

    def is_hostile(self, stream, who, now):
        """Does a row not fit, until somebody repairs it?"""
        rate = HOSTILE_TO.get(stream.name, HOSTILE)
        return draw(self.seed, "hostile", stream.name, who, now // (6 * HOUR)) < rate


class Lists(Ground):
    """Full tables."""

    def things(self, stream, values):
        """All that a list ever holds."""
        owner = self.owner(stream, values)
        return self.once(lambda: list(self._things(stream, values, owner)), "things", stream.name, owner)

    def _things(self, stream, values, owner):
        tag = hashlib.blake2b(repr((stream.name, owner)).encode(), digest_size=3).hexdigest()
        for i in range(COUNTS.get(stream.name, 3)):
            chance = dice(self.seed, stream.name, owner, i)
            life = (self.created, NEVER) if i == 0 else self._life(chance)
            name = f"{tag}{'/' if i % 3 else '-'}{i}"
            fixed = {key: f"{key} {name}" for key in stream.keys(True)}
            fixed |= {key: values[value] for key, value in TAKEN.get(stream.name, {}).items()}
            fixed |= {key: pick(some, name) for key, some in CHOSEN.get(stream.name, {}).items()}
            for source in self._sources_of(stream, i):
                yield Thing(name, *life, chance.randrange(5, 300) * HOUR, fixed | source)

    def _life(self, chance):
        """From when to when one is there: some come in the season, some go in it."""
        born = self.begin + chance.randrange(SEASON) * HOUR if chance.random() < 0.4 else self.created
        lasts = chance.randrange(24, SEASON) * HOUR if chance.random() < 0.4 else NEVER
        return born, max(born, self.begin) + lasts

    def _sources_of(self, stream, i):
        """A destination belongs to a source; some stand in the list twice, once for each of two sources."""
        if stream.name != "destinations":
            return [{}]
        sources = [thing.fixed["id"] for thing in self.things(STREAM["sources"], {})]
        return [{"sourceId": sources[n % len(sources)]} for n in ((i, i + 1) if i % 2 else (i,))]

    def _list(self, stream, values, now):
        """The rows at the beginning of the hour."""
        hour = now - now % HOUR
        there = [thing for thing in self.things(stream, values) if thing.born <= hour < thing.dies]
        if stream.inner:
            return self._grouped(stream, values, there)
        return [self._thing(stream, values, thing, hour) for thing in there]

    _parents = _list

    def _grouped(self, stream, values, there):
        """Bare texts in a list of each of some rows."""
        kinds = {thing.fixed["subjectType"]: [] for thing in there}
        for thing in there:
            kinds[thing.fixed["subjectType"]].append(thing.fixed["subjectId"])
        rows = [{"subjectType": kind, "subjectIds": ids} for kind, ids in kinds.items()]
        return [self.piece(stream, json.dumps(row), values) for row in rows]

    def _thing(self, stream, values, thing, hour):
        version = (hour - thing.born) // thing.pace
        hostile = self.is_hostile(stream, thing.name, hour)
        source = thing.fixed.get("sourceId")

        def make():
            if stream.shape == "texts":
                return self.piece(stream, json.dumps(thing.fixed["email"]), values)
            schema, chance = stream.schema["properties"], dice(self.seed, stream.name, thing.name, version)
            row = {name: made(node, chance, self.begin) for name, node in schema.items() if chance.random() < 0.85}
            drift(row, {**thing.fixed, **stream.add}, schema, chance)
            row |= thing.fixed
            if hostile:
                spoil(row, {**thing.fixed, **stream.add}, schema)
            return self.piece(stream, self.text(row, chance), values)

        return self.once(make, "thing", stream.name, self.owner(stream, values), thing.name, source, version, hostile)

    @staticmethod
    def text(row, chance):
        """A row as the API puts it out: members in any order, with blanks or without."""
        members = list(row.items())
        if chance.random() < 0.3:
            chance.shuffle(members)
        return json.dumps(dict(members), separators=pick(((",", ":"), (", ", ": ")), chance.random()))


class Days(Lists):
    """Rows of days, asked for by month, by day, and in windows of days."""

    def versions(self, stream, who, day):
        """When each version of a day's row is there; the last one is final, at the settle time's end at the latest."""

        def make():
            chance = dice(self.seed, stream.name, who, day)
            settled = day + DAY + stream.settle
            if stream.walk != "days" and chance.random() < 0.08:
                return []
            last = settled - chance.choice([0, 0, int(chance.random() * stream.settle), stream.settle + 3 * HOUR])
            return sorted(day + chance.randrange(last - day) for _ in range(chance.randrange(4))) + [last]

        return self.once(make, "versions", stream.name, who, day)

    def version(self, stream, values, who, day, now):
        """The number of the version that is there, -1 if there is none."""
        there = bisect.bisect_right(self.versions(stream, (self.owner(stream, values), who), day), now) - 1
        return max(there, 0) if stream.walk == "days" else there

    def counted(self, stream, day):
        """Of what a day has a row, or a point."""
        if stream.walk == "days":
            return [()]
        if stream.walk == "windows":
            reasons = REASONS if "discardReason" in stream.add else (None,)
            return list(itertools.product(EVENT_NAMES, EVENT_TYPES, reasons))
        sources = [None]
        if "sourceId" in stream.unique:
            things = self.things(STREAM["sources"], {})
            sources = [thing.fixed["id"] for thing in things if thing.born <= day < thing.dies]
        periods = [None]
        if "periodStart" in stream.unique:  # the day on which one begins is in two
            begun = self.period_of(day)
            periods = [begun] + ([self.period_of(day - DAY)] if day == begun > self.created else [])
        return list(itertools.product(sources, periods))

    def period_of(self, day):
        """When the billing period of a day began."""
        begun = month(day) + self.billed
        return begun if begun <= day else month(day, -1) + self.billed

    def day_row(self, stream, values, who, day, version):
        """One day's row, or one point of a group."""
        owner = self.owner(stream, values)

        def make():
            chance = dice(self.seed, stream.name, owner, who, day, version)
            if stream.walk == "windows":
                return {"time": stamp(day), "count": version * 1000 + chance.randrange(1000), "retryCount": version}
            schema = stream.schema["properties"]
            row = {name: made(node, chance, self.begin) for name, node in schema.items() if chance.random() < 0.9}
            drift(row, {*stream.keys(True), "timestamp", *stream.add}, schema, chance)
            if stream.walk == "months":
                row |= {"timestamp": chance.choice((stamp(day), stamp(day)[:10], stamp(day)[:19] + "+00:00"))}
            if "sourceId" in stream.unique:
                row["sourceId"] = who[0] if who else values["sourceId"]
            if "periodStart" in stream.unique:
                row |= {"periodStart": who[1] // SECOND, "periodEnd": month(who[1], 1) // SECOND}
            return row

        return self.once(make, "day", stream.name, owner, who, day, version)

    def day_piece(self, stream, values, who, day, version, hostile=False):
        """The element that a day's row is."""

        def make():
            row = dict(self.day_row(stream, values, who, day, version))
            if hostile:
                spoil(row, {*stream.keys(True), *stream.add}, stream.schema["properties"])
            return self.piece(stream, self.text(row, dice(day)), values | {"from": stamp(day)})

        return self.once(make, "piece", stream.name, self.owner(stream, values), who, day, version, hostile)

    def _months(self, stream, values, now):
        """The rows of a month, or of the billing period that begins in it; None: the workspace is younger."""
        first = instant(values["month"])
        if month(first, 1) + (self.billed if "periodStart" in stream.unique else 0) <= self.created:
            return None
        pieces, day = [], max(first, self.created)
        while day < min(month(first, 2), now):
            for who in self.counted(stream, day):
                version = self.version(stream, values, who, day, now)
                if version >= 0 and month(who[1] or day) == first:
                    pieces.append(self.day_piece(stream, values, who, day, version))
            day += DAY
        return pieces

    def _days(self, stream, values, now):
        day = instant(values["from"])
        hostile = self.is_hostile(stream, (self.owner(stream, values), day), now)
        return [self.day_piece(stream, values, (), day, self.version(stream, values, (), day, now), hostile)]

    def _windows(self, stream, values, now):
        """Groups with their points, a day before and after the window too: nothing promises that they don't come."""
        first, end = instant(values["from"]), instant(values["to"])
        edge = DAY if draw(self.seed, "edge", stream.name, values, now // HOUR) < 0.2 else 0
        pieces = []
        for who in self.counted(stream, first):
            days = range(first - edge, min(end + edge, midnight(now)), DAY)
            found = [(day, self.version(stream, values, who, day, now)) for day in days]
            points = [self.day_row(stream, values, who, day, version) for day, version in found if version >= 0]
            pieces.append(self.group(stream, values, who, points))
        return pieces

    def group(self, stream, values, who, points):
        """A group and its points."""
        dimensions = [value for name, value in stream.query if name.startswith("groupBy.")]
        row = {k: v for k, v in zip(("eventName", "eventType", "discardReason"), who) if v and k in dimensions}
        if "source" in dimensions:
            row["source"] = {"id": values["id"], "name": "Name", "slug": "slug"}
        key = "group", stream.name, self.owner(stream, values), who, tuple((p["time"], p["count"]) for p in points)
        text = json.dumps({**row, "total": sum(point["count"] for point in points), "series": points})
        return self.once(lambda: self.piece(stream, text, values), *key)


class Trail(Ground):
    """Events."""

    def events(self, hour):
        """What happens in an hour: the time, when the API has it, and the row."""
        stream = STREAM["audit_events"]

        def make():
            found = []
            chance = dice(self.seed, "events", hour)
            for i in range(chance.choice((0, 0, 1, 1, 2, 4)) if hour >= self.created else 0):
                at = hour + chance.randrange(HOUR)
                seen = at + chance.choice((0, 0, chance.randrange(HOUR), stream.settle))
                row = {name: chance.choice(WORDS) for name in stream.schema["properties"] if chance.random() < 0.9}
                drift(row, ("id", "timestamp"), stream.schema["properties"], chance)
                row |= {"id": f"events/{hour // HOUR}-{i}", "timestamp": stamp(at)}
                found.append((at, seen, row))
            return found

        return self.once(make, "events", hour)

    def event(self, at, row, hostile):
        """The element that an event is."""

        def make():
            text = json.dumps({**row, "timestamp": "soon"} if hostile else row)
            return self.piece(STREAM["audit_events"], text, {}, at if hostile else None)

        return self.once(make, "event", row["id"], hostile)

    def _spans(self, stream, values, now):
        """Events of a span, its ends included, in no order."""
        first, end = instant(values["from"]), instant(values["to"]) if "to" in values else now
        hours = range(max(first, self.created) // HOUR * HOUR, min(end, now) + 1, HOUR)
        there = [
            self.event(at, row, self.is_hostile(stream, row["id"], now))
            for hour in hours
            for at, seen, row in self.events(hour)
            if first <= at <= end and seen <= now
        ]
        return sorted(there, key=lambda piece: draw(piece.text))


class World(Days, Trail):
    """The workspace: what an answer holds at some time, and what is final."""

    def pieces(self, stream, values, now):
        """The elements of all pages of an answer, in order; None where the API has none."""
        return getattr(self, "_" + stream.walk)(stream, values, now)

    def final(self, stream, parents, since, until):
        """The records of settled time as they stay: since <= time < until, of these parents."""
        if stream.walk == "spans":
            for hour in range(since // HOUR * HOUR, until, HOUR):
                found = (self.event(at, row, False).records[0] for at, _, row in self.events(hour))
                yield from (record for record in found if since <= record.at < until)
            return
        for values in parents:
            for day in range(midnight(since + DAY - 1), until, DAY):
                if stream.walk == "days" or day >= self.created:
                    yield from self._final_day(stream, values, day)

    def _final_day(self, stream, values, day):
        for who in self.counted(stream, day):
            version = self.version(stream, values, who, day, NEVER)
            if version < 0:
                continue
            if stream.walk == "windows":
                piece = self.group(stream, values, who, [self.day_row(stream, values, who, day, version)])
            else:
                piece = self.day_piece(stream, values, who, day, version)
            yield from piece.records


# --- an hour: what the run is like, and what happens to it


SHARES = {"calm": 9, "broken": 3, "crash": 2, "killed": 2, "full": 2, "stopped": 1, "deaf": 1, "down": 1, "refused": 1}
KINDS = [kind for kind, share in SHARES.items() for _ in range(share)]
BRIEF = """reset reset-head reset-body cut 500 502 503 408 429 429-ms bad-json wrong-shape bad-gzip bad-chunk slow
    forbidden hang""".split()
LASTING = ["500", "reset-body", "cut", "bad-json", "wrong-shape"]
NOTED = ["banned", "gone", "out", "spoilt"]
MET = [*SHARES, *NOTED, "a brief fault", "a lasting fault", "clean", "activated", "settled"]
ENOUGH = 20  # days in which one of the worlds at least must have met each of them
PATIENT, IMPATIENT = 86400, 400  # request_timeout: only in an impatient run may an answer never come


class Hour:
    """All that is drawn for one run, and what the server notes of it."""

    def __init__(self, world, number):
        chance = dice(world.seed, "hour", number)
        self.world, self.number = world, number
        self.now = world.begin + number * HOUR + chance.choice((0, 0, 30, 3540, chance.randrange(3590))) * SECOND
        self.kind = chance.choice(KINDS)
        if self.now // HOUR % 24 in (0, 6) and chance.random() < 0.5:
            self.kind = "broken"  # when bookmarks of days move
        self.flaky = chance.choice((0, 0, 0, 0.03, 0.3))
        self.zipped = chance.choice((0, 0.5, 1))
        self.moving = chance.random() < 0.3  # does time go on while the run does?
        self.tls = chance.random() < 0.04
        self.to_files = chance.random() < 0.4
        self.selected = NAMES if chance.random() < 0.7 else chance.sample(NAMES, chance.randrange(1, 12))
        self.largest_page = chance.choice((200, 1000))
        self.config = {
            "page_size": chance.choice((1, 3, 7, 100, 200, 500, 1000)),
            "max_connections": chance.choice((1, 2, 3, 4, 8, 32)),
            "max_attempts": 3 if self.kind in ("broken", "down") else 8,
            "request_timeout": IMPATIENT if chance.random() < 0.05 else PATIENT,
            "fail_on_forbidden": world.strict,
            "user_agent": f"hour {number}",
        }
        self.scope = chance.choice(("all", "parents", "parents", "pages", "later"))
        timed = [name for name in self.selected if name in TIMED]
        by_day = [name for name in timed if STREAM[name].walk == "days" and self.scope == "later"]
        self.lame = chance.choice(by_day or (timed if timed and chance.random() < 0.6 else self.selected))
        self.lasting = chance.choice(LASTING)
        self.at_request = chance.randrange(1, 60)
        self.at_line = chance.randrange(1, 200)
        self.at_call = str(chance.randrange(1, 40))  # of those that change files or write
        if self.to_files:  # the files' names change at the end, and these calls are the ones that matter
            self.at_call = chance.choice((f"rename+{chance.randrange(1, 7)}", str(chance.randrange(1, 14))))
        self.space = chance.randrange(200, 100_000)
        self.since = {}  # where the streams begin, by name
        self.process = self.hit = None
        self.lock = threading.Lock()
        self.tries = collections.Counter()
        self.requests = 0
        self.signalled = False
        self.notes = collections.defaultdict(set)  # names of streams: hurt, banned, gone, spoilt, answered

    @property
    def clock(self):
        """The server's time; the tap's stands still."""
        end = self.now - self.now % HOUR + HOUR - SECOND
        return min(self.now + self.requests * SECOND, end) if self.moving else self.now

    def is_lame(self, stream, values, target):
        """Does a request fail however often it is tried?"""
        if self.kind != "broken" or stream.name != self.lame:
            return False
        if self.scope == "pages" and stream.names:
            return stream.names[1] in target
        if self.scope == "later" and stream.walk == "days":
            first = max(midnight(self.since[stream.name]), midnight(self.now) - 13 * DAY)
            return instant(values["from"]) > first and draw(self.world.seed, self.number, values["id"]) < 0.5
        if self.scope == "parents" and (stream.parent or len(stream.each) > 1):
            return draw(self.world.seed, self.number, self.world.owner(stream, values)) < 0.4
        return True

    def fault(self, stream, values, target, attempt):
        """What goes wrong with a request; None: nothing does."""
        if self.is_lame(stream, values, target):
            self.notes["hurt"].add(stream.name)
            return "forbidden" if self.scope == "later" and stream.walk == "days" else self.lasting
        if self.world.is_out(stream, values, self.now):
            self.notes["hurt"].add(stream.name)
            self.notes["out"].add(stream.name)
            return "wrong-shape"
        luck = draw(self.world.seed, self.number, target)
        if luck > self.flaky or attempt > 1 + (luck < self.flaky / 3):
            return None
        fault = pick(BRIEF, self.world.seed, self.number, target, attempt)
        asked_again = stream.parent and stream.incremental and "cursor" not in target
        patient = self.config["request_timeout"] == PATIENT
        if (fault == "forbidden" and not asked_again) or (fault == "hang" and patient):
            fault = "500"
        self.notes["brief"].add(stream.name)
        return fault

    def count(self, target):
        """One more request: the number of its tries.  Somewhere the run is killed or stopped."""
        with self.lock:
            self.requests += 1
            self.tries[target] += 1
            if self.kind in ("killed", "stopped") and self.requests == self.at_request:
                while not self.process:
                    time.sleep(0.001)
                self.signalled = True
                self.process.send_signal(signal.SIGKILL if self.kind == "killed" else signal.SIGTERM)
            return self.tries[target]


# --- the server


@functools.cache
def routes():
    """The path of each stream as a pattern."""
    found = []
    for name in NAMES:
        parts = re.split(r"\{(\w+)\}", STREAM[name].path)
        pattern = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
        found.append((re.compile(pattern), STREAM[name]))
    return found


@dataclass
class Asked:
    """A request's meaning."""

    stream: object
    values: dict
    size: int
    cursor: str


def meaning(target):
    """What is asked for; None: nothing that there is."""
    path, _, query = target.partition("?")
    query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    for pattern, stream in routes():
        match = pattern.fullmatch(path)
        if not match:
            continue
        values = {name: urllib.parse.unquote(text) for name, text in match.groupdict().items()}
        times = {"spans": (("startTime", "{from}"), ("endTime", "{to}")), "months": (("period", "{month}"),)}
        for name, template in stream.query + times.get(stream.walk, ()):
            if template.startswith("{") and name in query:
                values[template[1:-1]] = query[name]
            elif template != "{to}" and query.get(name) != template:
                return None
        size, cursor = stream.names or ("", "")
        return Asked(stream, values, int(query.get(size, 1)), query.get(cursor, ""))
    return None


class Api:
    """The workspace's API on loopback, with TLS and without."""

    def __init__(self, world):
        self.world = world
        self.hour = None
        self.plain = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.secure = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.dead = socket.socket()  # bound, so that nobody else is, and deaf
        self.dead.bind(("127.0.0.1", 0))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pki = segment.certificates()
        self.context.load_cert_chain(str(pki / "chain.pem"), str(pki / "key.pem"))
        for listener in (self.plain, self.secure):
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def url(self, hour):
        """Where a run finds it."""
        listener = self.dead if hour.kind == "down" else self.secure if hour.tls else self.plain
        return f"{'https://localhost' if hour.tls else 'http://127.0.0.1'}:{listener.getsockname()[1]}"

    def close(self):
        """No further connections."""
        for listener in (self.plain, self.secure, self.dead):
            listener.close()

    def _accept(self, listener):
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client, listener is self.secure), daemon=True).start()

    def _serve(self, client, secure):
        with contextlib.suppress(OSError), client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = self.context.wrap_socket(client, server_side=True) if secure else client
            with client:
                received = b""
                while True:
                    while b"\r\n\r\n" not in received:
                        more = client.recv(65536)
                        if not more:
                            return
                        received += more
                    head, received = received.split(b"\r\n\r\n", 1)
                    if not self._answer(client, head.decode("ascii"), secure):
                        return

    def _answer(self, client, head, secure):
        """False: the connection is at its end, as is that of a run that was killed."""
        if f"\r\nUser-Agent: {self.hour.config['user_agent']}\r\n" not in head + "\r\n":
            return False
        try:
            return Answer(self, client, head, secure).send()
        except OSError:
            raise
        except Exception:  # a fault of this file must not look like one of the network
            self.hour.notes["odd"].add(traceback.format_exc())
            return False


class Answer:
    """What becomes of one request."""

    def __init__(self, api, client, head, secure):
        lines = head.split("\r\n")
        self.hour, self.world, self.client, self.secure = api.hour, api.world, client, secure
        self.target = lines[0].split(" ")[1]
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        self.attempt = self.hour.count(self.target)
        self.luck = dice(self.world.seed, self.hour.number, self.target, self.attempt)
        self.status, self.more, self.body, self.fault = 200, {}, b"", None

    def send(self):
        """Answers.  False: the connection is at its end."""
        asked = meaning(self.target)
        if self.hour.kind == "refused" or self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "unauthorized")
        elif not asked:
            self._refuse(404, "not-found")
            self.hour.notes["odd"].add(self.target)
        else:
            self.fault = self.hour.fault(asked.stream, asked.values, self.target, self.attempt)
            self._answer(asked)
            getattr(self, "_with_" + (self.fault or "").replace("-", "_"), self._with_status)()
        return self._transmit()

    def _refuse(self, status, kind):
        self.status, self.body = status, json.dumps({"errors": [{"type": kind, "message": "No."}]}).encode()

    def _answer(self, asked):
        """The status and the body, if nothing goes wrong."""
        stream, hour = asked.stream, self.hour
        notes, now = hour.notes, hour.clock
        for name, status in (("banned", 403), ("gone", 404)):
            if getattr(self.world, "is_" + name)(stream, asked.values, hour.now):
                notes[name].add(stream.name)
                return self._refuse(status, name)
        if asked.size > hour.largest_page:
            return self._refuse(422, "too many")
        pieces = self.world.pieces(stream, asked.values, now)
        if pieces is None:
            return self._refuse(422, "too early")
        if not self.fault:
            notes["answered"].add(stream.name)
        page, pagination = self._page(asked, pieces)
        if any(self._is_spoilt(stream, record) for piece in page for record in piece.records):
            notes["spoilt"].add(stream.name)
        text = page[0].text if stream.shape == "object" else f"[{','.join(piece.text for piece in page)}]"
        self.body = f'{{"data":{{"{stream.rows}":{text}{pagination}}}}}'.encode()
        return None

    def _is_spoilt(self, stream, record):
        """Does a record not fit that the tap wants?"""
        wanted = record.at is None or stream.walk == "days" or record.at >= self.hour.since[stream.name]
        return record.text is None and wanted

    def _page(self, asked, pieces):
        """The elements that are asked for, and what stands beside them; now and then none, though more follow."""
        if not asked.stream.names:
            return pieces, ""
        start = int(asked.cursor.strip("=+") or 0)
        end = start + asked.size
        empty = "+" not in asked.cursor and draw(self.world.seed, self.hour.number, "empty", self.target) < 0.04
        pagination = {"current": asked.cursor or "0", "totalEntries": len(pieces)}
        if empty or end < len(pieces):
            pagination["next"] = f"{start}+=" if empty else f"{end}=="
        needed = "next" in pagination or len(pieces) % 2  # the last page may do without
        return [] if empty else pieces[start:end], f',"pagination":{json.dumps(pagination)}' if needed else ""

    # --- what goes wrong: the status, or the body

    def _with_status(self):
        """A fault that is a status, or none."""
        if self.fault and self.fault.isdigit():
            self._refuse(int(self.fault), "fault")
            if self.fault == "503" and self.attempt % 2:
                self.more["Retry-After"] = 3

    def _with_forbidden(self):
        self._refuse(403, "forbidden")

    def _with_429(self):
        self._refuse(429, "limit")
        self.more["Retry-After"] = self.luck.randrange(1, 30)

    def _with_429_ms(self):
        self.status = 429
        self.body = b'{"errors":[{"type":"limit","data":{"msBeforeNext":%d}}]}' % self.luck.randrange(20_000)

    def _with_bad_json(self):
        self.status = 200  # a refusal would be one whatever its body
        self.body = self.body[: self.luck.randrange(len(self.body))]

    def _with_wrong_shape(self):
        self.status = 200
        self.body = pick((b"{}", b'{"data":{}}', b"[]", b'{"data":null}', b"<html>"), self.luck.random()) + b"\n"

    # --- how it is sent

    def _transmit(self):
        if self.fault == "hang":
            with contextlib.suppress(OSError):
                self.client.recv(1)
            return False
        if self.fault == "reset":
            return self._reset(b"")
        head, wire = self._wire()
        if self.fault == "reset-head":
            return self._reset(head[: self.luck.randrange(1, len(head))])
        if self.fault == "reset-body":
            return self._reset(head + wire[: self.luck.randrange(len(wire))])
        if self.fault == "cut":
            self.client.sendall(head + wire[: self.luck.randrange(len(wire))])
            return False
        if self.fault == "slow":
            for at in range(0, len(wire), len(wire) // 4 + 1):
                self.client.sendall((b"" if at else head) + wire[at : at + len(wire) // 4 + 1])
                time.sleep(0.002)
        else:
            self.client.sendall(head + wire)
        return self.more.get("Connection") != "close"

    def _reset(self, data):
        """A beginning, and the connection is gone."""
        self.client.sendall(data)
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def _wire(self):
        """Head and body as they go out."""
        body = self.body
        if "gzip" in self.headers.get("accept-encoding", "") and self.luck.random() < self.hour.zipped:
            body = gzip.compress(body, 1)
            self.more["Content-Encoding"] = "gzip"
            if self.fault == "bad-gzip":
                body = body[:-6] + bytes([body[-6] ^ 1]) + body[-5:]
        elif self.fault == "bad-gzip":
            body = body[:-1]
        way = self.luck.random()
        delimited = way > 0.93 and not self.secure and self.fault not in ("cut", "reset-body", "bad-chunk")
        if way < 0.2 or self.fault == "bad-chunk":
            self.more["Transfer-Encoding"] = "chunked"
            middle = len(body) // 2
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:]) if part)
            body += b"z\r\n" if self.fault == "bad-chunk" else b"0\r\n\r\n"
        elif not delimited:
            self.more["Content-Length"] = len(body)
        if way > 0.85:
            self.more["Connection"] = "close"
        if way > 0.5 and "Retry-After" not in self.more:
            self.more["X-RateLimit-Remaining"] = 0 if way > 0.98 else 7
            self.more["X-RateLimit-Reset"] = email.utils.formatdate(self.hour.now // SECOND + 5, usegmt=True)
        self.more["Date"] = email.utils.formatdate(self.hour.now // SECOND, usegmt=True)
        head = "".join(f"{name}: {value}\r\n" for name, value in self.more.items())
        return f"HTTP/1.1 {self.status} Status\r\n{head}\r\n".encode(), body


# --- the truth


class Eye(segment.Client):
    """Sees the workspace as it is at some time, without a server."""

    def __init__(self, world, now):  # no connection
        self.world, self.now = world, now

    def get(self, path, stage="v1", **query):
        """Nothing asks for a path alone."""
        raise NotImplementedError

    def walk(self, stream, path, **query):
        """All rows of a month or of a span."""
        names = {"period": "month", "startTime": "from", "endTime": "to"}
        yield from self.ask(stream, **{names[name]: value for name, value in query.items()})

    def ask(self, stream, **values):
        """All rows of an answer."""
        pieces = self.world.pieces(stream, values, self.now)
        if pieces is None:
            raise Refused(422)
        return [parsed(stream, piece.text) for piece in pieces]


# --- consumers


RECORD = re.compile(
    r'\{"type":"RECORD","stream":"(\w+)","record":(\{.*\})(?:,"version":(\d+))?,"time_extracted":"[^"]*"\}'
)


class Consumers:
    """One that keeps tables by key and gives up rows of old versions, and one that only ever appends."""

    def __init__(self):
        self.keys = {}
        self.keyed = {}  # keys of records, by stream and text
        self.tables = collections.defaultdict(dict)
        self.appended = collections.defaultdict(set)

    def key(self, name, text):
        """The key of a record."""
        if (name, text) not in self.keyed:
            row = json.loads(text)
            self.keyed[name, text] = tuple(json.dumps(row[field]) for field in self.keys[name])
        return self.keyed[name, text]

    def load(self, lines):
        """Takes what a run wrote: its records' texts by stream, the streams whose old rows went, the last state."""
        records, activated, state = collections.defaultdict(list), set(), None
        for line in lines:
            match = RECORD.fullmatch(line)
            if match:
                name, text, version = match.groups()
                self.tables[name][self.key(name, text)] = (version, text)
                self.appended[name].add(text)
                records[name].append(text)
                continue
            message = json.loads(line)
            name = message.get("stream")
            if message["type"] == "SCHEMA":
                self.keys[name] = tuple(message["key_properties"])
            elif message["type"] == "ACTIVATE_VERSION":
                kept = {k: v for k, v in self.tables[name].items() if v[0] == str(message["version"])}
                self.tables[name] = kept
                activated.add(name)
            else:
                state = message["value"]
        return records, activated, state

    def lack(self, name, text):
        """Who of the two does not hold a record as it finally is."""
        if self.tables[name].get(self.key(name, text), (None, None))[1] != text:
            yield "the upserting consumer"
        if text not in self.appended[name]:
            yield "the appending consumer"


def bookmarks_of(state):
    """The instants of a state's bookmarks, by stream."""
    return {name: instant(mark["timestamp"]) for name, mark in (state or {}).get("bookmarks", {}).items()}


# --- what came of a run


@dataclass
class Outcome:
    """What one run left behind."""

    result: singer.Run
    records: dict  # texts by stream
    activated: set
    old: dict  # bookmarks by stream
    new: dict
    last: str  # line of the output

    def is_clean(self, hour):
        """Did nothing last go wrong, in a run that a target read to its end?"""
        spoilers = ("hurt", "banned", "gone", "spoilt", "deaf")
        return self.result.exit == 0 and not any(hour.notes[name] for name in spoilers)


CHECKS = [
    ("real", "all rows are the workspace's own"),
    ("state", "a bookmark moves forward, and only behind rows that both consumers hold as they stay"),
    ("tables", "a full table that is declared whole equals the workspace's"),
    ("clean", "a run without a fault writes what the model says, and moves each bookmark so"),
    ("exit", "exit codes say what happened"),
    ("held", "at the end of the day both consumers hold all that is settled"),
]


class Judge:
    """Holds what runs left behind against the workspace."""

    def __init__(self, world, consumers):
        self.world, self.consumers = world, consumers
        self.settled = collections.defaultdict(set)  # texts that must be held, by stream
        self.faults = collections.defaultdict(list)  # complaints of the day, by check

    def end_day(self, day):
        """Everything settled is held; then the day's checks, as (passed, name, why)."""
        for name, texts in self.settled.items():
            for text in texts:
                for who in self.consumers.lack(name, text):
                    self.faults["held"].append(f"day {day}: {name}: {who} has lost {text[:300]}")
        for check, name in CHECKS:
            faults = self.faults.pop(check, [])
            again = [f"again: make soak SEED={self.world.seed} WORLDS=1 DAYS={day + 1}"] if faults else []
            yield not faults, f"seed {self.world.seed}, day {day}: {name}", faults[:5] + again

    def judge(self, hour, outcome):
        """Looks at one run."""
        clean = outcome.is_clean(hour)
        self.judge_exit(hour, outcome.result)
        if outcome.result.exit >= 0 and hour.kind not in ("deaf", "full") and '"type":"STATE"' not in outcome.last:
            self.complain("state", hour, f"the last line is no STATE: {outcome.last[:300]}")
        self.judge_records(hour, outcome.records)
        self.judge_state(hour, outcome, clean)
        self.judge_tables(hour, outcome.activated, clean)
        if clean and not hour.moving:
            self.judge_clean(hour, outcome)

    def complain(self, check, hour, text):
        """A fault of a run."""
        what = f"hour {hour.number}, {stamp(hour.now)}, {hour.kind}{' into files' if hour.to_files else ''}"
        self.faults[check].append(f"{what}: {text}")

    def judge_exit(self, hour, result):
        """The exit code is one of those that what happened can have."""
        exits = self.exits(hour)
        if result.exit not in exits:
            notes = {name: sorted(names) for name, names in hour.notes.items()}
            said = f"{notes}: {result.stderr[-900:]}"
            self.complain("exit", hour, f"exit {result.exit}, expected {sorted(exits)}: {said}")
        for fault in result.complaints():
            if not fault.startswith("died of signal"):
                self.complain("exit", hour, fault)
        if hour.notes["odd"]:
            self.complain("exit", hour, f"asked for what there is not: {hour.notes['odd']}")

    def exits(self, hour):
        """The exit codes that may come of an hour."""
        hit = hour.hit.exists()
        if hour.kind == "down":
            return {3}
        if hour.kind == "refused":
            return {4}
        if hour.kind in ("crash", "full") and hit:
            return {-signal.SIGKILL if hour.kind == "crash" else 1}
        usual = self.usual_exits(hour)
        if hour.signalled:
            return usual | {-signal.SIGKILL if hour.kind == "killed" else 128 + signal.SIGTERM}
        return usual | {1} if hour.kind == "deaf" and not hour.to_files else usual

    def usual_exits(self, hour):
        """Of a run that nobody ends."""
        notes, selected = hour.notes, set(hour.selected)
        nothing = not notes["answered"] & selected
        if notes["hurt"]:
            return {1} | ({3} if nothing else set()) | ({0, 4} if notes["banned"] else set())
        if notes["spoilt"] & selected:
            return {1} | ({0} if notes["banned"] | notes["gone"] else set())
        if notes["banned"]:
            return {4} if nothing else {1} if hour.config["fail_on_forbidden"] else {0}
        return {0}

    def judge_records(self, hour, records):
        """No row that never was."""
        for name, texts in records.items():
            strange = set(texts) - self.world.known[name]
            if strange:
                self.complain("real", hour, f"{name}: {min(strange)[:600]}")

    def judge_state(self, hour, outcome, clean):
        """What lies behind a bookmark is held; after a clean run, so is all that is settled."""
        for name in TIMED:
            stream, before = STREAM[name], hour.since[name]
            after = outcome.new.get(name, before)
            if after < before:
                self.complain("state", hour, f"{name}: the bookmark went back from {stamp(before)} to {stamp(after)}")
            if clean and name in hour.selected:
                limit = hour.now - stream.settle
                after = max(after, limit if stream.walk == "spans" else midnight(limit))
            for record in self.passed(hour, stream, before, after):
                self.settled[name].add(record.text)
                for who in self.consumers.lack(name, record.text):
                    why = f"the bookmark passed to {stamp(after)}, but {who} lacks"
                    self.complain("state", hour, f"{name}: {why} {record.text[:300]}")

    def passed(self, hour, stream, before, after):
        """The final records of the time that a bookmark passed, of parents that could be read."""
        if stream.walk == "days":
            before = max(midnight(before), midnight(hour.now) - 13 * DAY)
        elif stream.walk == "windows":
            before = max(midnight(before), midnight(hour.now) - (stream.reach or 9999) * DAY)
        if after <= before:
            return []
        parents = Model(Eye(self.world, hour.now)).parents(stream) if stream.parent else [{"each": ""}]
        parents = [values for values in parents if not self.is_passed_over(hour, stream, values)]
        return list(self.world.final(stream, parents, before, after))

    def is_passed_over(self, hour, stream, values):
        """Parents that are gone, or forbidden from the run's beginning on, are left out, and a warning says so."""
        if not stream.parent:
            return False
        forbidden = self.world.is_banned(stream, values, hour.now) and not hour.config["fail_on_forbidden"]
        return forbidden or self.world.is_gone(stream, values, hour.now)

    def judge_tables(self, hour, activated, clean):
        """A table whose old rows went is the workspace's."""
        model = Model(Eye(self.world, hour.now))
        for name in NAMES:
            stream = STREAM[name]
            if name in activated:
                wanted = self.truth(model, stream, hour.now)
                got = {text for _, text in self.consumers.tables[name].values()}
                if got != wanted:
                    other = f"{min(map(str, got ^ wanted)):.300}"
                    self.complain("tables", hour, f"{name}: {len(got)} rows, {len(wanted)} expected: {other}")
            elif clean and name in hour.selected and not stream.incremental:
                self.complain("tables", hour, f"{name}: was not declared whole")

    def truth(self, model, stream, now):
        """The records of a full table at that time."""
        parents = model.parents(stream) if stream.parent else [{"each": each} for each in stream.each]
        pieces = [piece for values in parents for piece in self.world.pieces(stream, values, now)]
        return {record.text for piece in pieces for record in piece.records}

    def judge_clean(self, hour, outcome):
        """The records in order, and the bookmark."""
        model = Model(Eye(self.world, hour.now))
        for name in hour.selected:
            before, got = outcome.old.get(name), outcome.records[name]
            expected = model.expect(name, Options(self.world.start, clock=hour.now), bookmark=before)
            wanted = [compact(record) for record in expected.records]
            if got != wanted:
                where = next((pair for pair in zip(got, wanted) if pair[0] != pair[1]), "")
                self.complain("clean", hour, f"{name}: {len(got)} rows, {len(wanted)} expected: {where}")
            after = expected.bookmarks[-1] if expected.bookmarks else None
            if outcome.new.get(name) != after:
                at = [us and stamp(us) for us in (before, outcome.new.get(name), after)]
                self.complain("clean", hour, f"{name}: bookmark from {at[0]} to {at[1]}, expected {at[2]}")


# --- a season


class Season:
    """One workspace, and all runs of its days."""

    def __init__(self, seed, days):
        self.seed, self.days = seed, days
        self.world = World(seed)
        self.api = Api(self.world)
        self.tap = singer.Tap(start_date=stamp(self.world.start), unique_keys=True, activate_version=True)
        self.consumers = Consumers()
        self.judge = Judge(self.world, self.consumers)
        self.state = None
        self.breaks = set(self._breaks())  # days without runs
        self.met = collections.Counter()

    def _breaks(self):
        """Now and then nobody runs the tap, for days or for longer than the API keeps them."""
        for day in range(3, self.days):
            if draw(self.seed, "break", day) < 0.012:
                yield from range(day, day + pick((2, 3, 15, 32), self.seed, "length", day))

    def play(self):
        """All days: the checks that were made, as (passed, name, why)."""
        begun = time.monotonic()
        try:
            for day in range(self.days):
                for hour in range(24):
                    if day not in self.breaks and draw(self.seed, "no run", day, hour) > 0.03:
                        self.run(Hour(self.world, day * 24 + hour))
                yield from self.judge.end_day(day)
        except Exception:  # whatever it is, the other worlds must still be played
            yield False, f"seed {self.seed}: plays to its end", [traceback.format_exc()]
        self.met["settled"] = sum(map(len, self.judge.settled.values()))
        counts = ", ".join(f"{self.met[name]} {name}" for name in ["runs", "requests", "records", *MET])
        missing = [trouble for trouble in MET if not self.met[trouble]]
        yield None, f"seed {self.seed}: {time.monotonic() - begun:.0f} s: {counts}", missing
        self.api.close()
        self.tap.close()

    def run(self, hour):
        """One run, and what is wrong with it."""
        old = bookmarks_of(self.state)
        hour.since = {name: old.get(name, self.world.start) for name in NAMES}
        self.api.hour = hour
        result, lines, state = self.start(hour)
        records, activated, last = self.consumers.load(lines)
        if hour.to_files and state != self.state and not lines:
            self.judge.complain("state", hour, "the state file is another one, but there is no output")
        self.state = state if hour.to_files else last or self.state
        outcome = Outcome(result, records, activated, old, bookmarks_of(self.state), lines[-1] if lines else "")
        self.judge.judge(hour, outcome)
        self.tally(hour, outcome)

    def tally(self, hour, outcome):
        """What was met."""
        exit_code = outcome.result.exit
        counts = {"runs": 1, "requests": hour.requests, "records": sum(map(len, outcome.records.values()))}
        happened = {
            "calm": hour.kind == "calm",
            "broken": hour.kind == "broken" and hour.notes["hurt"],
            "crash": hour.kind == "crash" and exit_code < 0,
            "killed": hour.kind == "killed" and exit_code < 0,
            "full": hour.kind == "full" and hour.hit.exists(),
            "stopped": exit_code == 128 + signal.SIGTERM,
            "deaf": hour.notes["deaf"],
            "down": exit_code == 3,
            "refused": exit_code == 4,
            "a brief fault": hour.notes["brief"],
            "a lasting fault": hour.notes["hurt"],
            "clean": outcome.is_clean(hour),
            "activated": outcome.activated,
            **{name: hour.notes[name] for name in NOTED},
        }
        self.met.update(counts | {name: 1 for name, did in happened.items() if did})
        with contextlib.suppress(FileNotFoundError):
            hour.hit.unlink()

    def environment(self, hour):
        """The virtual clock, and what the run suffers."""
        hour.hit = Path(self.tap.folder, "hit")
        clock = {"FAULT_NOW": str(hour.now // SECOND), "FAULT_LEAP": "20" if hour.tls else "500"}
        fault = {"crash": {"FAULT_CRASH": hour.at_call}, "full": {"FAULT_SPACE": str(hour.space)}}
        return clock | fault.get(hour.kind, {}) | {"FAULT_HIT": str(hour.hit)}

    def start(self, hour):
        """Runs the tap: the run, the lines that came, and the state that is left."""
        config = hour.config | {"base_url": self.api.url(hour)}
        if hour.tls:
            config["ca_file"] = str(segment.certificates() / "root.pem")
        words = ["--select", ",".join(hour.selected), "--log-level", "warning"]
        output, state = Path(self.tap.folder, f"out-{hour.number}"), Path(self.tap.folder, "state.json")
        files = {}
        if hour.to_files:
            words += ["--output", str(output), "--state-file", str(state)]
            state.unlink(missing_ok=True)
            if self.state:
                state.write_text(json.dumps(self.state))
        else:
            files["state"] = self.state
        process = self.tap.start(*self.tap.arguments(*words, config=config, **files), env=self.environment(hour))
        with process:
            hour.process = process
            result = self.finish(hour, process)
        self.tap.runs.clear()
        if not hour.to_files:
            return result, result.stdout.decode().split("\n")[:-1], None
        lines = output.read_text().split("\n")[:-1] if output.exists() else []
        output.unlink(missing_ok=True)
        Path(f"{output}.part").unlink(missing_ok=True)
        return result, lines, json.loads(state.read_text()) if state.exists() else None

    def finish(self, hour, process):
        """Waits for the run's end; a target may go before."""
        if hour.kind != "deaf" or hour.to_files:
            return self.tap.finish(process)
        head = singer.first_lines(process, hour.at_line)
        process.stdout.close()
        process.stdout = None
        result = self.tap.finish(process, head)
        lines = result.stdout.splitlines(True)
        if len(lines) >= hour.at_line:  # what followed was lost in the pipe, if it was written at all
            hour.notes["deaf"].add("the target")
            result.stdout = b"".join(lines[: hour.at_line])
        return result


def setting(name, usual):
    """A number from the environment."""
    return int(os.environ.get(name) or usual)


def tell(sender, seed, days):
    """Plays one world in a process of its own."""
    for check in Season(seed, days).play():
        sender.send(check)


def play(jobs, at_once):
    """The checks of all worlds as they come, some worlds at a time."""
    fork, waiting, playing = multiprocessing.get_context("fork"), list(jobs), {}
    while waiting or playing:
        while waiting and len(playing) < at_once:
            receiver, sender = fork.Pipe(duplex=False)
            playing[receiver] = fork.Process(target=tell, args=(sender, *waiting.pop(0)))
            playing[receiver].start()
            sender.close()
        for receiver in multiprocessing.connection.wait(playing):
            try:
                yield receiver.recv()
            except EOFError:
                process = playing.pop(receiver)
                process.join()
                if process.exitcode:
                    yield False, "a world is played to its end", [f"exit {process.exitcode}"]


def report(number, passed, name, why):
    """A line of TAP, and the reasons of a failure."""
    print(f"{'' if passed else 'not '}ok {number} - {name}")
    print("".join(f"# {line[:2000]}\n" for text in why if not passed for line in text.splitlines()), end="")
    sys.stdout.flush()


def main():
    """Plays the worlds, some at a time, and prints their checks."""
    days, worlds, seed = setting("DAYS", 90), setting("WORLDS", 10), setting("SEED", 1)
    number = failed = 0
    unmet = set(MET)
    segment.certificates()
    for passed, name, why in play([(seed + i, days) for i in range(worlds)], setting("JOBS", os.cpu_count())):
        if passed is None:  # the end of a world, and what it did not meet
            unmet &= set(why)
            print(f"# {name}", flush=True)
            continue
        number += 1
        failed += not passed
        report(number, passed, name, why)
    if days >= ENOUGH:
        number += 1
        failed += bool(unmet)
        report(number, not unmet, "every kind of trouble was met", sorted(unmet))
    segment.remove_certificates()
    print(f"1..{number}")
    return 1 if failed or not number else 0


if __name__ == "__main__":
    sys.exit(main())
