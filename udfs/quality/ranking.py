"""Areas under curves from counts of positives and negatives on bins of the score, in ascending order.

>>> auc([(1, 3), (3, 1)]).value
0.75
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from udfs.quality.intervals import Z, logit_interval
from udfs.quality.records import Metric

#: Positives and negatives of a bin: counts, or what is expected of them.
Cells = Sequence[tuple[float, float]]


def auc(cells: Cells) -> Metric:
    """How often a positive record scores above a negative one; within a bin half of the time.

    The interval is DeLong's (DeLong et al. 1988), from the bins. The scores' own value is at most `binned`
    away: half of the pairs that share a bin.
    """
    positives, negatives = sum(p for p, _ in cells), sum(n for _, n in cells)
    if not positives or not negatives:
        return Metric()
    below, won, above_share, below_share = 0.0, 0.0, [], []
    seen = 0.0
    for positive, negative in cells:
        won += positive * (below + negative / 2)
        below_share.append((below + negative / 2) / negatives)
        above_share.append((positives - seen - positive / 2) / positives)
        below += negative
        seen += positive
    value = won / (positives * negatives)
    shared = sum(p * n for p, n in cells) / (positives * negatives) / 2
    error = _delong(cells, value, (below_share, above_share), positives, negatives)
    if error is None:
        return Metric(value=value, binned=shared)
    low, high = max(value - Z * error, 0.0), min(value + Z * error, 1.0)
    return Metric(value=value, low=low, high=high, binned=shared)


def auc_error(metric: Metric) -> float | None:
    """The standard error in the metric's interval, if that is not cut."""
    if metric.value is None or metric.low is None or metric.high is None:
        return None
    return max(metric.high - metric.value, metric.value - metric.low) / Z


def _delong(
    cells: Cells,
    value: float,
    placements: tuple[Sequence[float], Sequence[float]],
    positives: float,
    negatives: float,
) -> float | None:
    if positives < 2 or negatives < 2:
        return None
    below, above = placements
    of_positives = math.fsum(p * (b - value) ** 2 for (p, _), b in zip(cells, below, strict=True))
    of_negatives = math.fsum(n * (a - value) ** 2 for (_, n), a in zip(cells, above, strict=True))
    return math.sqrt(of_positives / (positives - 1) / positives + of_negatives / (negatives - 1) / negatives)


def average_precision(cells: Cells) -> Metric:
    """The mean precision at each positive record, those of a bin at its lower end.

    `binned` is how far the value may lie from that of the scores, whatever their order within bins.
    """
    positives = sum(p for p, _ in cells)
    if not positives:
        return Metric()
    true = false = area = best = worst = 0.0
    for positive, negative in reversed(cells):
        if positive:
            best += positive * (true + positive) / (true + positive + false)
            worst += positive * (true + min(1.0, positive)) / (true + min(1.0, positive) + false + negative)
        true += positive
        false += negative
        area += positive * true / (true + false) if positive else 0.0
    value = area / positives
    shared = max(best / positives - value, value - worst / positives)
    metric = logit_interval(value, positives)
    return Metric(value=value, low=metric.low, high=metric.high, binned=shared)
