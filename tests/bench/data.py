"""What the benchmark works on: records of ten numbers in two partitions, and a logistic regression."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import Producer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Output, Signature
from udfs.profile.profile import reference_profile


def columns(features: int) -> list[str]:
    return ["amount", *(f"f{j}" for j in range(features - 1))]


COLUMNS = columns(10)
TOPIC = "transactions"
PARTITIONS = 2
RECORDS_PER_MS = 10
CARDS = 50_000  # each comes every 5 s: 12 records in a window of one minute
MODEL = "transactions"


def load_topic(brokers: str, records: int, topic: str = TOPIC, features: int = len(COLUMNS)) -> int:
    """Writes the records, keyed by card, with event times of ten a millisecond; gives the bytes of one."""
    settings = ClientSettings(brokers)
    create_topics(settings, {topic: PARTITIONS}, {"retention.ms": "-1"})
    producer = Producer(
        settings.librdkafka()
        | {
            "linger.ms": 50,
            "batch.size": 500_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    rng = np.random.default_rng(1)
    start = int(time.time() * 1000) - records // RECORDS_PER_MS
    size, step = 0, 1_000_000 // features
    for first in range(0, records, step):
        block = np.round(rng.normal(size=(min(step, records - first), features)), 4).tolist()
        for i, row in enumerate(block, start=first):
            value = orjson.dumps(record(i, start, row))
            size = len(value)
            card = i * 7919 % CARDS
            when = start + i // RECORDS_PER_MS
            producer.produce(topic, value, key=b"%d" % card, partition=card % PARTITIONS, timestamp=when)
        producer.flush()
    return size


def record(i: int, start: int, row: list[float]) -> dict[str, Any]:
    card = i * 7919 % CARDS
    return {"id": i, "ts": start + i // RECORDS_PER_MS, "card": card} | dict(
        zip(columns(len(row)), row, strict=True)
    )


def write_model(registry: Path, features: int = len(COLUMNS)) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2_000, features))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline.fit(rows, rows[:, 0] + rng.normal(size=2_000) > 0)
    table = pa.table({column: rows[:, j] for j, column in enumerate(columns(features))})
    score = pa.table({"score": pipeline.predict_proba(rows)[:, 1]})
    inputs = tuple(Input(name=column, type="double") for column in columns(features))
    signature = Signature(inputs=inputs, output=Output(kind="binary", classes=(False, True)))
    manifest = Registry(registry).write_version(
        MODEL,
        model=pipeline,
        signature=signature,
        golden_inputs=table.slice(0, 20),
        profile=reference_profile(table, score),
        metrics={},
        training={},
    )
    Registry(registry).promote(MODEL, manifest.version)


def job(brokers: str, registry: str, name: str, width: int = len(COLUMNS), **changes: Any) -> dict[str, Any]:
    """The job file of the benchmark as data."""
    fields = {"id": "long", "ts": "long", "card": "long"} | dict.fromkeys(columns(width), "double")
    schema = {field: {"type": kind, "required": True} for field, kind in fields.items()}
    base: dict[str, Any] = {
        "job": name,
        "kafka": {"brokers": brokers},
        "source": {"topic": TOPIC, "schema": schema},
        "model": {"name": MODEL, "registry": registry},
        "predictions": {"include": ["id", "card"]},
        "runtime": {"parallelism": 2, "latency": "throughput"},
    }
    return base | changes


WINDOW = {
    "windows": {
        "card_1m": {
            "by": "card",
            "over": "1m",
            "select": {"seen": "count(*)", "mean_amount": "avg(amount)", "max_amount": "max(amount)"},
        }
    }
}
