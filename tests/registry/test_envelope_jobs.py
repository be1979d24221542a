"""Change events and CloudEvents on real Kafka, by their own event times, to predictions in Avro and Protobuf.

The adversaries are deletes, tombstones and broken events, and times that Flink reads before workers do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.kafka import Message
from flink_jobs.testing import Broker, JobHarness
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry

NOW = 1_767_225_600_000
JOB = """
job: envelopes
source:
  topic: events
  envelope: ENVELOPE
  event_time: {field: at, unit: UNIT}
  schema: {x: {type: double, required: true}}
  key: {fields: {card: {type: string, required: true}}}
model: {name: m, registry: models}
predictions: {format: FORMAT, include: [x, card], schema_registry: {url: "URL"}}
runtime: {checkpoint: {interval: 1s}}
"""


def change(number: int, op: str = "c", **more: Any) -> bytes:
    row = {"x": number}
    event = {"before": None, "after": row, "op": op, "ts_ms": NOW + number, **more}
    return json.dumps(event if number % 2 else {"schema": {}, "payload": event}).encode()


def event(number: int, **more: Any) -> Message:
    time = f"2026-01-01T00:00:00.{number:03}Z"
    attributes = {"specversion": "1.0", "id": f"{number}", "source": "/t", "type": "t", "time": time, **more}
    if number % 2:
        whole = json.dumps({**attributes, "data": {"x": number}}).encode()
        return Message(whole, b"k", (("content-type", b"application/cloudevents+json"),), NOW, 0)
    headers = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
    return Message(b'{"x":%d}' % number, b"k", headers, NOW, 0)


WRITTEN = {"debezium": ("protobuf", "PROTOBUF"), "cloudevents": ("avro", "AVRO")}
CASES: dict[str, tuple[str, str, list[Message], list[str]]] = {
    "debezium": (
        "{kind: debezium, fields: {at: {type: long, required: true, field: ts_ms}}}",
        "ms",
        [
            *(Message(change(n), b"k", (), NOW, 0) for n in range(10)),
            Message(change(10, "d", before={"x": 1}, after=None), b"k", (), NOW, 0),
            Message(None, b"k", (), NOW, 0),
            Message(change(11, "t"), b"k", (), NOW, 0),
            Message(change(12), None, (), NOW, 0),
        ],
        ["deleted", "missing", "not_an_envelope", "tombstone"],
    ),
    "cloudevents": (
        "{kind: cloudevents, fields: {at: {type: string, required: true, field: time}}}",
        "iso8601",
        [
            *(event(n) for n in range(10)),
            event(10, specversion="0.3"),
            event(11, specversion="0.3"),
            event(13, time="2026-01-01T00:00:00+01:00"),
            Message(b"oops", b"k", (), NOW, 0),
        ],
        ["event_time_unparsable", "not_in_values", "not_in_values", "not_json"],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_events_are_scored_at_their_own_times(
    kind: str, broker: Broker, registry: Registry, producer: Producer, tmp_path: Path
) -> None:
    write_model(tmp_path / "models", "m", "x")
    envelope, unit, rows, reasons = CASES[kind]
    written, read_as = WRITTEN[kind]
    job = JOB.replace("ENVELOPE", envelope).replace("UNIT", unit).replace("URL", registry.url)
    job = job.replace("FORMAT", written)
    results = JobHarness(broker).run(job, rows, base=tmp_path)
    assert results.accounts() == {"read": 14, "predicted": 10, "dead": 4, "late": 0}
    assert sorted(each.reason for each in results.dead_letters) == reasons
    sent = {row.value for row in rows[10:]}
    assert {each.value for each in results.dead_letters} == sent, "dead letters stay bytes"
    raws = [each.value or b"" for each in results.predictions]
    read = producer.read(results.job.predictions.topic, raws, read_as)
    for number, each in enumerate(sorted(read, key=lambda each: int(each["offset"]))):
        # Protobuf's own JSON has longs as text.
        assert (each["x"], each["card"], int(each["offset"])) == (number, "k", number)
        assert each["prediction"] == (each["score"] >= 0.5)
        time = each["event_time"].replace("T", " ").replace("Z", "+00:00")
        assert time.startswith("2026-01-01 00:00:00" + (f".{number:03}" if number else "+"))
