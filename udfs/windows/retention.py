"""Which rows windows can still need: those of the longest window, and each key's last rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from udfs.windows.columns import Bools, Ints
from udfs.windows.params import AggregateParams, WindowParams

_BACK = ("lag", "time_since_last")


def looks_back(aggregate: AggregateParams) -> bool:
    """Whether it is about rows before, whatever the window's length."""
    return aggregate.function in _BACK


class Retention:
    """Rows of the last `over` ms, a key's last `rows`, and the `last` so many in which a column is true."""

    def __init__(self, windows: Sequence[WindowParams]) -> None:
        back = [a for window in windows for a in window.select.values() if looks_back(a)]
        self.over = max((window.over_ms for window in windows), default=0)
        self.rows = max([*(w.rows for w in windows), *(a.offset + 1 for a in back if not a.where)], default=0)
        self.last: dict[str, int] = {}
        for a in back:
            if a.where:
                self.last[a.where] = max(a.offset, self.last.get(a.where, 0))

    @property
    def by_age_alone(self) -> bool:
        """Whether no row is kept for being one of its key's last."""
        return not self.rows and not self.last

    def kept(self, slot: Ints, time: Ints, since: int, counted: Callable[[str], Bools]) -> Bools:
        """Of all rows by (slot, time) those to keep; `counted` says where a column is true."""
        kept = np.asarray(time >= since)
        if self.rows:
            kept |= from_end(slot) < self.rows
        for where, rows in self.last.items():
            (some,) = counted(where).nonzero()
            kept[some] |= from_end(slot[some]) < rows
        return kept

    def most(self, slot: Ints) -> int:
        """At most so many are kept for being their slots' last."""
        each = max(self.rows, 0) + sum(self.last.values())
        return int(np.minimum(np.bincount(slot), each).sum())


def segments(slot: Ints) -> tuple[Ints, Ints]:
    """Where each slot's rows begin in sorted rows, and for each row which slot's, in order."""
    fresh = np.concatenate((np.ones(min(len(slot), 1), dtype=np.bool_), slot[1:] != slot[:-1]))
    return fresh.nonzero()[0], fresh.cumsum() - 1


def from_end(slot: Ints) -> Ints:
    """How many later rows of its slot each sorted row has."""
    heads, segment = segments(slot)
    ends: Ints = np.append(heads[1:], len(slot))
    return ends[segment] - np.arange(len(slot)) - 1
