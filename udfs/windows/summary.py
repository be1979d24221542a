"""Makes one row of each window that is scored itself: its key, its results, its times, its number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.answers import Answers, needs, result_type, slides
from udfs.windows.blobs import times_of
from udfs.windows.columns import Bools, Ints, read_column, write_column
from udfs.windows.frames import Frame
from udfs.windows.groups import END, START
from udfs.windows.keys import distinct_keys
from udfs.windows.kinds import monoid
from udfs.windows.params import AggregateParams, columns_read
from udfs.windows.ranges import Range, reduce_ranges
from udfs.windows.retention import segments
from udfs.windows.runs import Run, place
from udfs.windows.sliding import whole_window

WINDOW_START, WINDOW_END, RECORDS = "_window_start", "_window_end", "_records"


class Summary:
    """Of windows by the same key. `types` are those of the columns in `by` and that aggregates read."""

    def __init__(
        self, by: Sequence[str], select: Mapping[str, AggregateParams], types: Mapping[str, ColumnType]
    ) -> None:
        self._by, self._select, self._types = by, select, types
        self._read = columns_read(select.values())
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*by, *self._read)))
        self._monoids = {
            need: monoid(need, types[need.column]) for a in select.values() for need in needs(a, types)
        }

    def of(self, rows: pa.Table) -> tuple[pa.Table, dict[int, str]]:
        """A row for each window, by their ends, from rows with START and END.

        And row → the name of a result beyond its type.
        """
        rows, window = self.in_windows(rows)
        columns = {name: read_column(rows.column(name), self._types[name]) for name in self._read}
        run = Run(*place(window, times_of(rows)), columns, {})
        edges = np.append(segments(window)[0], len(window))
        frame = Frame(run, edges[:-1], edges[1:], ())
        with np.errstate(all="ignore"):
            results, overflow = self._results(frame)
        return self._row_per_window(rows, edges, results), overflow

    def without_results(self, rows: pa.Table) -> pa.Table:
        """The row of the only window of these rows, with nulls."""
        kinds = {name: result_type(aggregate, self._types) for name, aggregate in self._select.items()}
        nulls = {name: pa.nulls(1, ARROW[kind]) for name, kind in kinds.items()}
        return self._row_per_window(rows, np.array([0, rows.num_rows]), nulls)

    def in_windows(self, rows: pa.Table) -> tuple[pa.Table, Ints]:
        """The rows, window by window, and the number of each one's window."""
        _, key = distinct_keys(rows, self._by)
        start, end, partition, offset = (
            rows.column(name).to_numpy() for name in (START, END, "_partition", "_offset")
        )
        order = np.lexsort((offset, partition, times_of(rows), key, start, end))
        fresh = (np.diff(key[order]) != 0) | (np.diff(start[order]) != 0)
        return rows.take(pa.array(order)), np.append(0, np.cumsum(fresh))

    def _row_per_window(self, rows: pa.Table, edges: Ints, results: dict[str, pa.Array]) -> pa.Table:
        first = pa.array(edges[:-1])
        table = pa.table({name: rows.column(name).take(first) for name in self._by} | results)
        for name, source in ((WINDOW_START, START), (WINDOW_END, END)):
            table = table.append_column(name, rows.column(source).take(first).cast(ARROW["timestamp"]))
        return table.append_column(RECORDS, pa.array(np.diff(edges)))

    def _results(self, frame: Frame) -> tuple[dict[str, pa.Array], dict[int, str]]:
        every, run = Range(frame.first, frame.stop), frame.batch
        totals = {
            need: reduce_ranges(of.lift(run.lifted(need.column, need.where)), of, [every])[0]
            for need, of in self._monoids.items()
        }
        answers = Answers(frame, totals, self._types, _no_lag)
        results: dict[str, pa.Array] = {}
        overflow: dict[int, str] = {}
        for name, aggregate in self._select.items():
            kind = result_type(aggregate, self._types)
            if slides(aggregate, self._types):
                results[name] = pa.array(whole_window(aggregate, frame), ARROW[kind])
                continue
            column, beyond = answers.of(aggregate)
            results[name] = write_column(column, kind)
            if beyond is not None:
                overflow |= dict.fromkeys(_places(beyond), name)
        return results, overflow


def _places(rows: Bools) -> list[int]:
    places: list[int] = np.flatnonzero(rows).tolist()
    return places


def _no_lag(offset: int) -> Frame:
    raise ValueError(f"a window that is scored itself has no row {offset} rows before")
