"""The versions of a table's rows, and which one was there at a time: an as-of join, by key.

>>> columns: Columns = (("account", "string"), ("tier", "string"))
>>> row = ("a", "gold", False, 1_000, 0, 0)
>>> arrays = [pa.array([value]) for value in row]
>>> rows = pa.RecordBatch.from_arrays(arrays, names=change_schema(columns).names)
>>> versions = Versions(("account",), columns)
>>> versions.add(0, rows.cast(change_schema(columns)))
>>> joined, missed = versions.join(pa.table({"account": ["a", "a"]}), np.array([999, 1_000]))
>>> joined["tier"].to_pylist(), missed
([None, 'gold'], 1)

A version counts from its own time on, that millisecond included, until a later one or a deletion does. Of
several of one time the last in the topic counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from udfs.times import Milliseconds
from udfs.types import ARROW
from udfs.windows.blobs import TIME, times_of
from udfs.windows.columns import Bools, Ints
from udfs.windows.kept import LEAST_TIME, joined
from udfs.windows.keys import Slots, distinct_keys
from udfs.windows.params import Columns

DELETED = "_deleted"
# What a change has beside key and columns.
CHANGE: tuple[tuple[str, pa.DataType], ...] = (
    (DELETED, pa.bool_()),
    (TIME, pa.int64()),
    ("_partition", pa.int32()),
    ("_offset", pa.int64()),
)
PLACE = ("_partition", "_offset")
# Rows that are not worth a look for those that are not needed.
_FEW = 4_096


def change_schema(columns: Columns) -> pa.Schema:
    """The schema of changes with these columns, those of the key first."""
    return pa.schema([*((name, ARROW[kind]) for name, kind in columns), *CHANGE])


@dataclass
class Run:
    """Versions by (slot, time, partition, offset), under a number in the state."""

    number: int
    rows: pa.RecordBatch
    slot: Ints
    place: tuple[Ints, Ints, Ints]

    def __len__(self) -> int:
        return len(self.slot)

    def as_of(self, slot: Ints, times: Milliseconds) -> Ints:
        """The last version of each slot that is not after its time, shape (n,); -1 where there is none."""
        low, high = np.searchsorted(self.slot, slot, "left"), np.searchsorted(self.slot, slot, "right")
        first, own = low.copy(), self.place[0]
        while (left := np.flatnonzero(low < high)).size:
            middle = (low[left] + high[left]) // 2
            before = own[middle] <= times[left]
            low[left[before]] = middle[before] + 1
            high[left[~before]] = middle[~before]
        return np.where(low > first, low - 1, -1)


class Versions:
    """All versions that rows to come can need; `columns` are those of changes, the key `by` among them.

    A version is no more known `retention_ms` after its time, unless that is 0.
    """

    def __init__(self, by: Sequence[str], columns: Columns, retention_ms: int = 0) -> None:
        self._by, self._retention = by, retention_ms
        self._results = tuple((name, kind) for name, kind in columns if name not in by)
        self._schema = change_schema(columns)
        self._slots = Slots(by)
        self._runs: list[Run] = []
        self._mark, self._counted = LEAST_TIME, 0
        self.newest = LEAST_TIME

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def runs(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """What is kept, by number."""
        return ((run.number, run.rows) for run in self._runs)

    def add(self, number: int, rows: pa.RecordBatch) -> None:
        """Changes, in any order. Runs of similar length become one, under the newest's number."""
        if not len(rows):
            return
        self.newest = max(self.newest, int(times_of(rows).max()))
        self._runs.append(self._run(number, rows, self._slots.of(pa.Table.from_batches([rows]))))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._merge(2)

    def join(self, rows: pa.Table, times: Milliseconds) -> tuple[dict[str, pa.Array], int]:
        """The columns as of each row's time, null where nothing is known; and of how many rows that is.

        The rows have the columns of the key.
        """
        keys, codes = distinct_keys(rows, self._by)
        known = np.array([self._slots.get(key, -1) for key in keys], dtype=np.int64)
        found = self._found(known[codes], times)
        return {name: self._taken(name, found) for name, _ in self._results}, int((found[0] < 0).sum())

    def forget(self, until: int) -> bool:
        """Forgets what no row after `until` can need; whether there was any of it."""
        before = len(self)
        self._mark = max(self._mark, until)
        if self._retention:
            self._runs = [run for run in self._runs if self._lives(int(run.place[0].max()))]
        if len(self) > 2 * self._counted + _FEW:
            self._merge(len(self._runs))
            self._counted = len(self)
        if not self._runs:
            self._slots.clear()
        return len(self) < before

    def _lives(self, time: int) -> bool:
        return not self._retention or time >= self._mark - self._retention

    def _found(self, slot: Ints, times: Milliseconds) -> tuple[Ints, Ints]:
        """For each row which run has its version, -1 for none, and where in it that is."""
        run_of, at = np.full(len(slot), -1), np.zeros(len(slot), dtype=np.int64)
        best = tuple(np.full(len(slot), LEAST_TIME) for _ in range(3))
        for number, run in enumerate(self._runs):
            places = run.as_of(slot, times)
            own = tuple(column[places] for column in run.place)
            better = (places >= 0) & _later(own, best)
            run_of[better], at[better] = number, places[better]
            for mine, column in zip(best, own, strict=True):
                mine[better] = column[better]
        if self._retention:
            run_of[times - self._retention > best[0]] = -1
        for number, run in enumerate(self._runs):
            deleted = run.rows.column(DELETED).to_numpy(zero_copy_only=False)
            run_of[(run_of == number) & deleted[np.where(run_of == number, at, 0)]] = -1
        return run_of, at

    def _taken(self, name: str, found: tuple[Ints, Ints]) -> pa.Array:
        run_of, at = found
        kind = self._schema.field(name).type
        order = np.argsort(run_of, kind="stable")
        cuts = np.searchsorted(run_of[order], np.arange(-1, len(self._runs) + 1))
        pieces = [pa.nulls(int(cuts[1]), kind)]
        for run, start, stop in zip(self._runs, cuts[1:-1], cuts[2:], strict=True):
            pieces.append(run.rows.column(name).take(pa.array(at[order[start:stop]])))
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(pieces).take(pa.array(back))

    def _run(self, number: int, rows: pa.RecordBatch, slot: Ints) -> Run:
        """Without versions that nothing to come can need."""
        place = tuple(rows.column(name).to_numpy().astype(np.int64) for name in (TIME, *PLACE))
        order = np.lexsort((*reversed(place), slot))
        order = order[self._needed(slot[order], place[0][order])]
        time, partition, offset = (column[order] for column in place)
        return Run(number, rows.take(pa.array(order)), slot[order], (time, partition, offset))

    def _needed(self, slot: Ints, time: Ints) -> Bools:
        """Of versions in order: not those that another of the same time replaces, or one before the mark."""
        last = np.append(slot[1:] != slot[:-1], True)
        following = np.append(time[1:], 0)
        needed: Bools = last | ((following > time) & (following > self._mark))
        if self._retention:
            needed &= time >= self._mark - self._retention
        return needed

    def _merge(self, count: int) -> None:
        """The last so many runs become one."""
        runs, self._runs = self._runs[-count:], self._runs[:-count]
        if not runs:
            return
        slot = np.concatenate([run.slot for run in runs])
        merged = self._run(runs[-1].number, joined([run.rows for run in runs]), slot)
        if len(merged):
            self._runs.append(merged)
        if len(self._runs) == 1 and merged is self._runs[0]:
            kept = np.unique(merged.slot)
            if 2 * len(kept) < len(self._slots):
                self._slots.keep(kept)
                merged.slot = np.searchsorted(kept, merged.slot)


def _later(one: Sequence[Ints], other: Sequence[Ints]) -> Bools:
    """Which of n places, of (time, partition, offset), are after the others."""
    after = one[2] > other[2]
    for mine, its in zip(one[1::-1], other[1::-1], strict=True):
        after = (mine > its) | ((mine == its) & after)
    return np.asarray(after)
