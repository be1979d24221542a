"""Rows with the results of their windows, and how rows on which windows fail are told from the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import structlog

from udfs.isolate import isolate_spans
from udfs.records.problems import Problem, beyond_type, unexpected
from udfs.windows.columns import Ints
from udfs.windows.retention import segments

log = structlog.get_logger(__name__)


class Windowed(NamedTuple):
    """n rows with the results of their windows, or of windows; row → what is wrong with its windows."""

    rows: pa.Table
    problems: dict[int, Problem]


def with_overflow(rows: pa.Table, overflow: Mapping[int, str]) -> Windowed:
    """`overflow` is row → the name of a result beyond its type."""
    return Windowed(rows, {row: beyond_type(name) for row, name in overflow.items()})


def computed(
    compute: Callable[[pa.Table], Windowed],
    rows: pa.Table,
    in_units: Callable[[pa.Table], tuple[pa.Table, Ints]],
    without_results: Callable[[pa.Table], pa.Table],
) -> Windowed:
    """What `compute` gives for the rows; where it raises, for those of all units of rows but the bad ones.

    `in_units` gives the rows in another order, and the number of each one's unit, which rises, shape (n,).
    `compute` must be as it was before a call that raised.
    """
    try:
        return compute(rows)
    except Exception:  # whatever it was, it is looked for among the rows
        return _apart(compute, *in_units(rows), without_results)


def _apart(
    compute: Callable[[pa.Table], Windowed],
    rows: pa.Table,
    unit: Ints,
    without_results: Callable[[pa.Table], pa.Table],
) -> Windowed:
    starts, _ = segments(unit)
    edges = [*starts.tolist(), rows.num_rows]

    def of(start: int, stop: int) -> pa.Table:
        return rows.slice(edges[start], edges[stop] - edges[start])

    spans, failures = isolate_spans(lambda start, stop: compute(of(start, stop)), len(starts))
    parts = {start: made for start, _, made in spans}
    for start, error in failures.items():
        failed = without_results(of(start, start + 1))
        problem = unexpected("feature", error)
        log.error("windows.unexpected", rows=failed.num_rows, reason=problem.message)
        parts[start] = Windowed(failed, dict.fromkeys(range(failed.num_rows), problem))
    made = [parts[start] for start in sorted(parts)]
    before = np.cumsum([0, *(part.rows.num_rows for part in made)]).tolist()
    problems = {
        row + offset: problem
        for part, offset in zip(made, before, strict=False)
        for row, problem in part.problems.items()
    }
    return Windowed(pa.concat_tables([part.rows for part in made]), problems)
