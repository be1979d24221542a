"""Records that are small on the wire and large when they are unpacked, and predictions that grow beyond any limit."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

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
    bomb = b" " * 20_000_000
    good, grows = ({"amount": 1.0, "note": "x" * size} for size in (10, 400_000))
    # What an attacker's client would do: only the broker's limit holds, which is one of compressed bytes.
    settings = {"bootstrap.servers": broker.bootstrap, "message.max.bytes": 1_000_000_000}
    producer = Producer({**settings, "compression.type": "gzip", "linger.ms": 0})
    for value in (json.dumps(good).encode(), bomb, json.dumps(grows).encode(), json.dumps(good).encode()):
        producer.produce(name, value, b"key")
        producer.flush()
    begun = time.monotonic()
    with start(plan, Target()) as running:
        running.wait()
    print(time.monotonic() - begun)
    predicted = [json.loads(row.value or b"") for row in read_topic(kafka, f"{name}.predictions")]
    assert [(each["offset"], each["again"]) for each in predicted] == [(0, "x" * 80), (3, "x" * 80)]
    dead = {
        dict(row.headers)["tailrace.offset"]: (dict(row.headers)["tailrace.reason"], row)
        for row in read_topic(kafka, f"{name}.dead-letters")
    }
    assert {offset: reason for offset, (reason, _) in dead.items()} == {b"1": b"too_large", b"2": b"too_large"}
    assert dead[b"2"][1].value == json.dumps(grows).encode()
