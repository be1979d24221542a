"""Records that unpack to more than they were on the wire, and predictions that grow beyond any limit."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Producer
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, create_topics, read_topic
from flink_jobs.plan import make_plan
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.testing import Broker
from tests.helpers import models

JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source: {topic: NAME, schema: {amount: {type: double, required: true}, note: string}}
features: {derive: {again: "CONCAT(note, note, note, note, note, note, note, note)"}}
model: {name: large, registry: models}
predictions: {include: [again]}
runtime: {checkpoint: {interval: 1s}}
"""


def test_neither_a_bomb_nor_a_prediction_that_grows_stops_a_job(
    broker: Broker, kafka: ClientSettings, tmp_path: Path
) -> None:
    name = f"large-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {name: 1})
    inputs = pa.table({"amount": np.arange(3.0)})
    models.write(tmp_path / "models", "large", LinearRegression(), inputs, [0.0, 1.0, 2.0], "regression")
    text = JOB.replace("NAME", name).replace("BROKERS", broker.bootstrap)
    plan = make_plan(load_job_text(text, "job.yaml", tmp_path, {}), bounded=True)
    preflight.check(plan)
    good, grows = ({"amount": 1.0, "note": "x" * size} for size in (10, 400_000))
    bomb = 20_000_000 * b" "
    sent: list[tuple[dict[str, Any] | bytes, bytes, list[tuple[str, str | bytes | None]]]] = [
        (good, b"key", []),
        (bomb, b"key", []),
        (grows, b"key", []),
        (good, bomb, []),
        (b"{", b"key", [("bomb", bomb)]),
        (good, b"key", [("bomb", bomb)]),
    ]
    # What an attacker's client would do: only the broker's limit holds, which is one of compressed bytes.
    settings = {"bootstrap.servers": broker.bootstrap, "message.max.bytes": 1_000_000_000}
    producer = Producer({**settings, "compression.type": "gzip", "linger.ms": 0})
    values = [json.dumps(value).encode() if isinstance(value, dict) else value for value, _, _ in sent]
    for value, (_, key, headers) in zip(values, sent, strict=True):
        producer.produce(name, value, key, headers=headers)
        producer.flush()
    with start(plan, Target()) as running:
        running.wait()
    rows = [(row.key, json.loads(row.value or b"")) for row in read_topic(kafka, f"{name}.predictions")]
    assert [(key, each["offset"], each["again"]) for key, each in rows] == [
        (b"key", 0, "x" * 80),
        (None, 3, "x" * 80),
        (b"key", 5, "x" * 80),
    ]
    found = [(row, dict(row.headers)) for row in read_topic(kafka, f"{name}.dead-letters")]
    dead = {headers["tailrace.offset"]: (row.value, headers) for row, headers in found}
    assert {offset: headers["tailrace.reason"] for offset, (_, headers) in dead.items()} == {
        b"1": b"too_large",
        b"2": b"too_large",
        b"4": b"not_json",
    }
    assert dead[b"2"][0] == values[2]
    assert int(dead[b"1"][1]["tailrace.left_out"] or 0) == len(bomb) + len(b"key")
    assert int(dead[b"4"][1]["tailrace.left_out"] or 0) > len(bomb)
    assert (dead[b"1"][0], dead[b"4"][0]) == (None, None)
