"""What the demo sends besides flights: records that are broken, late or dated in the future, of every kind.

    sent = mixed_stream(departures)         # in event-time order, with the wrong ones among them
    sent[0].key, sent[0].value, sent[0].expected

Every stage and reason of udfs/records/problems.py that a record can bring about is here. `model_error` is
not, as this model takes whatever passes the contract, nor `event_time_missing`, as Kafka records have a
timestamp.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pandas as pd

from flink_jobs.demo import flights

SEED = 2013
OF_EACH_KIND = 2
LATE_RECORDS = 8
LATE_DAYS = 75
# Its partition is the only one with records of its reader, so that no other holds the watermark back.
LATE_ORIGIN = "LGA"

Event = dict[str, Any]
Outcome = tuple[str, str]
PREDICTED: Outcome = ("predicted", "")
LATE: Outcome = ("late", "")
_encode = msgspec.json.encode


@dataclass(frozen=True)
class Sent:
    """A record and what should become of it: `PREDICTED`, `LATE`, or a dead letter's (stage, reason)."""

    key: bytes
    value: bytes | None
    expected: Outcome
    headers: tuple[tuple[str, bytes], ...] = ()


Written = tuple[bytes | None, Mapping[str, bytes]]


@dataclass(frozen=True)
class Form:
    """How an event is written, as value and headers, and how one that is wrong in each way."""

    write: Callable[[Event], Written]
    wrong: Mapping[Outcome, Callable[[Event], Written]]


KINDS: dict[Outcome, Callable[[Event], bytes | None]] = {
    ("decode", "tombstone"): lambda _event: None,
    ("decode", "empty"): lambda _event: b"",
    ("decode", "too_large"): lambda event: _encode(event | {"remark": "x" * 1_000_000}),
    ("decode", "invalid_utf8"): lambda event: _encode(event).replace(b'"dest":"', b'"dest":"\xff'),
    ("decode", "not_json"): lambda event: _encode(event)[:-20],
    ("decode", "not_an_object"): lambda event: _encode([event]),
    ("decode", "too_deep"): lambda event: _raw(event, "remark", b"[" * 1000 + b"]" * 1000),
    ("decode", "duplicate_key"): lambda event: _encode(event)[:-1] + b',"origin":"JFK"}',
    ("contract", "missing"): lambda event: _encode({k: v for k, v in event.items() if k != "origin"}),
    ("contract", "null"): lambda event: _encode(event | {"carrier": None}),
    ("contract", "wrong_type"): lambda event: _encode(event | {"dep_delay": "12"}),
    ("contract", "not_finite"): lambda event: _raw(event, "dep_delay", b"NaN"),
    ("contract", "out_of_range"): lambda event: _encode(event | {"dep_delay": 99_999.0}),
    ("contract", "not_in_values"): lambda event: _encode(event | {"origin": "BOS"}),
    ("contract", "event_time_unparsable"): lambda event: _encode(event | {"departed_at": "yesterday"}),
    ("contract", "event_time_ahead"): lambda event: _encode(
        event | {"departed_at": "22" + event["departed_at"][2:]}
    ),
    ("feature", "not_finite"): lambda event: _encode(event | {"scheduled_minutes": 0}),
    ("feature", "feature_error"): lambda event: _encode(event | {"distance": 2**62}),
}


def _raw(event: Event, field: str, text: bytes) -> bytes:
    """The event with a field written as `text`, JSON or not."""
    return _encode(event | {field: "@"}).replace(b'"@"', text)


def _as_json(make: Callable[[Event], bytes | None]) -> Callable[[Event], Written]:
    return lambda event: (make(event), {})


JSON = Form(_as_json(_encode), {outcome: _as_json(make) for outcome, make in KINDS.items()})


def mixed_stream(departures: pd.DataFrame, seed: int = SEED, form: Form = JSON) -> list[Sent]:
    """The departures as records, in order, and after some of them a record that is wrong.

    The same seed gives the same records at the same places.
    """
    values = flights.payloads(departures)
    keys = [origin.encode() for origin in departures["origin"]]
    wrong = dict(_wrong_records(values, keys, random.Random(seed), form))
    stream: list[Sent] = []
    for place, (key, value) in enumerate(zip(keys, values, strict=True)):
        stream.append(_sent(key, form.write(msgspec.json.decode(value)), PREDICTED))
        stream += [wrong[place]] if place in wrong else []
    return stream


def _sent(key: bytes, written: Written, expected: Outcome) -> Sent:
    value, headers = written
    return Sent(key, value, expected, tuple(headers.items()))


def _wrong_records(
    values: list[bytes], keys: list[bytes], chosen: random.Random, form: Form
) -> Iterator[tuple[int, Sent]]:
    """(place, record) pairs; each is made from the flight at that place."""
    kinds = [*form.wrong.items()] * OF_EACH_KIND
    places = chosen.sample(range(len(values) // 2), len(kinds))
    for number, (place, (expected, make)) in enumerate(zip(places, kinds, strict=True)):
        event = msgspec.json.decode(values[place]) | {"flight_id": f"wrong-{number}"}
        yield place, _sent(keys[place], make(event), expected)
    last = range(len(values) * 3 // 4, len(values))
    candidates = [place for place in last if keys[place] == LATE_ORIGIN.encode()]
    for number, place in enumerate(chosen.sample(candidates, LATE_RECORDS)):
        yield place, _sent(keys[place], form.write(_late(values[place], number)), LATE)


def _late(value: bytes, number: int) -> Event:
    """The flight as one that left long before."""
    event: Event = msgspec.json.decode(value)
    departed = pd.Timestamp(event["departed_at"]) - pd.Timedelta(days=LATE_DAYS)
    return event | {"flight_id": f"late-{number}", "departed_at": departed.strftime("%Y-%m-%dT%H:%M:%SZ")}
