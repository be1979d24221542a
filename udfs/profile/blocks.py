"""Measures how alike rows near in time are: n rows of one hour may say no more than a few rows of a year.

The reference's rows are cut into blocks of time. By how much the blocks' means differ more than chance makes
them is the mean correlation of two rows of a block: the intraclass correlation, by the analysis of variance
(Donner, "A review of inference procedures for the intraclass correlation", International Statistical
Review, 1986). It does not depend on how many rows a block has, and holds for windows with more or fewer: of n
rows 1 + (n - 1) · correlation count as one (Kish, "Survey sampling", 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# (length of a block in ms, correlation), the shortest first.
Blocks = list[tuple[int, float]]

# Of so few blocks, or rows in one, nothing can be said.
_FEWEST = 8
_LEAST_ROWS = 4
_HALVINGS = 10
# Standard errors; beyond chance at all lengths of most columns.
_SURE = 3.0


def blocks_of(ranks: Floats | None, cells: Ints | None, times: Ints) -> Blocks:
    """Of n rows: `ranks` of numbers, or `cells` of categories (0, 1, …); `times` in ms, (n,)."""
    return [(length, correlation(ranks, cells, numbers)) for length, numbers in in_blocks(times)]


def in_blocks(times: Ints) -> list[tuple[int, Ints]]:
    """The number of the block of each row, by the length of the blocks in ms, the shortest first."""
    if len(times) < _FEWEST * _LEAST_ROWS or times.max() == times.min():
        return []
    span = int(times.max() - times.min()) + 1
    found = []
    length = span // _FEWEST
    for _ in range(_HALVINGS):
        if len(times) * length < _LEAST_ROWS * span or length < 1:
            break
        filled, numbers = np.unique((times - times.min()) // length, return_inverse=True)
        if len(filled) >= _FEWEST:
            found.append((length, numbers))
        length //= 2
    return found[::-1]


def correlation(ranks: Floats | None, cells: Ints | None, blocks: Ints) -> float:
    """Of two rows of one block; 0 where chance may have made it."""
    sizes = np.bincount(blocks)
    if ranks is not None:
        return correlation_of_sums(np.bincount(blocks, ranks)[:, None], float(ranks @ ranks), sizes)
    assert cells is not None
    width, count = int(cells.max(initial=0)) + 1, len(sizes)
    sums = np.bincount(blocks * width + cells, minlength=count * width).reshape(count, width)
    return correlation_of_sums(sums, float(len(blocks)), sizes)


def correlation_of_sums(sums: npt.NDArray[Any], squares: float, sizes: Ints) -> float:
    """The same of rows with several values each: their sums by block, and the sum of all squares."""
    n, count = int(sizes.sum()), len(sizes)
    if count < 2 or n <= count:
        return 0.0
    inner = float(((sums**2).sum(axis=1) / sizes).sum())
    whole = float((sums.sum(axis=0) ** 2).sum()) / n
    between, within = (inner - whole) / (count - 1), (squares - inner) / (n - count)
    if within <= 0:
        return 1.0 if between > 0 else 0.0
    if between < within * (1 + _SURE * np.sqrt(2 / (count - 1))):
        return 0.0
    usual = (n - float((sizes.astype(np.float64) ** 2).sum()) / n) / (count - 1)
    return float((between - within) / (between + (usual - 1) * within))


def correlation_in(blocks: Sequence[tuple[int, float]], window_ms: int) -> float:
    """Of two rows of a window: at least what rows of a shorter block are alike, thinned out.

    Short blocks are many, so that theirs is known well.
    """
    if not blocks or not window_ms:
        return 0.0
    shorter = [value * length / window_ms for length, value in blocks if length <= window_ms]
    return max(shorter, default=blocks[0][1])


def correlation_of_all(blocks: Sequence[tuple[int, float]]) -> float:
    """Of two rows of the reference itself."""
    return correlation_in(blocks, _FEWEST * blocks[-1][0]) if blocks else 0.0


def mid_ranks(values: Floats) -> Floats:
    """Ranks of n values among each other, 0 to 1; ties share theirs."""
    ordered = np.sort(values)
    left, right = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
    result: Floats = (left + right) / (2 * len(values))
    return result
