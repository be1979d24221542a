"""Partitions are not read further ahead of the slowest than a job says.

The adversary is a partition whose records are far ahead of another's: without a bound the job takes them all,
and they wait in its memory. How far it has read is asked of Kafka, which knows the offsets that it committed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from sklearn.linear_model import LinearRegression

from flink_jobs.kafka import ClientSettings
from flink_jobs.testing import Broker, record
from tests.helpers import models
from tests.helpers.live import Live, live

START = 1_767_225_600_000
RECORDS, AHEAD_S = 40_000, 600
# What one fetch of two megabytes brings is read before the partition is left alone.
PADDING = "x" * 1_000
JOB = """
job: read-ahead
model: {name: sums, registry: REGISTRY, inputs: {n: seen}}
source:
  topic: events
  start: earliest
  read_ahead: 10m
  event_time: {out_of_order: 1s, idle: 1h}
  schema: {card: {type: string, required: true}}
features:
  windows: {hour: {by: card, over: 1h, select: {seen: count(*)}}}
predictions: {include: [seen]}
runtime: {checkpoint: {interval: 500ms}}
"""


def message(seconds: float, partition: int) -> Any:
    return record({"card": "a", "text": PADDING}, timestamp=START + int(seconds * 1_000), partition=partition)


def committed(running: Live, settings: ClientSettings) -> int:
    """How far the job has read the fast partition, as of its last checkpoint."""
    consumer = Consumer(settings.librdkafka() | {"group.id": running.spec.job})
    try:
        (at,) = consumer.committed([TopicPartition(running.source, 0)], timeout=10)
        return int(at.offset)
    finally:
        consumer.close()


def stands(running: Live, settings: ClientSettings) -> int:
    """Where the reading has come to a stop: the same at two looks, with several checkpoints between."""
    seen = [-1]

    def same() -> bool:
        seen.append(committed(running, settings))
        time.sleep(3)
        return seen[-1] == seen[-2] > 0

    running.until(same)
    return seen[-1]


def test_a_partition_is_read_no_further_ahead_than_the_job_says(broker: Broker, tmp_path: Path) -> None:
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    models.write(tmp_path, "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    settings = ClientSettings(broker.bootstrap)
    with live(broker, JOB.replace("REGISTRY", str(tmp_path)), partitions=2) as running:
        running.send([message(0, partition=0), message(0, partition=1)])
        running.until(lambda: committed(running, settings) == 1)
        running.send(message(n, partition=0) for n in range(1, RECORDS))
        first = stands(running, settings)
        assert first < RECORDS / 2
        running.send([message(first, partition=1)])
        running.until(lambda: committed(running, settings) >= first + AHEAD_S)
        assert stands(running, settings) < RECORDS
        running.send([message(2 * RECORDS, partition=n) for n in (0, 1)])
        running.until(lambda: running.count("predictions") >= RECORDS)
        assert running.count("late") == 0
