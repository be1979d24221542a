"""Keeps a worker's view of a release log fresh enough to be sure of, or makes the worker wait.

>>> from udfs.releases.log import ReleaseLog, ReleaseRecord
>>> first = ReleaseRecord(number=1, champion=7, written_at="2013-01-01T00:00:00Z")
>>> follower = Follower(lambda: ReleaseLog([first]), refresh_s=10.0)
>>> follower.covering(latest_ms=1_700_000_000_000).state(0).champion
7
>>> follower.close()

A release's moment lies at least a lead, two refreshes, after its writing. So a view that was read at W knows
all that is in force before W + lead, and one that is at most a lead old knows all that is in force now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from udfs.releases.log import ReleaseLog

LEAD_REFRESHES = 2
COMPLAIN_SECONDS = 10.0
log = structlog.get_logger(__name__)


class Follower:
    """Reads the log when made (raising what `read` raises), then again each `refresh_s` in a thread.

    `on_change` is called in that thread with each log that is longer than the one before. `wall` gives
    seconds since the epoch, `steady` a clock that never jumps.
    """

    def __init__(
        self,
        read: Callable[[], ReleaseLog],
        refresh_s: float,
        on_change: Callable[[ReleaseLog], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._refresh, self._on_change = read, refresh_s, on_change
        self._wall, self._steady = wall, steady
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._asked = threading.Event()
        self.failures = 0
        self._read_wall, self._read_steady = wall(), steady()
        self._log = read()
        self._thread = threading.Thread(target=self._run, name="release-log", daemon=True)
        self._thread.start()

    @property
    def log(self) -> ReleaseLog:
        """The view as it is."""
        return self._log

    def covering(self, latest_ms: int) -> ReleaseLog:
        """A view that is sure to know the release of every record up to `latest_ms`; waits for it."""
        complained = self._steady()
        with self._changed:
            while not self._covers(latest_ms):
                self._asked.set()
                self._changed.wait(self._refresh)
                if self._steady() - complained >= COMPLAIN_SECONDS:
                    complained = self._steady()
                    log.error("waiting_for_release_log", age_s=round(self._age(), 1), failures=self.failures)
            return self._log

    def close(self) -> None:
        self._closed.set()
        self._asked.set()

    def _age(self) -> float:
        return self._steady() - self._read_steady

    def _covers(self, latest_ms: int) -> bool:
        lead = LEAD_REFRESHES * self._refresh
        if self._age() <= lead:
            return True
        # A clock that jumped since then tells nothing of how a record's time compares with the reading.
        jumped = abs((self._wall() - self._read_wall) - self._age()) > self._refresh
        return not jumped and latest_ms < (self._read_wall + lead) * 1000

    def _run(self) -> None:
        while not self._closed.is_set():
            self._asked.wait(self._refresh)
            self._asked.clear()
            if not self._closed.is_set():
                self._refresh_once()

    def _refresh_once(self) -> None:
        before = self._wall(), self._steady()
        try:
            found = self._read()
        except Exception as error:  # whatever a file system raises: the old view holds until its lease ends
            self.failures += 1
            log.warning("release_log_unreadable", error=str(error), failures=self.failures)
            self._closed.wait(min(self._refresh, 0.5))
            return
        longer = len(found.records) > len(self._log.records)
        with self._changed:
            self._log = found
            self._read_wall, self._read_steady = before
            self._changed.notify_all()
        if longer:
            self._on_change(found)
