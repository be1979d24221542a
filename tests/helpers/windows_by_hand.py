"""Windows computed one row at a time in plain Python, and engines fed in batches, to compare with.

results, overflow = by_hand(rows, ["card"], windows)
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.types import ARROW, ColumnType
from udfs.windows.engine import Engine, needed
from udfs.windows.params import AggregateParams, WindowParams

Rows = Sequence[Mapping[str, Any]]
SHARES = (0.0, 0.3, 0.5, 0.99, 1.0)
CHANGES = ("delta", "rate")
Found = tuple[dict[str, list[Any]], set[tuple[int, str]]]


def aggregates(types: Mapping[str, ColumnType]) -> dict[str, AggregateParams]:
    """Every aggregate of every column that it is for, by its text."""
    found = {"count(*)": AggregateParams("count"), "time_since_last()": AggregateParams("time_since_last")}
    for column, kind in types.items():
        functions = ["count", "min", "max", "first", "last"]
        functions += ["sum", "avg", "stddev"] if kind in ("double", "long") else []
        found |= {f"{function}({column})": AggregateParams(function, column) for function in functions}
        found |= {f"top({column}, {n})": AggregateParams("top", column, offset=n) for n in (1, 3)}
        found |= {f"lag({column}, {n})": AggregateParams("lag", column, offset=n) for n in (1, 3)}
        found[f"count(distinct {column})"] = AggregateParams("count", column, distinct=True)
        if kind in ("double", "long"):
            found |= {
                f"percentile({column}, {p})": AggregateParams("percentile", column, share=p) for p in SHARES
            }
            found |= {
                f"ewma({column}, {h})": AggregateParams("ewma", column, half_life_ms=h) for h in (1, 40)
            }
            found |= {f"{function}({column})": AggregateParams(function, column) for function in CHANGES}
    return found


def where(select: Mapping[str, AggregateParams], column: str) -> dict[str, AggregateParams]:
    """The same of rows where the column is true."""
    return {f"{name} where {column}": msgspec.structs.replace(a, where=column) for name, a in select.items()}


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
                back = aggregate.function in ("lag", "time_since_last")
                past = [j for j in before if j < i] if back else inside
                past = [j for j in past if not aggregate.where or rows[j][aggregate.where]]
                values = [rows[j][aggregate.column] if aggregate.column else 0 for j in past]
                times = [rows[j]["time"] for j in past]
                try:
                    results[name].append(_result(aggregate, values, times, row["time"]))
                except OverflowError:
                    results[name].append(None)
                    beyond.add((i, name))
    return results, beyond


def _result(aggregate: AggregateParams, values: list[Any], times: list[int], now: int) -> Any:
    match aggregate.function:
        case "lag":
            return values[-aggregate.offset] if len(values) >= aggregate.offset else None
        case "time_since_last":
            return now - times[-1] if times else None
    times = [time for time, value in zip(times, values, strict=True) if value is not None]
    values = [value for value in values if value is not None]
    if aggregate.function in ("first", "last"):
        return values[0 if aggregate.function == "first" else -1] if values else None
    match aggregate.function:
        case "count":
            return len(set(values)) if aggregate.distinct else len(values)
        case "stddev":
            return statistics.stdev(values) if len(values) > 1 else None
    if not values:
        return None
    match aggregate.function:
        case "top":
            ranked = sorted(set(values), key=lambda value: (-values.count(value), value))
            return ranked[aggregate.offset - 1] if len(ranked) >= aggregate.offset else None
        case "percentile":
            return _quantile(np.array(values, dtype=np.float64), aggregate.share)
        case "ewma":
            return _decayed(values, times, aggregate.half_life_ms)
        case "delta" | "rate":
            return _change(aggregate.function, values, times)
    functions: dict[str, Callable[[list[Any]], Any]] = {"sum": _sum, "avg": _mean, "min": min, "max": max}
    return functions[aggregate.function](values)


def _quantile(values: NDArray[np.float64], share: float) -> float:
    """In halves where numpy overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(np.quantile(values, share))
    return found if math.isfinite(found) else 2 * float(np.quantile(values / 2, share))


def _change(function: str, values: list[Any], times: list[int]) -> Any:
    change, seconds = values[-1] - values[0], (times[-1] - times[0]) / 1000
    if function == "rate":
        change = float(change) / seconds if seconds else None
    if change is not None and (
        math.isinf(change) or (isinstance(change, int) and not -(2**63) <= change < 2**63)
    ):
        raise OverflowError
    return change


def _decayed(values: list[Any], times: list[int], half_life: int) -> float:
    """In fractions, but for the weights between powers of two; those below 2^-2200 count nothing."""
    parts = [divmod(time, half_life) for time in times]
    newest = max(power for power, _ in parts)
    weights = [
        Fraction(2) ** (power - newest) * Fraction(float(np.exp2(rest / half_life)))
        if power > newest - 2_200
        else Fraction(0)
        for power, rest in parts
    ]
    return float(sum(w * Fraction(x) for w, x in zip(weights, values, strict=True)) / sum(weights))


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
