"""What windows may still hold, against a walk through all that was predicted, and event times of any form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.kafka import Record
from flink_jobs.reports.accounts import Accounts, event_time_of
from flink_jobs.reports.held import AT_ONCE, Passed, event_times
from udfs.records.event_time import EventTimeField
from udfs.times import iso

NOW = 1_767_225_600_000
predicted = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


@given(predicted, st.integers(0, 30), st.integers(0, 30))
def test_what_a_later_prediction_has_passed_is_held_by_nothing(
    found: list[tuple[int, int]], offset: int, time: int
) -> None:
    """The adversary is a record that was lost amid others, in whatever order outputs are read."""
    passed = Passed()
    for each in found:
        passed.add(*each)
    assert passed.has(offset, time) == any(o > offset and t >= time for o, t in found)


def record(value: bytes | None, *headers: tuple[str, bytes | None]) -> Record:
    return Record(value, None, [*headers], 0, 0, NOW)


@pytest.mark.parametrize(
    ("where", "value", "headers", "time"),
    [
        (None, b"anything", (), NOW),
        (EventTimeField("at", "ms"), b'{"at": 5}', (), 5),
        (EventTimeField("at", "s"), b'{"at": 5}', (), 5_000),
        (EventTimeField("at", "us"), b'{"at": 5999}', (), 5),
        (EventTimeField("at", "iso8601"), f'{{"at": "{iso(NOW)}"}}'.encode(), (), NOW),
        (EventTimeField("at", "ms", path="x.y"), b'{"x": {"y": 7}}', (), 7),
        (EventTimeField("at", "ms", path="a.at", others=("b.at",)), b'{"b": {"at": 8}}', (), 8),
        (EventTimeField("at", "ms", header=True), None, (("at", b"9"),), 9),
        (EventTimeField("at", "iso8601", header=True), None, (("at", iso(NOW).encode()),), NOW),
        (EventTimeField("at", "ms"), b'{"at": "5"}', (), AT_ONCE),
        (EventTimeField("at", "ms"), b'{"at": true}', (), AT_ONCE),
        (EventTimeField("at", "ms"), b"oops", (), AT_ONCE),
        (EventTimeField("at", "ms"), b"[]", (), AT_ONCE),
        (EventTimeField("at", "ms"), None, (), AT_ONCE),
        (EventTimeField("at", "iso8601"), b'{"at": "2026-02-30T00:00:00Z"}', (), AT_ONCE),
        (EventTimeField("at", "ms"), b'{"at": %d}' % (NOW + 60_001), (), AT_ONCE),
        (EventTimeField("at", "ms", header=True), None, (), AT_ONCE),
        (EventTimeField("at", "ms", header=True), None, (("at", b"\xff"),), AT_ONCE),
        (EventTimeField("at", "ms", event="data"), b"{}", (), None),
    ],
)
def test_event_times_are_those_that_the_job_sees(
    where: EventTimeField | None,
    value: bytes | None,
    headers: tuple[tuple[str, bytes | None], ...],
    time: int | None,
) -> None:
    assert event_times(where, 60_000, "json")(record(value, *headers)) == time


@given(st.binary() | st.dictionaries(st.just("at"), st.integers() | st.text() | st.none()))
def test_no_record_raises(value: object) -> None:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    for field in (EventTimeField("at", "ms"), EventTimeField("at", "iso8601")):
        event_times(field, 60_000, "json")(record(raw))


def test_of_other_formats_nothing_is_said() -> None:
    assert event_times(EventTimeField("at", "ms"), 60_000, "csv")(record(b'{"at": 5}')) is None


def test_a_prediction_passes_only_records_of_its_partition_and_topic() -> None:
    accounts = Accounts({0: (0, 9), 1: (0, 9)}, "t")
    told = {"topic": "t", "partition": 1, "offset": 7, "event_time": iso(NOW)}
    assert event_time_of(record(json.dumps(told).encode())) == NOW
    assert event_time_of(record(b"oops")) is None
    assert event_time_of(record(b'{"event_time": "oops"}')) is None
    accounts.pass_by(("t", 1, 7), NOW)
    accounts.pass_by(("elsewhere", 0, 7), NOW)
    assert [accounts.partitions[number].passed.has(3, NOW) for number in range(2)] == [False, True]
    accounts.partitions[1].settle([3, 8], {8})
    assert (accounts.partitions[1].missing, accounts.partitions[1].waiting) == ([3], [8])
