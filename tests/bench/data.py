"""What the benchmark works on: records of ten numbers and four keys, and a logistic regression.

stream = usual(1_000_000)
stream.keys["card"], stream.record(0, 0, [0.5] * 10)["card"]
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import Producer

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Output, Signature
from udfs.profile.profile import reference_profile


def columns(features: int) -> list[str]:
    return ["amount", *(f"f{j}" for j in range(features - 1))]


COLUMNS = columns(10)
TOPIC = "transactions"
PARTITIONS = 2
MODEL = "transactions"
ROWS_PER_KEY = {"card": 12, "shop": 100, "city": 1_000, "country": 10_000}
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MOST_IN_A_MINUTE = 600_000
_STRIDE = 7919


@dataclass(frozen=True)
class Stream:
    """So many records, of which a window of `window_ms` of event time holds `in_a_window`.

    `keys` says how many values each key has; `hot` is the share of the records that have the first shop.
    """

    records: int
    in_a_window: int
    keys: Mapping[str, int]
    window_ms: int = MINUTE_MS
    hot: float = 0.0

    @property
    def milliseconds(self) -> int:
        """The event time from the first record to the last."""
        return self._after(self.records)

    @property
    def size(self) -> int:
        """Bytes of a record, about."""
        return len(orjson.dumps(self.record(self.records, int(time.time() * 1000), [-1.2345] * len(COLUMNS))))

    def record(self, i: int, start: int, row: list[float]) -> dict[str, Any]:
        """The record of this number; each key's values come in turn, so that none has more than another."""
        place = i * _STRIDE
        keys = {name: place % count for name, count in self.keys.items()}
        # Fibonacci hashing: evenly spread, and not in step with any key.
        if i * 2_654_435_769 % 2**32 < self.hot * 2**32:
            keys["shop"] = 0
        numbers = dict(zip(columns(len(row)), row, strict=True))
        return {"id": i, "ts": start + self._after(i)} | keys | numbers

    def _after(self, i: int) -> int:
        return i * self.window_ms // self.in_a_window


def usual(records: int) -> Stream:
    """A minute holds a third of the records, so that windows are full for two thirds of a run."""
    in_a_minute = max(1, min(records // 3, MOST_IN_A_MINUTE))
    return Stream(records, in_a_minute, {name: _count(in_a_minute // n) for name, n in ROWS_PER_KEY.items()})


def skewed(records: int) -> Stream:
    """One shop has half of all records."""
    return replace(usual(records), hot=0.5)


def backlog(records: int) -> Stream:
    """Twice as many records, of two hours, and all of fifty shops."""
    alike = usual(records)
    return Stream(2 * records, records, {**alike.keys, "shop": 50}, HOUR_MS)


def _count(keys: int) -> int:
    """At least one; not a multiple of the stride, which would leave most of the keys out."""
    return max(1, keys + (keys % _STRIDE == 0))


def load_topic(brokers: str, stream: Stream, topic: str = TOPIC, features: int = len(COLUMNS)) -> None:
    """Writes the records, keyed by card, up to now in event time."""
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
    start = int(time.time() * 1000) - stream.milliseconds
    step = 1_000_000 // features
    for first in range(0, stream.records, step):
        block = np.round(rng.normal(size=(min(step, stream.records - first), features)), 4).tolist()
        for i, row in enumerate(block, start=first):
            record = stream.record(i, start, row)
            value, card, when = orjson.dumps(record), record["card"], record["ts"]
            producer.produce(topic, value, key=b"%d" % card, partition=card % PARTITIONS, timestamp=when)
        producer.flush()


def write_model(registry: Path, features: int = len(COLUMNS)) -> None:
    # Start-up: contenders import this module too, and it is their own start that is measured.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

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


def job(
    brokers: str, registry: str, name: str, width: int = len(COLUMNS), topic: str = TOPIC, **changes: Any
) -> dict[str, Any]:
    """The job file of the benchmark as data."""
    longs = {"id": "long", "ts": "long"} | dict.fromkeys(ROWS_PER_KEY, "long")
    fields = longs | dict.fromkeys(columns(width), "double")
    schema = {field: {"type": kind, "required": True} for field, kind in fields.items()}
    base: dict[str, Any] = {
        "job": name,
        "kafka": {"brokers": brokers},
        "source": {"topic": topic, "schema": schema},
        "model": {"name": MODEL, "registry": registry},
        "predictions": {"include": ["id", "card"]},
        "runtime": {"parallelism": PARTITIONS, "latency": "throughput"},
    }
    return base | changes


def window(by: str, over: str = "1m") -> dict[str, Any]:
    """One window with three aggregates."""
    select = {"seen": "count(*)", "mean_amount": "avg(amount)", "max_amount": "max(amount)"}
    return {"windows": {"recent": {"by": by, "over": over, "select": select}}}
