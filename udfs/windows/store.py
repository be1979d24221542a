"""The rows that windows can still need: a few sorted runs, older ones much longer (an LSM tree)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from udfs.windows.columns import Ints
from udfs.windows.monoids import Monoid, Need
from udfs.windows.retention import Retention
from udfs.windows.runs import Run, merge, place

# So many runs of similar length become one of the next tier.
FANOUT = 4
# Fewer rows than these are left as they are.
FEW = 1024


class Store:
    """Keeps what the retention says, of rows with `monoids` of what windows ask for."""

    def __init__(self, monoids: Mapping[Need, Monoid], retention: Retention) -> None:
        self.runs: list[Run] = []
        self._monoids, self._retention = monoids, retention
        self._since: int | None = None
        self._looked: int | None = None
        self._alive = 0

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    def load(self, run: Run) -> None:
        """Rows from before a restart. Others that wait may need them, however far the watermark is by now."""
        self._since = None
        self.append(run)

    def append(self, run: Run) -> None:
        """Each row is merged once in each tier, log4(rows) times."""
        self.runs.append(run)
        while True:
            tier = _tier(self.runs[-1])
            similar = 0
            while similar < len(self.runs) and _tier(self.runs[-1 - similar]) <= tier:
                similar += 1
            if similar < FANOUT:
                return
            self._merge(similar)
            if not self.runs:
                return

    def forget(self, watermark: int, slots: int) -> bool:
        """Whether rows that are not needed, or slots without rows, are worth a compaction.

        They are counted when the rows have doubled, or half the longest window has passed.
        """
        over = self._retention.over
        self._since = since = watermark - over
        if self._retention.by_age_alone:
            self.runs = [run for run in self.runs if run.clock.last >= since]
        rows = len(self)
        if slots > 2 * rows + FEW:
            return True
        passed = over and (self._looked is None or since >= self._looked + over // 2)
        if rows < FEW or not (passed or rows >= 2 * self._alive):
            return False
        self._looked, self._alive = since, self._count(since)
        return 2 * self._alive < rows

    def compact(self) -> Ints:
        """All runs as one, slots numbered anew: the old number of each."""
        self._merge(len(self.runs))
        if not self.runs:
            return np.zeros(0, dtype=np.int64)
        (run,) = self.runs
        time = run.time
        slots, renumbered = np.unique(run.slot, return_inverse=True)
        places, clock = place(renumbered, time)
        self.runs = [Run(places, clock, run.columns, run.suffixes)]
        self._alive = len(run)
        return slots

    def _merge(self, newest: int) -> None:
        if newest:
            merged = merge(self.runs[-newest:], self._monoids, self._since, self._retention)
            self.runs[-newest:] = [merged] if merged else []

    def _count(self, since: int) -> int:
        """At most so many rows are needed."""
        recent = sum(
            len(run) if run.clock.first >= since else int(np.count_nonzero(run.time >= since))
            for run in self.runs
        )
        if self._retention.by_age_alone:
            return recent
        return recent + self._retention.most(np.concatenate([run.slot for run in self.runs]))


def _tier(run: Run) -> int:
    return (len(run).bit_length() - 1) // 2
