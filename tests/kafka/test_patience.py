"""A partition counts as silent only while the job waits for its records, however slow the machine is.

The adversary is a machine on which the records of one partition take longer than `idle`, while another's wait
behind them in the same consumer: by the wall clock that one is silent, and its records would be late.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from flink_jobs.testing import Broker, Message, record
from tests.helpers.live import live
from tests.helpers.slow import write_slow_model

START = 1_767_225_600_000
RECORDS = 3_000  # of each partition: more than the thousand that go to the model at once
FAR = 100_000_000
JOB = """
job: patience
model: {name: slow, registry: REGISTRY}
source:
  topic: events
  event_time: {out_of_order: 1s, idle: 500ms}
  schema: {x: {type: double, required: true}}
runtime: {latency: low, delivery: at_least_once}
"""


def message(ms: int, partition: int) -> Message:
    return record({"x": 1.0}, timestamp=START + ms, partition=partition)


def both() -> Iterator[Message]:
    """One partition after the other, of the same minutes: as both are read after an outage."""
    for partition in (0, 1):
        yield from (message(n * 1_000, partition) for n in range(RECORDS))


def test_records_that_wait_behind_others_are_not_late(broker: Broker, tmp_path: Path) -> None:
    write_slow_model(tmp_path)
    with live(broker, JOB.replace("REGISTRY", str(tmp_path)), partitions=2) as running:
        running.send(both())
        running.until(lambda: running.count("predictions") + running.count("late") >= 2 * RECORDS)
        assert running.count("late") == 0
        # Nothing waits now: a partition that stays silent holds nothing back.
        running.send([message(FAR, partition=0)])
        time.sleep(5)
        running.send([message(FAR - 10_000, partition=1)])
        running.until(lambda: running.count("late") == 1)


WINDOWED = """
job: spare
model: {name: slow, registry: REGISTRY}
source:
  topic: events
  event_time: {out_of_order: 1s, idle: 500ms}
  schema: {x: {type: double, required: true}, k: string}
features: {windows: {w: {by: k, over: 1m, select: {n: count(*)}}}}
predictions: {include: [n]}
runtime: {latency: low, delivery: at_least_once, parallelism: 2}
"""


def test_an_instance_without_a_partition_holds_nothing_back(broker: Broker, tmp_path: Path) -> None:
    """It has no consumer that brokers could answer; windows wait for the watermark of all instances."""
    write_slow_model(tmp_path)
    with live(broker, WINDOWED.replace("REGISTRY", str(tmp_path)), partitions=1) as running:
        rows = [record({"x": 1.0, "k": "a"}, timestamp=START + n * 1_000, partition=0) for n in range(20)]
        running.send(rows)
        running.until(lambda: running.count("predictions") >= 18)
        assert running.count("late") == 0
