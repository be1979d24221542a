"""How a value changes within a window: from its first to its last value that is not null."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from udfs.windows.columns import Bools, Column
from udfs.windows.monoids import Arrays


def delta(first: Arrays, last: Arrays) -> tuple[Column, Bools]:
    """Last - first, of the column's type; and where that is beyond it."""
    found, start, end = first[0], first[1], last[1]
    change = end - start
    beyond = found & _beyond(start, end, change)
    return Column(change, found & ~beyond), beyond


def rate(first: Arrays, last: Arrays) -> tuple[Column, Bools]:
    """Last - first, as a double, by the seconds between them; null if there are none."""
    start, end = first[1], last[1]
    change = (end - start).astype(np.float64)
    if start.dtype == np.int64:
        for row in _beyond(start, end, end - start).nonzero()[0].tolist():
            change[row] = float(int(end[row]) - int(start[row]))
    elapsed = last[2] - first[2]
    rates = change / (np.maximum(elapsed, 1) / 1000) + 0.0
    found = first[0] & (elapsed > 0)
    beyond = found & np.isinf(rates)
    return Column(rates, found & ~beyond), beyond


def _beyond(start: NDArray[Any], end: NDArray[Any], change: NDArray[Any]) -> Bools:
    """Where a difference left its type: infinite, or of the wrong sign."""
    if change.dtype == np.float64:
        return np.asarray(np.isinf(change))
    return np.asarray(np.less((end ^ start) & (end ^ change), 0))
