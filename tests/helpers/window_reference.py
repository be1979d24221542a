"""The aggregates of windows in plain Python, to compare Flink's with.

>>> yaml, named = select("w", "sum_x")
>>> named
{'w_sum_x': ('sum', 'x')}
>>> aggregated([{"x": 1.5}, {"x": 2.0}], named)
{'w_sum_x': 3.5}
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

Named = Mapping[str, tuple[str, str]]
AGGREGATES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "count": len,
    "distinct": lambda values: len(set(values)),
    "sum": lambda values: _sum(values) if values else None,
    "avg": lambda values: statistics.fmean(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "stddev": lambda values: statistics.stdev(values) if len(values) > 1 else None,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
}


def _sum(values: Sequence[Any]) -> Any:
    """Correctly rounded, for doubles."""
    return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Between two values in proportion."""
    return float(np.quantile(values, share)) if values else None


def ewma(timed: Sequence[tuple[int, float]], half_life: int) -> float | None:
    """The mean of values at times in ms, each of half the weight of one that is a half life newer."""
    if not timed:
        return None
    weights = [0.5 ** ((timed[-1][0] - time) / half_life) for time, _ in timed]
    return math.fsum(w * x for w, (_, x) in zip(weights, timed, strict=True)) / math.fsum(weights)


def rate(timed: Sequence[tuple[int, float]]) -> float | None:
    """From the first to the last value, by the second."""
    if not timed or timed[0][0] == timed[-1][0]:
        return None
    return (timed[-1][1] - timed[0][1]) / ((timed[-1][0] - timed[0][0]) / 1000)


def select(prefix: str, *wanted: str) -> tuple[str, Named]:
    """YAML of aggregates given as function_column, and the function and column behind each new name."""
    named: dict[str, tuple[str, str]] = {}
    calls = []
    for item in wanted:
        function, column = item.split("_")
        named[f"{prefix}_{item}"] = (function, column)
        call = f"count(distinct {column})" if function == "distinct" else f"{function}({column})"
        calls.append(f'{prefix}_{item}: "{call}"')
    return "{" + ", ".join(calls) + "}", named


def aggregated(rows: Sequence[Mapping[str, Any]], named: Named) -> dict[str, Any]:
    """Every aggregate over the rows, without their nulls."""
    return {
        name: AGGREGATES[function]([value for row in rows if (value := row[column]) is not None])
        for name, (function, column) in named.items()
    }


def same(made: Any, value: Any) -> bool:
    """Whether a result is the expected one: floats to 1e-9, all else exactly."""
    if isinstance(value, float) and isinstance(made, float):
        return bool(made == pytest.approx(value, rel=1e-9, abs=1e-9))
    return bool(made == value)
