"""Converts times between text and milliseconds since the epoch, and finds the window of a time.

>>> iso(parse_time("2026-03-01T13:00:00+01:00"))
'2026-03-01T12:00:00.000Z'
>>> iso(window_start(parse_time("2026-03-01T12:59:59.999"), 3_600_000))
'2026-03-01T12:00:00.000Z'
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:  # Start-up: commands that only need the clock do not load numpy.
    import numpy as np
    import numpy.typing as npt

Milliseconds: TypeAlias = "npt.NDArray[np.int64]"
Times = TypeVar("Times", int, "Milliseconds")


def now_ms() -> int:
    """The clock, in ms since the epoch."""
    return time.time_ns() // 1_000_000


def window_start(times: Times, length_ms: int) -> Times:
    """Starts of the windows of fixed length, counted from the epoch, in which times fall; all in ms."""
    return times - times % length_ms


def parse_time(text: str) -> int:
    """ISO 8601 to ms since the epoch; without an offset it is UTC. Raises ValueError."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"a time must be ISO 8601, as 2026-03-01T12:00:00Z; got {text[:60]!r}") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return round(parsed.timestamp() * 1000)


def iso(ms: int) -> str:
    """ISO 8601 of a time in UTC, with three decimals: 2013-07-01T06:00:00.000Z."""
    text = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03}Z"
