"""How alike records near in time are, as in a storm: then many of them say what a few independent ones would.

By 60 blocks of the window's time (Liang and Zeger 1986; Obuchowski 1997 of areas) and their neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from udfs.quality.bins import coarse
from udfs.quality.counts import Labelled, Row
from udfs.quality.intervals import of_share
from udfs.quality.records import Metric
from udfs.rollout.blocks import LEAST_BLOCKS, in_blocks, spread

#: What is counted, and among how many: of a block, or of all blocks together.
Part = Callable[[Row], tuple[float, float]]
#: By how much a positive, and a negative, record of a bin of the score moves a metric.
Influences = Mapping[int, tuple[float, float]]

#: Where the counts of a block are.
ROWS, LOSS, SECOND, RIGHT = 0, 1, 2, 3
#: Of two classes and anomalies.
POSITIVE, CALLED, BOTH = 4, 5, 6
#: Of regressions.
ERROR, NOT_BELOW = 4, 5
_PLACES = 7


def variance_of(counts: Labelled, part: Part) -> float:
    """The variance of a part whose records are alike within blocks; 0: not known.

    It is not of counts whose first part is of an older release, which did not count it in blocks.
    """
    found = {slot: part((*row, *[0] * (_PLACES - len(row)))) for slot, row in counts.blocks.items()}
    return in_blocks(found, *part(_whole(counts)))


def share_of(counts: Labelled, part: Part) -> Metric:
    """A share of records that are alike within blocks."""
    return share_with(*part(_whole(counts)), variance_of(counts, part))


def share_with(count: float, n: float, variance: float) -> Metric:
    """A share, as of so many fewer records as these say because they are alike (Kish's design effect)."""
    if not n:
        return Metric()
    share = count / n
    alone = share * (1 - share) / n
    alike = max(variance / alone, 1.0) if alone else 1.0
    found = of_share(count / alike, n / alike)
    return Metric(value=share, low=found.low, high=found.high)


def _whole(counts: Labelled) -> Row:
    signed, _, not_below = counts.errors
    last = (signed, not_below) if counts.kind == "regression" else counts.decisions
    return counts.rows, counts.loss.total, counts.second.total, counts.right, *last


def times_as_wide(counts: Labelled, influences: Influences) -> float:
    """How many times as large a metric's variance is as if records of a block were not alike; 1 or more.

    Both by what records of coarse bins make on average, so that what is lost in these is lost in both.
    """
    if len(counts.ranks) < LEAST_BLOCKS:
        return 1.0
    of_bin = _averaged(counts, influences)
    together, alone = {}, []
    for slot, block in counts.ranks.items():
        moved = []
        for number, (n, positive) in block.items():
            for rows, by in zip((positive, n - positive), of_bin[number], strict=True):
                moved.append(rows * by)
                alone.append(rows * by**2)
        together[slot] = math.fsum(moved)
    each = math.fsum(alone)
    return max(spread(together) / each, 1.0) if each else 1.0


def _averaged(counts: Labelled, influences: Influences) -> dict[int, tuple[float, float]]:
    sums: dict[int, list[float]] = {}
    for number, (n, positive, _) in sorted(counts.bins.items()):
        if_positive, if_negative = influences[number]
        row = sums.setdefault(coarse(number), [0.0] * 4)
        added = (positive, positive * if_positive, n - positive, (n - positive) * if_negative)
        for place, value in enumerate(added):
            row[place] += value
    return {
        number: (of_positives / p if p else 0.0, of_negatives / n if n else 0.0)
        for number, (p, of_positives, n, of_negatives) in sums.items()
    }
