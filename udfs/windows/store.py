"""The rows that windows can still need: a few sorted runs, older ones much longer (an LSM tree)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from udfs.windows.columns import Ints
from udfs.windows.monoids import Monoid, Need
from udfs.windows.runs import Run, merge, place

# So many runs of similar length become one of the next tier.
FANOUT = 4
_FEW = 1024


class Store:
    """Keeps rows from `horizon` on, and the last `rows` of each slot."""

    def __init__(self, monoids: Mapping[Need, Monoid], rows: int) -> None:
        self.runs: list[Run] = []
        self._monoids, self._rows = monoids, rows
        self._horizon: int | None = None
        self._looked: int | None = None
        self._alive = 0

    def __len__(self) -> int:
        return sum(map(len, self.runs))

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

    def forget(self, horizon: int, patience: int, slots: int) -> bool:
        """Whether rows before the horizon, or slots without rows, are worth a compaction.

        They are counted when the horizon has moved by `patience` or the rows have doubled.
        """
        self._horizon = horizon
        if not self._rows:
            self.runs = [run for run in self.runs if run.clock.last >= horizon]
        rows = len(self)
        if slots > 2 * rows + _FEW:
            return True
        due = self._looked is None or horizon >= self._looked + patience or rows >= 2 * self._alive
        if rows < _FEW or not due:
            return False
        self._looked, self._alive = horizon, self._count(horizon)
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
            merged = merge(self.runs[-newest:], self._monoids, self._horizon, self._rows)
            self.runs[-newest:] = [merged] if merged else []

    def _count(self, horizon: int) -> int:
        """At most so many rows are needed."""
        recent = sum(
            len(run) if run.clock.first >= horizon else int(np.count_nonzero(run.time >= horizon))
            for run in self.runs
        )
        if not self._rows:
            return recent
        of_slots = np.bincount(np.concatenate([run.slot for run in self.runs]))
        return recent + int(np.minimum(of_slots, self._rows).sum())


def _tier(run: Run) -> int:
    return (len(run).bit_length() - 1) // 2
