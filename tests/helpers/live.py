"""A job that runs while a test feeds it, looks at what it wrote so far, and changes what it follows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import (
    ClientSettings,
    Message,
    Record,
    create_topics,
    end_offsets,
    produce,
    read_topic,
)
from flink_jobs.plan import make_plan
from flink_jobs.plan.isolate import isolated
from flink_jobs.plan.topics import all_topics
from flink_jobs.run import preflight
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.spec import JobSpec
from flink_jobs.system.processes import wait_until
from flink_jobs.testing import Broker


class Counter:
    """Counts the committed records of a topic, and reads each only once, however often it is asked."""

    def __init__(self, settings: ClientSettings, topic: str) -> None:
        options = {"group.id": "count", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(settings.librdkafka() | options)
        self._consumer.assign([TopicPartition(topic, number, 0) for number in end_offsets(settings, topic)])
        self._count = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        self._consumer.close()

    def __call__(self) -> int:
        with self._lock:
            while messages := self._consumer.consume(10_000, 0.1):
                self._count += sum(message.error() is None for message in messages)
            return self._count


@dataclass
class Live:
    """A running job, under names of its own; `sent` counts what it was fed."""

    spec: JobSpec
    settings: ClientSettings
    running: RunningJob
    sent: int = field(default=0)
    counters: dict[str, Counter] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return self.spec.source.topic

    def send(self, rows: Iterable[Message]) -> None:
        self.sent += produce(self.settings, self.source, rows)

    def read(self, sink: str) -> list[Record]:
        """What is committed up to now."""
        return list(read_topic(self.settings, all_topics(self.spec)[sink]))

    def count(self, sink: str) -> int:
        """How many records are committed, or a few less: those of the last moment."""
        if sink not in self.counters:
            self.counters[sink] = Counter(self.settings, all_topics(self.spec)[sink])
        return self.counters[sink]()

    def until(self, holds: Callable[[], Any], seconds: float = 300) -> None:
        """Raises AssertionError when that does not come to hold, or the job ends before."""
        assert wait_until(lambda: bool(self.running.ended() or holds()), seconds, 0.2)
        if self.running.ended():
            self.running.wait()
            raise AssertionError("the job ended before")


@contextmanager
def live(broker: Broker, text: str, *, partitions: int = 1, source: str | None = None) -> Iterator[Live]:
    """Runs a job file's text on a topic of its own, or on one that is there already."""
    settings = ClientSettings(broker.bootstrap)
    spec = isolated(load_job_text(text, "job.yaml", Path.cwd(), os.environ), settings.brokers)
    if source:
        spec = spec.model_copy(update={"source": spec.source.model_copy(update={"topic": source})})
    create_topics(settings, {spec.source.topic: partitions})
    plan = make_plan(spec)
    preflight.check(plan)
    with start(plan, Target()) as running:
        job = Live(spec, settings, running)
        try:
            yield job
        finally:
            for counter in job.counters.values():
                counter.close()
        running.finish()
        running.wait()
