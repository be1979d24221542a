"""Where the event time comes from, in every unit, which forms of it are refused, and what is late."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.run.jvm import apart_gateway
from flink_jobs.testing import Broker, JobHarness, Message, Outcome, Results, record
from tests.helpers.samples import write_model
from udfs.scoring.checker import RecordChecker
from udfs.scoring.params import ScoreParams

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


def job_text(how: str, brokers: str = "") -> str:
    kind = "string" if "iso8601" in how else "long"
    at = f", at: {{type: {kind}, required: true}}" if "field" in how else ""
    return JOB.replace("HOW", how).replace("AT", at) + (
        f"kafka: {{brokers: '{brokers}'}}\n" if brokers else ""
    )


def messages(
    how: str,
    cases: Sequence[Case],
    partition: int = 0,
    first: int = 0,
    said: Callable[[Case], bool] = lambda _: False,
) -> Iterator[Message]:
    """Each case in a field `at`, or in a header of that name; Kafka has its time where `said`, else NOW."""
    for number, case in enumerate(cases, first):
        value: dict[str, Any] = {"id": number, "x": 1.0}
        headers = None
        if "header" in how and case.written is not None:
            headers = {"at": str(case.written).encode()}
        elif "field" in how:
            value["at"] = case.written
        at = case.written if said(case) and isinstance(case.written, int) else NOW
        yield record(value, headers=headers, timestamp=at, partition=partition)


def run(
    broker: Broker,
    base: Path,
    how: str,
    partitions: Sequence[Sequence[Case]],
    said: Callable[[Case], bool] = lambda _: False,
) -> Results:
    rows: list[Message] = []
    for partition, cases in enumerate(partitions):
        rows += messages(how, cases, partition, len(rows), said)
    return JobHarness(broker, partitions=PARTITIONS).run(job_text(how), rows, base=base)


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
    """A partition that is 10 hours behind the other is not late.

    In the end its producer's clock is ahead: the Kafka timestamp says that the event time is right, and both
    are wrong.
    """
    now = int(time.time() * 1000)
    ahead = [Case(now, now), Case(now + 24 * HOUR, "event_time_ahead"), Case(now + 1, now + 1)]
    partitions = [LATENESS, [*BEHIND, *ahead]]
    check(run(broker, base, "field: at", partitions, said=lambda case: case in ahead), partitions)


def seconds() -> list[Case]:
    seconds = NOW // 1000
    # times 1000 and cut to 64 bits this is about now
    wrapped = next((NOW - k * 2**64) // 1000 for k in range(1, 1001) if (NOW - k * 2**64) % 1000 == 0)
    good = [Case(seconds, NOW), Case(seconds + 1, NOW + 1_000), Case(1, 1_000)]
    ahead = [NOW, 10**15, 2**63 - 1, -1, -(2**63), wrapped, 0]
    return good + [Case(at, "event_time_ahead") for at in ahead] + [Case(seconds + 0.5, "wrong_type")]


def microseconds() -> list[Case]:
    micros = NOW * 1000
    good = [Case(micros, NOW), Case(micros + 1_999, NOW + 1), Case(1_000, 1)]
    ahead = [2**63 - 1, -1, -(2**63), 0, 999, (NOW + HOUR + 1) * 1000]
    return good + [Case(written, "event_time_ahead") for written in ahead]


def header() -> list[Case]:
    none: list[object] = [None, "", "soon", "1.5e3s", "\u00ff", NOW + HOUR + 1, -1, 10**30]
    good = [Case(NOW, NOW), Case(NOW + HOUR, NOW + HOUR)]
    return good + [Case(written, "event_time_unparsable") for written in none]


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
]
ISO_LATE = Case("2026-01-01T00:59:54.999Z", "late")
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


def iso_8601() -> list[Case]:
    bad = [Case(written, "event_time_unparsable") for written in ISO_BAD]
    bad += [Case(written, "event_time_ahead") for written in ISO_AHEAD]
    return [*bad, Case(NOW, "wrong_type"), Case(None, "null"), *ISO_GOOD]


UNITS = {
    "field: at, unit: s": seconds(),
    "field: at, unit: us": microseconds(),
    "field: at, unit: iso8601": iso_8601(),
    "header: at": header(),
}


def test_every_unit_is_read_by_flink_and_judged_by_workers(base: Path) -> None:
    """The SQL of four jobs' event times in one query of Flink's, and what a worker says of what comes out.

    The jobs beside show that these two halves are those of a job, and who is late.
    """
    plans = {how: make_plan(load_job_text(job_text(how, "a:1"), "job.yaml", base, {})) for how in UNITS}
    for how, read in read_by_flink(plans).items():
        (function,) = plans[how].views.functions.values()
        values = [message.value for message in messages(how, UNITS[how])]
        assert isinstance(function.params, ScoreParams)
        checker = RecordChecker(function.params.source)
        outcomes, _ = checker.extract(values, np.array(read), np.zeros(len(read), dtype=bool))
        problems = [json.loads(problem)["reason"] if problem else "" for problem in outcomes.problem]
        cases = zip(UNITS[how], problems, read, strict=True)
        assert [(case, made) for case, why, at in cases if (made := why or at) != case.expected] == [], how


def _as_java(value: Any) -> Any:
    """PyFlink takes no bytes for Java's."""
    if isinstance(value, dict):
        return {name: _as_java(each) for name, each in value.items()}
    return bytearray(value) if isinstance(value, bytes) else value


SENT = DataTypes.ROW(
    [
        DataTypes.FIELD("row", DataTypes.INT()),
        DataTypes.FIELD("_value", DataTypes.BYTES()),
        DataTypes.FIELD("_headers", DataTypes.MAP(DataTypes.STRING(), DataTypes.BYTES())),
        DataTypes.FIELD("stamped", DataTypes.BIGINT()),
    ]
)


def read_by_flink(plans: Mapping[str, Plan]) -> dict[str, list[int]]:
    """The event time, in ms, that each plan's source would have for each of its cases."""
    apart_gateway()
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    selects = []
    for number, (how, plan) in enumerate(plans.items()):
        for key, value in plan.options.items():
            if key.startswith("table."):
                tables.get_config().set(key, value)
        sent = [
            (row, *map(_as_java, (message.value, dict(message.headers), message.timestamp)))
            for row, message in enumerate(messages(how, UNITS[how]))
        ]
        tables.create_temporary_view(f"sent_{number}", tables.from_elements(sent, SENT))
        (computed,) = (each for each in plan.tables[0].columns if each.startswith("event_time AS "))
        source = f"(SELECT *, TO_TIMESTAMP_LTZ(stamped, 3) AS _timestamp FROM sent_{number})"
        time = computed.removeprefix("event_time AS ")
        selects.append(f"SELECT {number}, `row`, CAST({time} AS TIMESTAMP(3)) FROM {source}")
    found: dict[str, list[int]] = {how: [0] * len(cases) for how, cases in UNITS.items()}
    with tables.execute_sql(" UNION ALL ".join(selects)).collect() as rows:
        for number, row, time in rows:
            found[list(plans)[number]][row] = round(time.replace(tzinfo=UTC).timestamp() * 1000)
    return found


def test_iso_8601_in_a_header(broker: Broker, base: Path) -> None:
    """Like a field, but for a fraction without digits."""
    written = [text for text in [*ISO_BAD, *ISO_AHEAD, None] if text != "2026-01-01T00:00:00."]
    bad = [Case(text, "event_time_unparsable") for text in written]
    partitions = [[*bad, *ISO_GOOD, ISO_LATE], bad]
    check(run(broker, base, "header: at, unit: iso8601", partitions), partitions)


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
