"""Shadows come and go with the log, in the follower's thread: no row waits for one that begins meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.releases import release
from udfs.errors import ModelError
from udfs.releases.log import ReleaseLog
from udfs.rollout.events import Event
from udfs.scoring.shadow import Shadow, ShadowParams
from udfs.scoring.versions import FollowedVersions

REFRESH = 0.02


@dataclass
class Started:
    """What stands in for a shadow's process."""

    version: int
    release: int
    waits: bool
    off: bool = False
    events: list[Event] = field(default_factory=list)

    def take_events(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.off = True


@dataclass
class Job:
    """Versions that follow `records`, and the shadows that they started."""

    records: list[Any]
    started: list[Started] = field(default_factory=list)
    pause: float = 0.0

    def start(self, version: int, digest: str | None, release: int, waits: bool) -> Any:
        time.sleep(self.pause)
        self.started.append(Started(version, release, waits))
        return self.started[-1]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.fixture
def job() -> Job:
    return Job([release(1, 1, shadows=(2,))])


@pytest.fixture
def versions(job: Job) -> Iterator[FollowedVersions]:
    made = FollowedVersions(
        "fraud",
        lambda: ReleaseLog(list(job.records)),
        lambda number, digest: number,  # type: ignore[arg-type,return-value]
        job.start,
        REFRESH,
    )
    yield made
    made.close()


def shadows(versions: FollowedVersions) -> list[Any]:
    (group,) = versions.groups(pa.table({"a": [1.0]}), np.array([0]))
    return list(group.shadows)


def test_rows_wait_for_those_of_the_beginning_only(versions: FollowedVersions, job: Job) -> None:
    assert [(s.version, s.waits) for s in shadows(versions)] == [(2, True)]
    job.records.append(release(2, 1, shadows=(2, 3)))
    job.until(lambda: len(job.started) == 2)
    assert [(s.version, s.waits) for s in shadows(versions)] == [(2, True), (3, False)]


def test_one_that_is_off_has_another_try_with_the_next_release(versions: FollowedVersions, job: Job) -> None:
    (first,) = job.started
    first.off = True
    first.events.append(Event("shadow_off", 2, 1, "no answer"))
    assert shadows(versions) == []
    job.records.append(release(2, 1, shadows=(2,)))
    job.until(lambda: len(job.started) == 2)
    assert [(s.release, s.waits) for s in shadows(versions)] == [(2, False)]
    assert [event.message for event in versions.take_events()] == ["no answer"]


def test_two_threads_start_each_shadow_once(job: Job) -> None:
    """Rows ask for the shadows of a release at the moment at which the follower sees it."""
    job.records[0], job.pause = release(1, 1), 0.002
    versions = FollowedVersions(
        "fraud",
        lambda: ReleaseLog(list(job.records)),
        lambda number, digest: number,  # type: ignore[arg-type,return-value]
        job.start,
        0.001,
    )
    try:
        for number in range(2, 60):
            job.records.append(release(number, 1, shadows=(number,)))
            job.until(lambda number=number: [s.version for s in shadows(versions)] == [number])  # type: ignore[misc]
            versions.take_events()
    finally:
        versions.close()
    assert sorted(s.version for s in job.started) == list(range(2, 60))


def test_a_question_does_not_wait_for_a_shadow_that_is_told_not_to_be_waited_for() -> None:
    gate = threading.Event()

    def find() -> ShadowParams:
        gate.wait(10)
        raise ModelError("there is none")

    shadow = Shadow(2, find, 1.0, waits=False)
    begun = time.monotonic()
    assert shadow.ask(pa.table({"a": [1.0]})) is None
    assert time.monotonic() - begun < 1
    gate.set()
    deadline = time.monotonic() + 10
    while not (events := shadow.take_events()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert events == [Event("shadow_off", 2, 0, "it cannot be started: there is none")]
