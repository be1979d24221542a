"""Which rows a model is fitted on and which it is judged by: always by event time, equal times on one side.

out = EveryNthDay(5)(times)
for fit, judged in expanding_folds(times[~out], folds=4, gap=timedelta(hours=1)): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np
import numpy.typing as npt

from flink_jobs.errors import InputError

Times = npt.NDArray[np.datetime64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


class Holdout(Protocol):
    """Chooses rows by their event times, (n,) datetime64[ms]; `str` of it says how, for the manifest."""

    def __call__(self, times: Times) -> Mask: ...


@dataclass(frozen=True)
class LastShare:
    """The last rows in event time; 0.2 is a fifth."""

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"share must be between 0 and 1; got {self.share}")

    def __call__(self, times: Times) -> Mask:
        if not len(times):
            return np.zeros(0, bool)
        first = np.sort(times)[int(len(times) * (1 - self.share))]
        return np.asarray(times >= first)

    def __str__(self) -> str:
        return f"the last {self.share:.0%} by event time"


@dataclass(frozen=True)
class EveryNthDay:
    """Whole days spread over the year: for data with seasons, where the last days are not like the others."""

    n: int = 5

    def __post_init__(self) -> None:
        if self.n < 2:
            raise InputError(f"n must be 2 or more; got {self.n}")

    def __call__(self, times: Times) -> Mask:
        days = times.astype("datetime64[D]")
        first = days.astype("datetime64[Y]").astype("datetime64[D]")
        return np.asarray(((days - first).astype(np.int64) + 1) % self.n == 0)

    def __str__(self) -> str:
        return f"day of year divisible by {self.n}"


def expanding_folds(times: Times, folds: int, gap: timedelta = timedelta(0)) -> list[tuple[Rows, Rows]]:
    """`folds` pairs of row numbers: each judges a stretch of time by what was fitted on before it.

    Every fitted row is more than `gap` before each judged one. Stretches follow each other and have about
    the same number of rows; the first has 1/(folds + 1) of the rows before it. Raises InputError when there
    are not enough distinct times.
    """
    ordered = np.sort(times)
    starts = [ordered[len(ordered) * (i + 1) // (folds + 1)] for i in range(folds)] if len(ordered) else []
    margin = np.timedelta64(int(gap / timedelta(milliseconds=1)), "ms")
    pairs = []
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < folds else None
        judged = (times >= start) & (times < end if end is not None else True)
        pairs.append((np.flatnonzero(times < start - margin), np.flatnonzero(judged)))
    if not pairs or any(not len(fit) or not len(judged) for fit, judged in pairs):
        raise InputError(
            f"{len(times)} rows must make {folds} folds in time with a gap of {gap}; there are too few "
            "distinct event times: fewer folds or a smaller gap would do"
        )
    return pairs


def parse_time(text: str, what: str) -> datetime:
    """ISO 8601 as a time in UTC, which it is in when it names no zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{what} must be a time in ISO 8601; got {text!r}") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def as_numpy(time: datetime) -> np.datetime64:
    """A time in UTC, to the millisecond."""
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "ms")
