"""Stops a job of which too many records become dead letters, before they drown their topic.

limit = DeadRateLimit(DeadRate(share=0.05, over=1_000, topic="orders.dead-letters"))
limit.add(kinds, {"contract missing": 60})        # DeadRateError: 60 of the last 1,000 records became …

It counts records, not time, and needs no state: after a restart the records since the last checkpoint are
read, and counted, again. None of the dead letters of a batch that raises are written.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from udfs.errors import DeadRateError
from udfs.scoring.outcomes import DEAD, LATE, Outcomes, decoded_problem
from udfs.scoring.params import DeadRate, SourceParams

_SHOWN = 3


class DeadRateLimit:
    """What one instance has seen of late: (records, dead, reasons) of the last batches."""

    def __init__(self, params: DeadRate) -> None:
        self._params = params
        self._batches: deque[tuple[int, int, Counter[str]]] = deque()
        self._records = self._dead = 0

    def add(self, kind: npt.NDArray[np.int8], reasons: Mapping[str, int]) -> None:
        """The kinds of a batch; late ones do not count. Raises DeadRateError."""
        records = len(kind) - int(np.count_nonzero(kind == LATE))
        dead = int(np.count_nonzero(kind == DEAD))
        self._batches.append((records, dead, Counter(reasons)))
        self._records += records
        self._dead += dead
        while self._records - self._batches[0][0] >= self._params.over:
            records, dead, _ = self._batches.popleft()
            self._records -= records
            self._dead -= dead
        if self._records >= self._params.over and self._dead > self._params.share * self._records:
            raise DeadRateError(self._told())

    def _told(self) -> str:
        total: Counter[str] = Counter()
        for _, _, reasons in self._batches:
            total += reasons
        why = ", ".join(f"{count:,} {reason}" for reason, count in total.most_common(_SHOWN))
        return (
            f"{self._dead:,} of the last {self._records:,} records became dead letters ({why}), more than "
            f"dead_letters.max_rate, {self._params.share:.4g}: the job stops before they drown "
            f"{self._params.topic}. None was lost: mend the cause, and go on from the last checkpoint"
        )


def check(limit: DeadRateLimit | None, outcomes: Outcomes) -> None:
    """Adds a batch, where there is a limit. Raises DeadRateError."""
    if limit is not None:
        limit.add(outcomes.kind, _reasons(outcomes.problem[outcomes.kind == DEAD]))


def limit_of(source: SourceParams) -> DeadRateLimit | None:
    """The limit that the job asks for, if it does."""
    return DeadRateLimit(source.max_dead) if source.max_dead else None


def _reasons(problems: Iterable[str | None]) -> Counter[str]:
    found = (decoded_problem(problem) for problem in problems if problem is not None)
    return Counter(f"{problem.stage} {problem.reason}" for problem in found)
