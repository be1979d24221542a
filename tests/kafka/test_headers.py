"""What is kept of a record's own headers on the way to the dead-letter and late topics, and to predictions.

The adversary is a producer that repeats names, sends names without values, and counts on the order. Flink's
connector has headers as a map, so what outputs.md says of that is held here to a real broker.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.kafka import ClientSettings, Message, read_topic
from flink_jobs.testing import Broker, JobHarness
from tests.helpers.samples import write_model

NOW = 1_767_225_600_000
SENT: list[tuple[str, bytes | None]] = [
    ("zone", b"1"),
    ("trace", b"first"),
    ("no value", None),
    ("bytes", b"\x00\xff"),
    ("trace", b"last"),
    ("empty", b""),
    ("", b"no name"),
    ("ends without", b"x"),
    ("ends without", None),
    ("begins without", None),
    ("begins without", b"y"),
    ("tailrace.job", b"the job before"),
    ("tailrace.mine", b"z"),
    ("large", b"l" * 1025),
]
KEPT: list[tuple[str, bytes | None]] = [
    ("", b"no name"),
    ("begins without", b"y"),
    ("bytes", b"\x00\xff"),
    ("empty", b""),
    ("large", b"l" * 1025),
    ("tailrace.mine", b"z"),
    ("trace", b"last"),
    ("zone", b"1"),
]
OURS = {
    f"tailrace.{name}"
    for name in (
        "job",
        "topic",
        "partition",
        "offset",
        "timestamp",
        "at",
        "stage",
        "reason",
        "message",
        "model",
    )
}
JOB = """
job: headers
source:
  topic: events
  event_time: {field: at, unit: ms, out_of_order: 0s}
  schema: {at: {type: long, required: true}, k: string, x: {type: double, required: true}}
features: FEATURES
predictions: {headers: [trace, bytes, missing, no value, ends without, empty, large]}
model: {name: m, registry: models, inputs: {x: INPUT}}
runtime: {checkpoint: {interval: 1s}}
"""
# Records pass by SQL alone, or through Python state.
WAYS = {"none": ("{}", "x"), "over": ("{windows: {w: {by: k, over: 1h, select: {mean: avg(x)}}}}", "mean")}


@pytest.mark.parametrize("windows", WAYS)
def test_each_name_is_kept_once_with_its_last_value(
    windows: str, broker: Broker, kafka: ClientSettings, tmp_path: Path
) -> None:
    write_model(tmp_path / "models", "m", "x")
    features, column = WAYS[windows]
    values = [b'{"at":%d,"k":"a","x":1.0}' % NOW, b"oops", b'{"at":%d,"k":"a","x":2.0}' % (NOW - 5_000)]
    rows = [Message(value, b"k", SENT, NOW, 0) for value in values] + [Message(b"oops", b"k", (), NOW, 0)]
    rows.insert(1, Message(values[0], b"bare", (), NOW, 0))
    job = JOB.replace("FEATURES", features).replace("INPUT", column)
    results = JobHarness(broker).run(job, rows, base=tmp_path)
    assert results.accounts() == {"read": 5, "predicted": 2, "dead": 2, "late": 1}
    dead, bare = read_topic(kafka, results.job.dead_letters.topic)
    (late,) = read_topic(kafka, results.job.late.topic)
    assert own(dead.headers) == own(late.headers) == KEPT
    assert own(bare.headers) == []
    made = read_topic(kafka, results.job.predictions.topic)
    predicted = {bytes(each.key or b""): sorted(each.headers) for each in made}
    assert predicted == {b"k": [("bytes", b"\x00\xff"), ("empty", b""), ("trace", b"last")], b"bare": []}


def own(headers: list[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """Those that are not ours, sorted; ours are there once, whatever the record had under their names."""
    assert sum(name == "tailrace.job" for name, _ in headers) == 1
    assert ("tailrace.job", b"the job before") not in headers
    return sorted((name, value) for name, value in headers if name not in OURS)
