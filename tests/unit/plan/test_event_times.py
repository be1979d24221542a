"""Event times of records of any format, against who breaks them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import Record
from flink_jobs.plan.event_times import AT_ONCE, EventTimes
from udfs.times import iso

NOW = 1_767_225_600_000
NOON = iso(NOW)
AT = "schema: {at: long, x: double}"
TEXT = "schema: {at: string, x: double}"
MS = "event_time: {field: at, unit: ms}"
ISO = "event_time: {field: at, unit: iso8601}"
NESTED = "schema: {at: {type: long, field: x.y}}"
DEBEZIUM = "envelope: debezium"
EVENT = "envelope: {kind: cloudevents, fields: {at: {type: string, field: time}}}, schema: {x: double}"
EVENTS = {"specversion": "1.0", "id": "1", "source": "/a", "type": "b"}
WHOLE = json.dumps({**EVENTS, "time": NOON, "data": {"x": 1.0}}).encode()
BESIDE = tuple((f"ce_{name}", value.encode()) for name, value in EVENTS.items())
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "x", "type": "double"}]}


def times_of(folder: Path, source: str) -> EventTimes:
    (folder / "r.avsc").write_text(json.dumps(SCHEMA))
    (folder / "r.json").write_text('{"type": "object", "properties": {"at": {"type": "integer"}}}')
    (folder / "r.proto").write_text('syntax = "proto3"; message R { double x = 1; }')
    return EventTimes(
        load_job_text(f"{{job: a, source: {{topic: in, {source}}}, model: {{name: m}}}}", "a", folder)
    )


def record(value: bytes | None, *headers: tuple[str, bytes | None]) -> Record:
    return Record(value, None, [*headers], 0, 0, NOW)


@pytest.mark.parametrize(
    ("source", "value", "headers", "time"),
    [
        (AT, b"anything", (), NOW),
        (f"{AT}, {MS}", b'{"at": 5}', (), 5),
        (f"{AT}, {MS}", b'{"at": 5, "x": "broken"}', (), AT_ONCE),  # dead before it could wait
        (f"{AT}, event_time: {{field: at, unit: s}}", b'{"at": 5}', (), 5_000),
        (f"{AT}, event_time: {{field: at, unit: us}}", b'{"at": 5999}', (), 5),
        (f"{TEXT}, {ISO}", f'{{"at": "{NOON}"}}'.encode(), (), NOW),
        (f"{NESTED}, {MS}", b'{"x": {"y": 7}}', (), 7),
        (f"{AT}, {MS}, {DEBEZIUM}", b'{"op": "c", "after": {"at": 8}}', (), 8),
        (f"{AT}, {MS}, {DEBEZIUM}", b'{"payload": {"op": "c", "after": {"at": 8}}}', (), 8),
        (f"{AT}, {MS}, {DEBEZIUM}", b'{"op": "d", "before": {"at": 8}}', (), AT_ONCE),
        (f"{AT}, event_time: {{header: at, unit: ms}}", None, (("at", b"9"),), 9),
        (f"{AT}, event_time: {{header: at, unit: iso8601}}", None, (("at", NOON.encode()),), NOW),
        (f"{AT}, {MS}", b'{"at": "5"}', (), AT_ONCE),
        (f"{AT}, {MS}", b'{"at": true}', (), AT_ONCE),
        (f"{AT}, {MS}", b"oops", (), AT_ONCE),
        (f"{AT}, {MS}", b"[]", (), AT_ONCE),
        (f"{AT}, {MS}", None, (), AT_ONCE),
        (f"{TEXT}, {ISO}", b'{"at": "2026-02-30T00:00:00Z"}', (), AT_ONCE),
        (f"{AT}, {MS}", b'{"at": %d}' % (NOW + 3_600_001), (), AT_ONCE),
        (f"{AT}, event_time: {{header: at, unit: ms}}", None, (), AT_ONCE),
        (f"{AT}, event_time: {{header: at, unit: ms}}", None, (("at", b"\xff"),), AT_ONCE),
        (f"{EVENT}, {ISO}", WHOLE, STRUCTURED, NOW),
        (f"{EVENT}, {ISO}", b'{"x": 1.0}', (*BESIDE, ("ce_time", NOON.encode())), NOW),
        (f"{EVENT}, {ISO}", b'{"x": 1.0}', BESIDE, AT_ONCE),
        (f"{EVENT}, {ISO}", WHOLE, (), AT_ONCE),
        (f"{AT}, {MS}, format: json_schema, schema_file: r.json", b'{"at": 6}', (), 6),
        (f"{AT}, {MS}, format: json_schema, schema_file: r.json", b'{"at": 6.5}', (), AT_ONCE),
        ("schema: {x: double}, format: avro, schema_file: r.avsc", b"oops", (), NOW),
        (
            "schema: {x: double}, format: avro, schema_file: r.avsc, event_time: {header: at, unit: s}",
            b"oops",
            (("at", b"9"),),
            9_000,
        ),
        (
            "schema: {x: double}, format: protobuf, schema_file: r.proto, event_time: {header: at, unit: s}",
            b"oops",
            (("at", b"9"),),
            9_000,
        ),
        (
            f"{TEXT}, headers: {{tenant: {{type: string, required: true}}}}, {ISO}",
            f'{{"at": "{NOON}"}}'.encode(),
            (("tenant", b"a"),),
            NOW,
        ),
    ],
)
def test_event_times_are_those_that_the_job_sees(
    tmp_path: Path, source: str, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...], time: int
) -> None:
    assert times_of(tmp_path, source).of([record(value, *headers)]) == [time]


def test_records_keep_their_places_among_broken_ones(tmp_path: Path) -> None:
    values = [b"oops", b'{"at": 7}', None, b'{"at": 9}', b"[]"]
    found = times_of(tmp_path, f"{AT}, {MS}").of([record(value) for value in values])
    assert found == [AT_ONCE, 7, AT_ONCE, 9, AT_ONCE]
    assert times_of(tmp_path, f"{AT}, {MS}").of([]) == []


@given(st.lists(st.binary() | st.dictionaries(st.just("at"), st.integers() | st.text() | st.none())))
def test_no_record_raises(tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
    raws = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    for source in (f"{AT}, {MS}", f"{TEXT}, {ISO}", f"{EVENT}, {ISO}"):
        times = times_of(tmp_path_factory.getbasetemp(), source)
        assert len(times.of([record(raw) for raw in raws])) == len(raws)
