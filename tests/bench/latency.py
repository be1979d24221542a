"""How long a record waits for its prediction at a steady rate, with the `low` latency profile."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Producer

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.plan import make_plan
from flink_jobs.run.program import Target, start
from flink_jobs.spec import JobSpec
from tests.bench.data import COLUMNS, PARTITIONS, job, usual, window
from tests.bench.measure import OUTPUTS, latencies

WARM_UP_SECONDS = 60  # the job starts in 13 s and catches up; the JVM compiles for half a minute more
RATE = 5_000
OUT_OF_ORDER_MS = 1_000
# What is measured: a job without windows, and one whose records wait for the watermark.
JOBS: Mapping[str, Mapping[str, Any]] = {"stateless": {}, "windowed": {"features": window("card")}}


class TooFewError(Exception):
    """The job did not keep up with the stream."""


def measure_latency(
    brokers: str,
    registry: str,
    rate: int,
    seconds: int,
    name: str,
    changes: Mapping[str, Any] = JOBS["stateless"],
) -> tuple[float, float, int]:
    """p50 and p99 in ms, and the number of records measured, after a warm-up.

    Raises TooFewError if the job did not keep up.
    """
    source = f"{name}-source"
    topics = {f"{name}.{suffix}": PARTITIONS for suffix in OUTPUTS}
    create_topics(ClientSettings(brokers), topics, {"message.timestamp.type": "LogAppendTime"})
    create_topics(ClientSettings(brokers), {source: PARTITIONS})
    file = job(brokers, registry, name, topic=source, **changes)
    file["source"]["event_time"] = {"out_of_order": f"{OUT_OF_ORDER_MS}ms"}
    file["runtime"] = {"parallelism": PARTITIONS, "latency": "low", "delivery": "at_least_once"}
    with start(make_plan(JobSpec.model_validate(file)), Target()) as running:
        sender = threading.Thread(target=_send, args=(brokers, source, rate, WARM_UP_SECONDS + seconds))
        begun = int(time.time() * 1000)
        sender.start()
        sender.join()
        time.sleep(2)
        running.cancel()
        running.wait()
    waits = latencies(brokers, source, f"{name}.predictions", begun + WARM_UP_SECONDS * 1000)
    # The last second's records wait for the watermark when the job ends.
    expected = rate * (seconds - 2)
    if len(waits) < expected * 0.95:
        raise TooFewError(f"must see about {expected:,} predictions; got {len(waits):,}")
    return float(np.percentile(waits, 50)), float(np.percentile(waits, 99)), len(waits)


def _send(brokers: str, topic: str, rate: int, seconds: int) -> None:
    """A steady stream: every 2 ms the records that are due."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "acks": 1})
    rows = np.round(np.random.default_rng(5).normal(size=(1_000, len(COLUMNS))), 4).tolist()
    stream = usual(rate * 180)  # a minute of event time in a minute
    begun, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - begun) < seconds:
        due = int(elapsed * rate)
        for i in range(sent, due):
            now = int(time.time() * 1000)
            value = orjson.dumps(stream.record(i, 0, rows[i % len(rows)]) | {"ts": now})
            producer.produce(topic, value, partition=i % PARTITIONS, timestamp=now)
        sent = due
        producer.poll(0)
        time.sleep(0.002)
    producer.flush()
