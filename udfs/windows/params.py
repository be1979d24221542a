"""What windows are, as the job's plan says it to its workers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class AggregateParams(msgspec.Struct, frozen=True):
    """One result: `column` is None for count(*), `offset` is that of lag."""

    function: str
    column: str | None = None
    distinct: bool = False
    offset: int = 1


class WindowParams(msgspec.Struct, frozen=True):
    """A key's last `over_ms` milliseconds with all peers, or its last `rows` rows: one of them is not 0."""

    over_ms: int = 0
    rows: int = 0
    select: dict[str, AggregateParams] = {}


def longest(windows: Sequence[WindowParams]) -> int:
    """The longest window by time, in ms."""
    return max((window.over_ms for window in windows), default=0)


def most_rows(windows: Sequence[WindowParams]) -> int:
    """How many of a key's last rows windows need whatever their age; 0 if age alone decides."""
    lags = (a.offset + 1 for window in windows for a in window.select.values() if a.function == "lag")
    return max([*(window.rows for window in windows), *lags], default=0)
