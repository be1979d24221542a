"""Runs a computation over a batch and finds the rows that make it fail, by halving.

>>> table = pa.table({"x": [1, 2, 0, 4]})
>>> isolate(lambda rows: [8 // x for x in rows["x"].to_pylist()], table)
([(0, 2, [8, 4]), (3, 4, [2])], {2: ZeroDivisionError('integer division or modulo by zero')})

>>> isolate_spans(lambda start, stop: [100 // n for n in range(start, stop)], 4)
([(1, 2, [100]), (2, 4, [50, 33])], {0: ZeroDivisionError('integer division or modulo by zero')})
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

Result = TypeVar("Result")
Span = tuple[int, int, Result]


def isolate(
    compute: Callable[[pa.Table], Result], table: pa.Table
) -> tuple[list[Span[Result]], dict[int, Exception]]:
    """The results of all spans of rows that work, in order, and the exception of each row that does not.

    One bad row among n costs about 2 log2(n) further calls, which together see 2n rows.
    """
    return isolate_spans(lambda start, stop: compute(table.slice(start, stop - start)), table.num_rows)


def isolate_spans(
    compute: Callable[[int, int], Result], rows: int, passed_on: tuple[type[Exception], ...] = ()
) -> tuple[list[Span[Result]], dict[int, Exception]]:
    """The same for n rows that `compute` finds by start and stop; errors `passed_on` are raised."""
    spans: list[Span[Result]] = []
    failures: dict[int, Exception] = {}
    pending = [(0, rows)] if rows else []
    while pending:
        start, stop = pending.pop()
        try:
            spans.append((start, stop, compute(start, stop)))
        except passed_on:
            raise
        except Exception as error:  # whatever a model or an expression raises is an outcome of its row
            if stop - start == 1:
                failures[start] = error
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
    return spans, failures
