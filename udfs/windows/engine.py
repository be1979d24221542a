"""Sliding aggregates by key over batches of rows: exact, at a cost that does not depend on windows' lengths.

window = WindowParams(over_ms=60_000, select={"mean": AggregateParams("avg", "amount")})
engine = Engine(["card"], [window], {"card": "string", "amount": "double"})
engine.add(rows, time).columns["mean"]   # one value for each row
engine.forget(watermark)

Results depend on the rows alone, not on how they fell into batches, nor on a restart in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.answers import Answers, needs, result_type, slides
from udfs.windows.columns import Bools, Ints, inverse, read_column, write_column
from udfs.windows.frames import Frame, Frames, Places, place_rows
from udfs.windows.keys import Slots, distinct_keys
from udfs.windows.kinds import monoid
from udfs.windows.lags import FilteredLag
from udfs.windows.monoids import Arrays, Need
from udfs.windows.params import Columns, WindowParams, columns_read
from udfs.windows.ranges import Range, reduce_ranges, to_the_end, with_tails
from udfs.windows.retention import Retention, looks_back
from udfs.windows.runs import Run, place
from udfs.windows.sliding import Sliding
from udfs.windows.store import Store


class Results(NamedTuple):
    """A column for each result, in the order of the rows; row → the name of a result beyond its type."""

    columns: dict[str, pa.Array]
    overflow: dict[int, str]


class Engine:
    """All windows by the same key. `types` are those of the columns in `by` and that aggregates read.

    Rows come by (event time, partition, offset); those of a key are later than the key's in earlier calls.
    """

    def __init__(
        self, by: Sequence[str], windows: Sequence[WindowParams], types: Mapping[str, ColumnType]
    ) -> None:
        self._windows, self._types = windows, types
        aggregates = [aggregate for window in windows for aggregate in window.select.values()]
        self._read = columns_read(aggregates)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*by, *self._read)))
        self._monoids = {
            need: monoid(need, types[need.column]) for a in aggregates for need in needs(a, types)
        }
        self.results: Columns = tuple(
            (name, result_type(aggregate, types)) for w in windows for name, aggregate in w.select.items()
        )
        self._needs = [{need for a in w.select.values() for need in needs(a, types)} for w in windows]
        self._slots = Slots(by)
        self._store = Store(self._monoids, Retention(windows))
        self._sliding = self._new_sliding()

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._store)

    @property
    def keys(self) -> int:
        """How many keys it knows."""
        return len(self._slots)

    def add(self, rows: pa.Table, time: Ints) -> Results:
        """The results of rows, which are kept, unless it raises: then nothing is changed."""
        if not rows.num_rows:
            return Results({name: pa.array([], ARROW[kind]) for name, kind in self.results}, {})
        with np.errstate(all="ignore"), self._unchanged_by_errors():
            batch, order = self._sorted(rows, time)
            results = self._answered(batch, order)
            self._store.append(batch)
        return results

    def load(self, rows: pa.Table, time: Ints) -> None:
        """Keeps rows from before a restart, or none of them if it raises."""
        if not rows.num_rows:
            return
        with np.errstate(all="ignore"), self._unchanged_by_errors():
            batch, _ = self._sorted(rows, time)
            self._aggregate(place_rows(batch), [])
            for sliding in self._sliding.values():
                sliding.add(batch)
            self._store.load(batch)

    def forget(self, watermark: int) -> None:
        """Drops what no row after the watermark needs, now and then."""
        if not self._store.forget(watermark, len(self._slots)):
            return
        with np.errstate(all="ignore"):
            self._slots.keep(self._store.compact())
        self._slide_anew()

    @contextmanager
    def _unchanged_by_errors(self) -> Iterator[None]:
        runs = list(self._store.runs)
        try:
            yield
        except Exception:
            self._store.runs = runs
            self._slide_anew()
            raise

    def _slide_anew(self) -> None:
        self._sliding = self._new_sliding()
        for run in self._store.runs:
            for sliding in self._sliding.values():
                sliding.add(run)

    def _sorted(self, rows: pa.Table, time: Ints) -> tuple[Run, Ints]:
        """The rows as a run without suffixes, and where each of its rows was."""
        places, clock = place(self._slots.of(rows), time)
        order = np.argsort(places, kind="stable")
        columns = {name: read_column(rows.column(name), self._types[name]).take(order) for name in self._read}
        return Run(places[order], clock, columns, {}), order

    def _answered(self, batch: Run, order: Ints) -> Results:
        frames = Frames(place_rows(batch), self._store.runs)
        of_windows = [frames.of(window.over_ms, window.rows) for window in self._windows]
        totals = self._aggregate(frames.at, of_windows)
        back = inverse(order)
        columns: dict[str, pa.Array] = {}
        overflow: dict[int, str] = {}
        for window, frame, total in zip(self._windows, of_windows, totals, strict=True):
            answers = Answers(frame, total, self._types, lambda offset: frames.of(0, offset + 1))
            for name, aggregate in window.select.items():
                if name in self._sliding:
                    columns[name] = self._sliding[name].add(batch).take(pa.array(back))
                    continue
                column, beyond = answers.of(aggregate)
                columns[name] = write_column(column.take(back), result_type(aggregate, self._types))
                if beyond is not None and beyond.any():
                    overflow = dict.fromkeys(order[beyond].tolist(), name) | overflow
        return Results(columns, overflow)

    def _aggregate(self, at: Places, frames: Sequence[Frame]) -> list[dict[Need, Arrays]]:
        """What each window of each row amounts to; the batch gets its suffixes."""
        totals: list[dict[Need, Arrays]] = [{} for _ in frames]
        read = {(column, where): at.batch.lifted(column, where) for _, column, where, _ in self._monoids}
        for need, of in self._monoids.items():
            asking = [i for i in range(len(frames)) if need in self._needs[i]]
            ranges = [to_the_end(at), *(Range(frames[i].first, frames[i].stop) for i in asking)]
            lifted = of.lift(read[need.column, need.where])
            at.batch.suffixes[need], *within = reduce_ranges(lifted, of, ranges)
            for i, part in zip(asking, within, strict=True):
                totals[i][need] = with_tails(part, frames[i].tails, need, of)
        return totals

    def _new_sliding(self) -> dict[str, Sliding | FilteredLag]:
        made: dict[str, Sliding | FilteredLag] = {}
        for window in self._windows:
            for name, aggregate in window.select.items():
                kind = result_type(aggregate, self._types)
                if slides(aggregate, self._types):
                    made[name] = Sliding(aggregate, window, kind)
                elif looks_back(aggregate) and aggregate.where:
                    made[name] = FilteredLag(aggregate, kind)
        return made


def needed(
    rows: pa.Table, time: Ints, watermark: int, windows: Sequence[WindowParams], by: Sequence[str]
) -> Bools:
    """Which of all rows, ascending by time, windows after the watermark can still need."""
    retention = Retention(windows)
    since = watermark - retention.over
    if retention.by_age_alone:
        return np.asarray(time >= since)
    _, codes = distinct_keys(rows, by)
    order = np.argsort(codes, kind="stable")
    counted = {name: read_column(rows.column(name), "boolean").true()[order] for name in retention.last}
    kept = np.empty(len(order), dtype=np.bool_)
    kept[order] = retention.kept(codes[order], time[order], since, counted.__getitem__)
    return kept
