"""The variance of counts in blocks of time, as records near in time are alike (Liang and Zeger 1986)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

# Of fewer blocks their variance says little.
LEAST_BLOCKS = 10
# So many neighbours after a block may be like it.
_LAGS = 4


def in_blocks(found: Mapping[int, Sequence[float]], count: float, n: float) -> float:
    """The variance of count / n, which are those of blocks added up; 0: not known, as when they are not."""
    blocks = {slot: (of_block, rows) for slot, (of_block, rows) in found.items() if rows}
    counted = math.fsum(c for c, _ in blocks.values())
    if len(blocks) < LEAST_BLOCKS or not math.isclose(counted, count, rel_tol=1e-9, abs_tol=1e-9 * n):
        return 0.0
    if math.fsum(b for _, b in blocks.values()) != n:
        return 0.0
    return spread({slot: c - b * count / n for slot, (c, b) in blocks.items()}) / n**2


def spread(moved: Mapping[int, float]) -> float:
    """The variance of the sum of what blocks move, as a storm may last for some of them.

    Of neighbours as Newey and West (1987) have it, where that is larger.
    """
    alone = math.fsum(value**2 for value in moved.values())
    together = math.fsum(
        2 * (1 - lag / (_LAGS + 1)) * value * moved.get(slot + lag, 0.0)
        for slot, value in moved.items()
        for lag in range(1, _LAGS + 1)
    )
    return (alone + max(together, 0.0)) * len(moved) / (len(moved) - 1)
