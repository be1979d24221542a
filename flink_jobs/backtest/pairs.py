"""The rows that both versions scored, side by side.

pairs = paired(history_a, history_b)
history_a.table.take(pairs.a), history_b.table.take(pairs.b)      # row by row the same record or window
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flink_jobs.backtest.outputs import Integers
from flink_jobs.history import History

WINDOW_KEY = ("window_start", "window_end", "key")


@dataclass(frozen=True)
class Pairs:
    """Positions in the tables of A and of B, (n,) each, in A's order."""

    a: Integers
    b: Integers


def paired(a: History, b: History) -> Pairs:
    """Rows of the same record, or windows of the same start, end and key."""
    if "row" in a.context.column_names:
        _, first, second = np.intersect1d(a.rows, b.rows, assume_unique=True, return_indices=True)
        return Pairs(first.astype(np.int64), second.astype(np.int64))
    places = {key: place for place, key in enumerate(_windows(b.context))}
    found = [(i, places[key]) for i, key in enumerate(_windows(a.context)) if key in places]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return Pairs(pairs[:, 0], pairs[:, 1])


def times(history: History) -> Integers:
    """(n,) ms since 1970 of each row: its event time, or its window's start."""
    name = "event_time" if "event_time" in history.context.column_names else "window_start"
    column = history.context.column(name).cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)


def _windows(context: pa.Table) -> list[tuple[object, ...]]:
    columns = [context.column(name) for name in WINDOW_KEY]
    return list(zip(*(_plain(column).to_pylist() for column in columns), strict=True))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
