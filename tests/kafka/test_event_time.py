"""Where the event time comes from, in every unit, which forms of it are refused, and what is late."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from flink_jobs.testing import Broker, JobHarness, Outcome, Results, record
from tests.helpers.samples import write_model

NOW = 1_767_225_600_000
HOUR = 3_600_000
PARTITIONS = 2
JOB = """
job: event-time
source:
  topic: events
  event_time: {HOW, out_of_order: 5s}
  schema: {id: {type: long, required: true}, x: {type: double, required: true}AT}
model: {name: m, registry: models}
predictions: {include: [id]}
runtime: {parallelism: 2, checkpoint: {interval: 1s}}
"""


class Case(NamedTuple):
    """A written event time, and the event time that it has in ms, or why there is none, or `late`."""

    written: object
    expected: int | str


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("event-time")
    write_model(base / "models", "m", "x")
    return base


def found(results: Results) -> dict[int, int | str]:
    """For each record by id its event time, its reason as a dead letter, or `late`."""
    outcomes: dict[int, int | str] = {p.json["id"]: _ms(p) for p in results.predictions}
    outcomes |= {dead.json["id"]: dead.reason for dead in results.dead_letters}
    return outcomes | {late.json["id"]: "late" for late in results.late}


def _ms(prediction: Outcome) -> int:
    return round(datetime.fromisoformat(prediction.json["event_time"]).timestamp() * 1000)


def check(results: Results, partitions: Sequence[Sequence[Case]]) -> None:
    results.accounts()
    cases = [case for partition in partitions for case in partition]
    made = found(results)
    wrong = [
        (case, made.get(number)) for number, case in enumerate(cases) if made.get(number) != case.expected
    ]
    assert wrong == []


def run(broker: Broker, base: Path, how: str, partitions: Sequence[Sequence[Case]], **more: Any) -> Results:
    """Each case in a field `at`, or in a header of that name."""
    kind = "string" if "iso8601" in how else "long"
    at = f", at: {{type: {kind}, required: true}}" if "field" in how else ""
    rows, number = [], 0
    for partition, cases in enumerate(partitions):
        for case in cases:
            value: dict[str, Any] = {"id": number, "x": 1.0}
            headers = None
            if "header" in how and case.written is not None:
                headers = {"at": str(case.written).encode()}
            elif "field" in how:
                value["at"] = case.written
            rows.append(record(value, headers=headers, timestamp=NOW, partition=partition))
            number += 1
    return JobHarness(broker, partitions=PARTITIONS).run(
        JOB.replace("HOW", how).replace("AT", at), rows, base=base
    )


LATENESS = [
    Case(NOW, NOW),
    Case(NOW + 10_000, NOW + 10_000),
    Case(NOW + 10_000, NOW + 10_000),
    Case(NOW + 5_000, NOW + 5_000),
    Case(NOW + 4_999, "late"),
    Case(NOW - 20 * HOUR, "late"),
    Case(NOW + HOUR + 1, "event_time_ahead"),
    Case(NOW + 5_001, NOW + 5_001),
    Case(NOW + HOUR, NOW + HOUR),
    Case(NOW + HOUR - 5_000, NOW + HOUR - 5_000),
    Case(NOW + HOUR - 5_001, "late"),
]
BEHIND = [Case(at - 10 * HOUR, at - 10 * HOUR) for at in range(NOW, NOW + 5_000, 1_000)]


def test_milliseconds_in_a_field_and_what_is_late(broker: Broker, base: Path) -> None:
    """A partition that is 10 hours behind the other is not late."""
    check(run(broker, base, "field: at", [LATENESS, BEHIND]), [LATENESS, BEHIND])


def test_a_header(broker: Broker, base: Path) -> None:
    good = [Case(NOW, NOW), Case(NOW + HOUR, NOW + HOUR), Case(NOW + HOUR - 6_000, "late")]
    none: list[object] = [None, "", "soon", "1.5e3s", "\u00ff", NOW + HOUR + 1, -1, 10**30]
    bad = [Case(written, "event_time_unparsable") for written in none]
    check(run(broker, base, "header: at", [bad + good, bad]), [bad + good, bad])


def test_seconds(broker: Broker, base: Path) -> None:
    seconds = NOW // 1000
    # times 1000 and cut to 64 bits this is about now
    wrapped = next((NOW - k * 2**64) // 1000 for k in range(1, 1001) if (NOW - k * 2**64) % 1000 == 0)
    good = [Case(seconds, NOW), Case(seconds + 1, NOW + 1_000), Case(1, "late"), Case(seconds - 5, "late")]
    ahead = [NOW, 10**15, 2**63 - 1, -1, -(2**63), wrapped, 0]
    bad = [Case(written, "event_time_ahead") for written in ahead] + [Case(seconds + 0.5, "wrong_type")]
    check(run(broker, base, "field: at, unit: s", [bad + good, bad]), [bad + good, bad])


def test_microseconds(broker: Broker, base: Path) -> None:
    micros = NOW * 1000
    good = [Case(micros, NOW), Case(micros + 1_999, NOW + 1), Case(1_000, 1)]
    ahead = [2**63 - 1, -1, -(2**63), 0, 999, (NOW + HOUR + 1) * 1000]
    bad = [Case(written, "event_time_ahead") for written in ahead]
    check(
        run(broker, base, "field: at, unit: us", [bad + good[:2], good[2:] + bad]),
        [bad + good[:2], good[2:] + bad],
    )


ISO_GOOD = [
    Case("2026-01-01T00:00:00", NOW),
    Case("2026-01-01 00:00:00", NOW),
    Case("2026-01-01T00:00:00Z", NOW),
    Case("2026-01-01 00:00:00Z", NOW),
    Case("2026-01-01T00:00:01.5", NOW + 1_500),
    Case("2026-01-01T00:00:01.5Z", NOW + 1_500),
    Case("2026-01-01 00:00:01.125", NOW + 1_125),
    Case("2026-01-01T00:00:01.125999Z", NOW + 1_125),
    Case("2026-01-01T00:00:01.123456789", NOW + 1_123),
    Case("2026-01-01T01:00:00Z", NOW + HOUR),
    Case("2026-01-01T00:59:54.999Z", "late"),
]
ISO_BAD = [
    *("", "now", "2026-01-01", "2026-01-01T00:00", "20260101T000000Z", "2026-1-1T0:0:0", "26-01-01T00:00:00"),
    *("2026-13-01T00:00:00", "2026-00-01T00:00:00", "2026-01-32T00:00:00", "2026-02-30T00:00:00"),
    *("2026-01-01T24:00:00", "2026-01-01T00:60:00", "2026-01-01T00:00:60", "2026-01-01TT00:00:00"),
    *("2026-01-01T00:00:00+01:00", "2026-01-01T00:00:00z", "2026-01-01t00:00:00", "2026-01-01T00:00:00ZZ"),
    *(
        " 2026-01-01T00:00:00",
        "2026-01-01T00:00:00 ",
        "2026-01-01  00:00:00",
        "2026-01-01T00:00:00.",
        "T",
        "Z",
    ),
    *("2026-01-01T00:00:00.1234567890", "-2026-01-01T00:00:00", "+12026-01-01T00:00:00", str(NOW)),
    *("２０２６-01-01T00:00:00", "2026-02-29T00:00:00", "2026-01-01T00:00:00\n"),
]


ISO_AHEAD = ["2026-01-01T01:00:00.001Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z"]


def test_iso_8601(broker: Broker, base: Path) -> None:
    bad = [Case(written, "event_time_unparsable") for written in ISO_BAD]
    bad += [Case(written, "event_time_ahead") for written in ISO_AHEAD]
    bad += [Case(NOW, "wrong_type"), Case(None, "null")]
    check(run(broker, base, "field: at, unit: iso8601", [bad + ISO_GOOD, bad]), [bad + ISO_GOOD, bad])


def test_iso_8601_in_a_header(broker: Broker, base: Path) -> None:
    """Like a field, but for a fraction without digits."""
    written = [text for text in [*ISO_BAD, *ISO_AHEAD, None] if text != "2026-01-01T00:00:00."]
    bad = [Case(text, "event_time_unparsable") for text in written]
    check(run(broker, base, "header: at, unit: iso8601", [bad + ISO_GOOD, bad]), [bad + ISO_GOOD, bad])


IDLE_JOB = """
job: idle
score: per_window
source:
  topic: readings
  event_time: {out_of_order: 0s, idle: 1s}
  schema: {site: {type: string, required: true}}
