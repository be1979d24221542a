"""Finds the records on which Tailrace itself fails, by scoring a batch in halves.

A version that cannot be loaded and a file or network that fails are no record's fault: these are raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from udfs.errors import ModelError
from udfs.isolate import Span, isolate_spans
from udfs.records.problems import Problem, Stage, unexpected

NO_RECORDS_FAULT: tuple[type[Exception], ...] = (ModelError, OSError)
Result = TypeVar("Result")
log = structlog.get_logger(__name__)


class Counts(Protocol):
    """What is counted while records are scored, beside the outcomes."""

    def keep(self) -> None:
        """What was counted since the last call was of records that now have an outcome."""

    def drop(self) -> None:
        """What was counted since the last `keep` was of records that will be scored again."""


class RunningTotals:
    """Totals that go back to where they were."""

    def __init__(self, totals: Counter[str]) -> None:
        self._totals = totals
        self._kept = Counter(totals)

    def keep(self) -> None:
        self._kept = Counter(self._totals)

    def drop(self) -> None:
        self._totals.clear()
        self._totals.update(self._kept)


def score_all(
    score: Callable[[int, int], Result], rows: int, stage: Stage, counts: Sequence[Counts] = ()
) -> tuple[list[Span[Result]], dict[int, Problem]]:
    """The results for spans of n records, in order, and the problem of each on which `score` raises."""

    def attempt(start: int, stop: int) -> Result:
        try:
            result = score(start, stop)
        except Exception as error:
            problem = unexpected(stage, error)
            log.error("batch.unexpected", rows=stop - start, reason=problem.message)
            for each in counts:
                each.drop()
            raise
        for each in counts:
            each.keep()
        return result

    spans, failures = isolate_spans(attempt, rows, NO_RECORDS_FAULT)
    return spans, {row: unexpected(stage, error) for row, error in failures.items()}
