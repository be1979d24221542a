"""Counts how old events are when they are predicted, in the cumulative buckets of a Prometheus histogram.

>>> counts: dict[str, int] = {}
>>> histogram = LatencyHistogram(counts, clock=lambda: 60_000)
>>> histogram.add(np.array([59_990, 58_000]))
>>> counts["latency_le_0.1"], counts["latency_le_2.5"], counts["latency_le_+Inf"]
(1, 2, 2)
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping

import numpy as np

from udfs.times import Milliseconds, now_ms

BOUNDS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_BOUNDS_MS = np.array([round(bound * 1000) for bound in BOUNDS_S])
# The name of a bucket's count, and its bound in seconds as text.
BUCKETS = {f"latency_le_{bound}": bound for bound in (*map(str, BOUNDS_S), "+Inf")}


class LatencyHistogram:
    """Adds to `counts`, running totals by the names of `BUCKETS`. `clock` gives ms since the epoch."""

    def __init__(self, counts: MutableMapping[str, int], clock: Callable[[], int] = now_ms) -> None:
        self._counts, self._clock = counts, clock
        self._totals = np.zeros(len(BUCKETS), dtype=np.int64)

    def add(self, times: Milliseconds) -> None:
        """Event times of n predictions, shape (n,); one that is ahead of the clock counts as new."""
        # The first bucket that takes an age of exactly its bound.
        places = np.searchsorted(_BOUNDS_MS, self._clock() - times)
        self._totals += np.bincount(places, minlength=len(BUCKETS)).cumsum()
        for name, total in zip(BUCKETS, self._totals.tolist(), strict=True):
            self._counts[name] = total
