"""Windows computed one row at a time in plain Python, and engines fed in batches, to compare with.

results, overflow = by_hand(rows, ["card"], windows)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.engine import Engine, needed
from udfs.windows.params import AggregateParams, WindowParams

Rows = Sequence[Mapping[str, Any]]
Found = tuple[dict[str, list[Any]], set[tuple[int, str]]]


def aggregates(types: Mapping[str, ColumnType]) -> dict[str, AggregateParams]:
    """Every aggregate of every column that it is for, by its text."""
    found = {"count(*)": AggregateParams("count")}
    for column, kind in types.items():
        functions = ["count", "min", "max", "first", "last"]
        functions += ["sum", "avg", "stddev"] if kind in ("double", "long") else []
        found |= {f"{function}({column})": AggregateParams(function, column) for function in functions}
        found |= {f"lag({column}, {n})": AggregateParams("lag", column, offset=n) for n in (1, 3)}
        found[f"count(distinct {column})"] = AggregateParams("count", column, distinct=True)
    return found


def windows_of(select: Mapping[str, AggregateParams], *, over: int, rows: int) -> list[WindowParams]:
    """The aggregates over time and over rows."""
    return [
        WindowParams(over_ms=over, select={f"over {name}": a for name, a in select.items()}),
        WindowParams(rows=rows, select={f"rows {name}": a for name, a in select.items()}),
    ]


def by_hand(rows: Rows, by: Sequence[str], windows: Sequence[WindowParams]) -> Found:
    """For each result its values, and the results that are beyond their types. Rows are in their order."""
    results: dict[str, list[Any]] = {name: [] for window in windows for name in window.select}
    beyond: set[tuple[int, str]] = set()
    for i, row in enumerate(rows):
        key = [row[name] for name in by]
        own = [j for j, other in enumerate(rows) if [other[name] for name in by] == key]
        before = [j for j in own if j <= i]
        for window in windows:
            since = row["time"] - window.over_ms
            inside = [j for j in own if since <= rows[j]["time"] <= row["time"]]
            if window.rows:
                inside = before[-window.rows :]
            for name, aggregate in window.select.items():
                past = before[: -aggregate.offset] if aggregate.function == "lag" else inside
                values = [rows[j][aggregate.column] if aggregate.column else 0 for j in past]
                try:
                    results[name].append(_result(aggregate, values))
                except OverflowError:
                    results[name].append(None)
                    beyond.add((i, name))
    return results, beyond


def _result(aggregate: AggregateParams, values: list[Any]) -> Any:
    match aggregate.function:
        case "first":
            return values[0]
        case "last":
            return values[-1]
        case "lag":
            return values[-1] if values else None
    values = [value for value in values if value is not None]
    match aggregate.function:
        case "count":
            return len(set(values)) if aggregate.distinct else len(values)
        case "stddev":
            return statistics.stdev(values) if len(values) > 1 else None
    if not values:
        return None
    functions: dict[str, Callable[[list[Any]], Any]] = {"sum": _sum, "avg": _mean, "min": min, "max": max}
    return functions[aggregate.function](values)


def _sum(values: list[Any]) -> Any:
    if isinstance(values[0], float):
        try:
            return math.fsum(values)
        except OverflowError:
            return float(sum(map(Fraction, values)))
    total = sum(values)
    if not -(2**63) <= total < 2**63:
        raise OverflowError
    return total


def _mean(values: list[Any]) -> float:
    return float(_sum(values) / len(values)) if isinstance(values[0], float) else sum(values) / len(values)


def table(rows: Rows, types: Mapping[str, ColumnType]) -> tuple[pa.Table, Any]:
    """The rows as Arrow, and their times."""
    columns = {
        name: pa.array([row[name] for row in rows], pa.int64() if kind == "timestamp" else ARROW[kind]).cast(
            ARROW[kind]
        )
        for name, kind in types.items()
    }
    return pa.table(columns), np.array([row["time"] for row in rows], dtype=np.int64)


def cuts(rows: Rows, sizes: Iterator[int]) -> Iterator[Rows]:
    """Batches of so many rows and more: a millisecond is not cut."""
    start = 0
    while start < len(rows):
        stop = min(start + next(sizes), len(rows))
        while stop < len(rows) and rows[stop]["time"] == rows[stop - 1]["time"]:
            stop += 1
        yield rows[start:stop]
        start = stop


def by_engine(
    rows: Rows,
    by: Sequence[str],
    windows: Sequence[WindowParams],
    types: Mapping[str, ColumnType],
    sizes: Iterator[int],
    *,
    restart: bool = False,
    forget: bool = False,
) -> Found:
    """What engines say; with `restart`, a new one for each batch, which is given the rows that it needs."""
    results: dict[str, list[Any]] = {name: [] for window in windows for name in window.select}
    beyond: set[tuple[int, str]] = set()
    engine = Engine(by, windows, types)
    kept, at = table([], types)
    seen = 0
    for batch in cuts(rows, sizes):
        arrow, time = table(batch, types)
        if restart:
            engine = Engine(by, windows, types)
            engine.load(kept, at)
        found = engine.add(arrow, time)
        for name, column in found.columns.items():
            integers = pa.types.is_timestamp(column.type)
            results[name] += (column.cast(pa.int64()) if integers else column).to_pylist()
        beyond |= {(seen + row, name) for row, name in found.overflow.items()}
        seen += len(batch)
        if forget:
            engine.forget(int(time[-1]))
        kept, at = pa.concat_tables([kept, arrow]), np.concatenate([at, time])
        need = needed(kept, at, int(time[-1]), windows, by)
        kept, at = kept.filter(pa.array(need)), at[need]
    return results, beyond
