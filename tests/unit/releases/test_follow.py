"""A worker is sure of the log that it scores by, or waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from udfs.errors import ModelError
from udfs.releases.follow import Follower
from udfs.releases.log import ReleaseLog, ReleaseRecord


class Clocks:
    """The time of day and a steady clock, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def ms(self) -> int:
        return int(self.wall * 1000)


class Source:
    """A log that grows, and may be out of reach."""

    def __init__(self) -> None:
        self.length, self.down, self.reads = 1, False, 0

    def read(self) -> ReleaseLog:
        self.reads += 1
        if self.down:
            raise OSError("no route to host")
        return ReleaseLog(
            [ReleaseRecord(number=i + 1, champion=1, written_at="") for i in range(self.length)]
        )


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def follower(source: Source, clocks: Clocks) -> Iterator[Follower]:
    """Refreshes after 0.05 real seconds; its clocks count each as one refresh of 0.05 s too."""
    made = Follower(source.read, 0.05, wall=lambda: clocks.wall, steady=lambda: clocks.steady)
    yield made
    made.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def waits(follower: Follower, latest_ms: int) -> threading.Thread:
    thread = threading.Thread(target=follower.covering, args=(latest_ms,), daemon=True)
    thread.start()
    thread.join(0.3)
    return thread


def test_a_longer_log_is_seen_after_a_refresh(follower: Follower, source: Source) -> None:
    source.length = 2
    until(lambda: len(follower.log.records) == 2)


def test_a_view_within_its_lease_is_used_though_the_source_is_down(
    follower: Follower, source: Source, clocks: Clocks
) -> None:
    source.down = True
    clocks.pass_by(0.09)
    assert len(follower.covering(clocks.ms()).records) == 1


def test_beyond_the_lease_a_record_waits_until_the_log_can_be_read_again(
    follower: Follower, source: Source, clocks: Clocks
) -> None:
    source.down = True
    until(lambda: follower.failures > 0)
    clocks.pass_by(60)
    thread = waits(follower, clocks.ms())
    assert thread.is_alive()
    source.down, source.length = False, 2
    thread.join(10)
    assert not thread.is_alive()
    assert len(follower.covering(clocks.ms()).records) == 2


def test_old_records_need_no_fresh_view(follower: Follower, source: Source, clocks: Clocks) -> None:
    """A release for them would have been written before the log was read."""
    source.down = True
    until(lambda: follower.failures > 0)
    old = clocks.ms() - 1000
    clocks.pass_by(60)
    assert not waits(follower, old).is_alive()


def test_a_clock_that_jumped_gives_no_lease(follower: Follower, source: Source, clocks: Clocks) -> None:
    source.down = True
    until(lambda: follower.failures > 0)
    old = clocks.ms() - 1000
    clocks.pass_by(60)
    clocks.wall -= 3600
    assert waits(follower, old).is_alive()
    source.down = False


def test_a_job_without_a_log_does_not_begin(source: Source) -> None:
    source.length = 0
    with pytest.raises(ModelError, match="must hold the numbers"):
        Follower(source.read, 0.05)
