"""Tells whether a job of a name runs anywhere, by the offsets that its group commits.

A job commits its offsets with each checkpoint, without a word beside them. Who has ended one commits them
again with the word STOPPED. Where that is not there, a word of our own is left: a job that runs commits over
it.

say_stopped(settings, "fraud", "payments")
runs(settings, "fraud", "payments", seconds=20)      # False, at once
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from confluent_kafka import TopicPartition

from flink_jobs.kafka.admin import commit_places, committed_places
from flink_jobs.kafka.settings import ClientSettings

STOPPED = "tailrace:stopped"
_POLL_S = 0.5


def say_stopped(settings: ClientSettings, group: str, topic: str) -> None:
    """Leaves the word that nobody of the group runs. Raises WorkError or InputError as commits do."""
    _say(settings, group, topic, STOPPED)


def runs(
    settings: ClientSettings,
    group: str,
    topic: str,
    seconds: float,
    asked: Callable[[], None] = lambda: None,
) -> bool:
    """Whether somebody of the group commits offsets, waiting for it for so long; raises as commits do.

    `asked` is called where it has to wait.
    """
    words = _words(settings, group, topic)
    if all(word == STOPPED for word in words.values()):
        return False
    ours = f"tailrace:asked:{uuid.uuid4().hex}"
    _say(settings, group, topic, ours)
    asked()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(_POLL_S)
        if any(word not in (ours, STOPPED) for word in _words(settings, group, topic).values()):
            return True
    return False


def _words(settings: ClientSettings, group: str, topic: str) -> dict[int, str]:
    return {each.partition: each.metadata or "" for each in committed_places(settings, group, topic)}


def _say(settings: ClientSettings, group: str, topic: str, word: str) -> None:
    found = committed_places(settings, group, topic)
    if found:
        places = [TopicPartition(topic, each.partition, each.offset, word) for each in found]
        commit_places(settings, group, places)
