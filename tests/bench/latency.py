"""How long a record waits for its prediction at a steady rate, with the `low` latency profile."""

from __future__ import annotations

import threading
import time

import numpy as np
import orjson
from confluent_kafka import Producer

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.plan import make_plan
from flink_jobs.run.program import Target, start
from flink_jobs.spec import JobSpec
from tests.bench.data import COLUMNS, PARTITIONS, job, record
from tests.bench.measure import OUTPUTS, latencies

WARM_UP_SECONDS = 60  # the job starts in 13 s and catches up; the JVM compiles for half a minute more


def measure_latency(
    brokers: str, registry: str, rate: int, seconds: int, name: str
) -> tuple[float, float, int]:
    """p50 and p99 in ms, and the number of records measured, after a warm-up."""
    source = f"{name}-source"
    topics = {f"{name}.{suffix}": PARTITIONS for suffix in OUTPUTS}
    create_topics(ClientSettings(brokers), topics, {"message.timestamp.type": "LogAppendTime"})
    create_topics(ClientSettings(brokers), {source: PARTITIONS})
    file = job(brokers, registry, name)
    file["source"] = file["source"] | {"topic": source}
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
    expected = rate * seconds
    if len(waits) < expected * 0.95:
        raise SystemExit(f"latency: must see about {expected} predictions; got {len(waits)}")
    return float(np.percentile(waits, 50)), float(np.percentile(waits, 99)), len(waits)


def _send(brokers: str, topic: str, rate: int, seconds: int) -> None:
    """A steady stream: every 2 ms the records that are due."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "acks": 1})
    rows = np.round(np.random.default_rng(5).normal(size=(1_000, len(COLUMNS))), 4).tolist()
    begun, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - begun) < seconds:
        due = int(elapsed * rate)
        for i in range(sent, due):
            now = int(time.time() * 1000)
            value = orjson.dumps(record(i, now, rows[i % len(rows)]))
            producer.produce(topic, value, partition=i % PARTITIONS, timestamp=now)
        sent = due
        producer.poll(0)
        time.sleep(0.002)
    producer.flush()