features: {windows: {w: {by: site, tumble: 1m, select: {x: count(*)}}}}
model: {name: m, registry: models}
runtime: {checkpoint: {interval: 500ms}}
"""


def test_a_silent_partition_does_not_hold_windows_open(broker: Broker, base: Path) -> None:
    """The topic does not end, so only the watermark closes windows; the second partition never speaks."""
    rows = [
        record({"site": "a"}, timestamp=NOW + second * 1_000, partition=0) for second in range(0, 150, 10)
    ]
    results = JobHarness(broker, partitions=PARTITIONS).run(IDLE_JOB, rows, until=2, base=base)
    closed = [(p.json["window_start"], p.json["records"]) for p in results.predictions]
    assert sorted(closed) == [("2026-01-01T00:00:00.000Z", 6), ("2026-01-01T00:01:00.000Z", 6)]
    assert (results.dead_letters, results.late) == ([], [])


def test_a_clock_that_is_ahead_in_the_kafka_timestamp_makes_nothing_late(broker: Broker, base: Path) -> None:
    """A producer two hours ahead, and one in the year 9999; those within the hour are taken as they are."""
    now = int(time.time() * 1000)
    ahead = [now + 2 * HOUR, 253_402_300_799_999]
    good = [now, now + 10_000, now + 5_000, now + HOUR // 2]
    cases = [Case(None, at) for at in good[:2]] + [Case(None, "event_time_ahead")] * len(ahead)
    cases += [Case(None, at) for at in good[2:]] + [Case(None, "late")]
    times = [*good[:2], *ahead, *good[2:], now + HOUR // 2 - 5_001]
    rows = [record({"id": number, "x": 1.0}, timestamp=at, partition=0) for number, at in enumerate(times)]
    job = JOB.replace("HOW, ", "").replace("AT", "")
    check(JobHarness(broker).run(job, rows, base=base), [cases])


def test_a_clock_that_is_ahead_in_the_payload_and_in_kafka_too(broker: Broker, base: Path) -> None:
    """The Kafka timestamp says that the event time is right, and both are wrong."""
    now = int(time.time() * 1000)
    cases = [Case(now, now), Case(now + 24 * HOUR, "event_time_ahead"), Case(now + 1, now + 1)]
    rows = [
        record({"id": number, "x": 1.0, "at": case.written}, timestamp=case.written, partition=0)  # type: ignore[arg-type]
        for number, case in enumerate(cases)
    ]
    job = JOB.replace("HOW", "field: at").replace("AT", ", at: {type: long, required: true}")
    check(JobHarness(broker).run(job, rows, base=base), [cases])
