"""Every kind of bad record through a real broker: each ends in its place, whole, and harms no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from flink_jobs.testing import Broker, JobHarness, Message, Outcome, Results
from tests.helpers import models

JOB = """
job: payments
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 10m, max_ahead: 1h}
  schema:
    id: {type: long, required: true}
    account: {type: string, required: true}
    amount: {type: double, required: true, range: [0, 1000]}
    weight: {type: double, required: true}
    method: {type: string, values: [card, cash]}
    country: {type: string, required: true}
    at: {type: long, required: true}
features:
  windows:
    recent: {by: account, over: 12h, select: {n: count(*), total: sum(amount)}}
    latest: {by: account, rows: 1, select: {before: "lag(id, 1)"}}
  derive: {share: amount / weight}
model: {name: fraud, registry: models}
predictions: {include: [id, n, total, share, before]}
runtime: {parallelism: 2, checkpoint: {interval: 1s}}
"""
PARTITIONS = 2
NOW = 1_767_225_600_000
HOUR, CENTURY = 3_600_000, 100 * 365 * 86_400_000
LARGEST = 1_048_588 - 400
# Whole numbers that no float holds: ids just below the largest long, and one in a column of doubles.
FAR, BEYOND = 2**63 - 1 - 500, 2**53 + 1


@dataclass(frozen=True)
class Case:
    """A record and what has to become of it: its stage and reason, ("late", "") or ("predicted", "")."""

    name: str
    value: bytes | None
    stage: str
    reason: str
    key: bytes | None = b"key"
    headers: tuple[tuple[str, bytes | None], ...] = ()


def payment(**changes: Any) -> bytes:
    """A good record with changes; the field that is ... is left out."""
    fields = {
        "id": 1,
        "at": NOW,
        "account": "a",
        "amount": 2.0,
        "weight": 4.0,
        "method": "card",
        "country": "nl",
    }
    return json.dumps(
        {name: value for name, value in (fields | changes).items() if value is not ...}
    ).encode()


def edited(old: str, new: str) -> bytes:
    """A good record in which a piece of text is replaced."""
    good = payment().decode()
    assert old in good
    return good.replace(old, new).encode()


def cases() -> Iterator[Case]:
    yield from decode_cases()
    yield from contract_cases()
    yield from event_time_cases()
    yield Case("divides by zero", payment(weight=0.0), "feature", "not_finite")
    yield Case("divides zero by zero", payment(amount=0.0, weight=0.0), "feature", "not_finite")
    yield Case("the model raises", payment(country="atlantis"), "inference", "model_error")
    yield Case("late by an hour", payment(at=NOW - HOUR), "late", "")
    yield Case("late and wrong", payment(at=NOW - HOUR, amount="x"), "late", "")
    yield Case("late without a key", payment(at=NOW - HOUR), "late", "", key=None)
    yield Case("late with headers", payment(at=NOW - HOUR), "late", "", headers=(("trace", b"\x00\xff"),))


def decode_cases() -> Iterator[Case]:
    def bad(name: str, value: bytes | None, reason: str, **more: Any) -> Case:
        return Case(name, value, "decode", reason, **more)

    padding = LARGEST - len(payment(note=""))
    yield bad("tombstone", None, "tombstone")
    yield bad("tombstone without a key", None, "tombstone", key=None)
    yield bad("empty", b"", "empty")
    yield bad("blank", b" \n\t ", "empty")
    yield bad("not JSON", b"oops", "not_json")
    yield bad("not JSON, headers", b"oops", "not_json", headers=(("trace", b"\x00\xff"), ("none", b"")))
    yield bad("not JSON, our headers", b"oops", "not_json", headers=(("tailrace.job", b"another"),))
    yield bad("not JSON, no key", b"oops", "not_json", key=None)
    yield bad("not JSON, empty key", b"oops", "not_json", key=b"")
    yield bad("not JSON, binary key", b"\x00\x01oops", "not_json", key=b"\xff\x00\xfe")
    yield bad("cut off", payment()[:-1], "not_json")
    yield bad("two documents", payment() + payment(), "not_json")
    yield bad("two lines", payment() + b"\n" + payment(), "not_json")
    yield bad("byte order mark", b"\xef\xbb\xbf" + payment(), "not_json")
    yield bad("NaN outside of the contract", payment(other=float("nan")), "not_json")
    yield bad("array", b"[" + payment() + b"]", "not_an_object")
    yield bad("number", b"3", "not_an_object")
    yield bad("null", b"null", "not_an_object")
    yield bad("invalid UTF-8", payment().replace(b"card", b"c\xffrd"), "invalid_utf8")
    yield bad("half a surrogate pair", edited('"nl"', '"\\ud800"'), "invalid_utf8")
    yield bad("1 MB", payment(note="x" * padding), "too_large")
    yield bad("1,000 levels", edited('"nl"', '"nl","x":' + "[" * 1_000 + "]" * 1_000), "too_deep")
    yield bad("20,000 levels", b'{"x":' * 20_000 + payment() + b"}" * 20_000, "too_deep")
    yield bad("duplicate key", edited('"nl"', '"nl","amount":3.0'), "duplicate_key")
    yield bad("duplicate event time", edited('"nl"', f'"nl","at":{NOW + 2 * HOUR}'), "duplicate_key")


def contract_cases() -> Iterator[Case]:
    def bad(reason: str, **changes: Any) -> Case:
        return Case(f"{reason} {changes!r}", payment(**changes), "contract", reason)

    yield bad("missing", amount=...)
    yield bad("null", amount=None)
    yield bad("missing", account=...)
    yield bad("wrong_type", amount="2.0")
    yield bad("wrong_type", amount=True)
    yield bad("wrong_type", amount=[2.0])
    yield bad("wrong_type", id=1.0)
    yield bad("wrong_type", id=2**63)
    yield bad("wrong_type", account=3)
    yield bad("wrong_type", account={"x": 1})
    yield bad("not_finite", amount=float("nan"))
    yield bad("not_finite", amount=float("-inf"))
    yield Case("1e999", edited("2.0", "1e999"), "contract", "not_finite")
    yield bad("out_of_range", amount=1000.1)
    yield bad("out_of_range", amount=-1e300)
    yield bad("not_in_values", method="crypto")


def event_time_cases() -> Iterator[Case]:
    def bad(reason: str, value: object) -> Case:
        return Case(f"event time {value!r}", payment(at=value), "contract", reason)

    yield bad("missing", ...)
    yield bad("null", None)
    yield bad("wrong_type", "yesterday")
    yield bad("wrong_type", str(NOW))
    yield bad("wrong_type", NOW + 0.5)
    yield bad("wrong_type", [NOW])
    yield bad("wrong_type", 10**30)
    yield bad("event_time_ahead", NOW + CENTURY)
    yield bad("event_time_ahead", 2**63 - 1)
    yield bad("event_time_ahead", NOW * 1_000)
    yield bad("event_time_ahead", NOW + 2 * HOUR)
    yield bad("event_time_ahead", -1)
    yield bad("event_time_ahead", -(2**63))
    yield bad("event_time_ahead", 0)


def good(partition: int, number: int) -> Case:
    """With and without key and headers; the event times of a partition rise by a second each."""
    changes = {"id": FAR + number, "at": NOW + number * 1_000, "account": f"account-{partition}"}
    changes["weight"] = BEYOND if number % 4 == 1 else 4.0
    key = None if number % 5 == 0 else b"k%d" % number
    headers = (("trace", b"%d" % number),) if number % 3 == 0 else ()
    return Case("good", payment(**changes, amount=float(number)), "predicted", "", key, headers)


def sequence(partition: int) -> list[Case]:
    """A bad record between each two good ones."""
    found = [good(partition, 0)]
    for number, bad in enumerate(cases(), start=1):
        found += [bad, good(partition, number)]
    return found


FED = {(p, offset): case for p in range(PARTITIONS) for offset, case in enumerate(sequence(p))}
BAD = [(place, case) for place, case in FED.items() if case.stage != "predicted"]


@pytest.fixture(scope="module")
def results(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Results:
    base = tmp_path_factory.mktemp("bad-input")
    inputs = pa.table({"amount": [1.0, 2.0, 3.0], "share": [1.0, 0.5, 2.0], "country": ["nl", "be", "nl"]})
    encode = make_column_transformer((OneHotEncoder(), ["country"]), remainder="passthrough")
    models.write(
        base / "models", "fraud", make_pipeline(encode, LogisticRegression()), inputs, [0, 1, 1], "binary"
    )
    rows = [
        Message(case.value, case.key, case.headers, timestamp=NOW, partition=partition)
        for (partition, _), case in FED.items()
    ]
    return JobHarness(broker, partitions=PARTITIONS).run(JOB, rows, base=base)


def at(outcomes: Any, place: tuple[int, int]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.origin == place]


@pytest.mark.parametrize(("place", "case"), BAD, ids=[f"{case.name}-{place[0]}" for place, case in BAD])
def test_a_bad_record_is_kept_whole_with_its_reason(
    results: Results, place: tuple[int, int], case: Case
) -> None:
    [kept] = at(results.late if case.stage == "late" else results.dead_letters, place)
    assert kept.value == case.value
    assert kept.key == case.key
    assert {name: value for name, value in kept.headers.items() if not name.startswith("tailrace.")} == {
        name: value for name, value in case.headers if not name.startswith("tailrace.")
    }
    assert (kept.header("job"), kept.header("topic")) == (results.job.job, results.job.source.topic)
    assert kept.header("timestamp") == "2026-01-01 00:00:00.000"
    if case.stage != "late":
        assert (kept.stage, kept.reason) == (case.stage, case.reason)
        assert kept.header("message")
        assert kept.header("model") == ("fraud/1" if case.stage == "inference" else "")


def test_each_record_has_one_outcome(results: Results) -> None:
    stages = [case.stage for case in FED.values()]
    predicted, late = stages.count("predicted"), stages.count("late")
    dead = len(stages) - predicted - late
    assert results.accounts() == {"read": len(FED), "predicted": predicted, "dead": dead, "late": late}


def test_good_neighbours_are_predicted_as_if_alone(results: Results) -> None:
    """So no bad record moved the watermark, else those after it were late, and none got into a window."""
    for partition in range(PARTITIONS):
        total = 0.0
        places = [place for place, case in FED.items() if place[0] == partition and case.stage == "predicted"]
        for number, place in enumerate(places):
            [made] = at(results.predictions, place)
            total += number
            share = number / (2.0**53 if number % 4 == 1 else 4.0)
            before = FAR + number - 1 if number else None
            expected = {"id": FAR + number, "n": number + 1, "total": total, "share": share, "before": before}
            assert {name: made.json[name] for name in expected} == expected
            assert made.key == FED[place].key
