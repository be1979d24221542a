"""Whether a job of a name runs elsewhere, by what its group commits to a real broker.

The job is a plain consumer that commits as Flink's source does: offsets, without a word beside them.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition

from flink_jobs.kafka import ClientSettings, claims, create_topics
from flink_jobs.kafka.admin import committed_offsets


@pytest.fixture
def name(kafka: ClientSettings) -> str:
    name = f"claims-{uuid.uuid4().hex[:8]}"
    create_topics(kafka, {name: 2})
    return name


@contextmanager
def job(kafka: ClientSettings, name: str, every: float) -> Iterator[None]:
    """Has read nothing new, and commits what it has read, again and again."""
    consumer = Consumer(kafka.librdkafka() | {"group.id": name, "enable.auto.commit": False})
    over = threading.Event()

    def checkpoint() -> None:
        consumer.commit(offsets=[TopicPartition(name, n, 7 + n) for n in range(2)], asynchronous=False)

    def run() -> None:
        while not over.wait(every):
            checkpoint()

    checkpoint()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        consumer.close()


def test_a_job_that_runs_is_seen_and_one_that_died_is_not(kafka: ClientSettings, name: str) -> None:
    asked: list[bool] = []
    assert not claims.runs(kafka, name, name, 20, lambda: asked.append(True))
    assert asked == []  # nobody has ever committed: there is nothing to wait for
    with job(kafka, name, 1):
        assert claims.runs(kafka, name, name, 20, lambda: asked.append(True))
    assert asked == [True]
    assert not claims.runs(kafka, name, name, 2)


def test_who_was_stopped_is_not_waited_for_and_offsets_stay(kafka: ClientSettings, name: str) -> None:
    with job(kafka, name, 1):
        claims.say_stopped(kafka, name, name)  # by somebody who is wrong
        time.sleep(2)
        assert claims.runs(kafka, name, name, 20)
    claims.say_stopped(kafka, name, name)
    assert not claims.runs(kafka, name, name, 20, lambda: pytest.fail("it was waited for"))
    assert committed_offsets(kafka, name, name) == {0: 7, 1: 8}
