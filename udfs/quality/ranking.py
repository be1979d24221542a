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


def auc(cells: Cells, alike: float = 1.0) -> Metric:
    """How often a positive record scores above a negative one; within a bin half of the time.

    The interval is DeLong's (DeLong et al. 1988), from the bins, of a variance `alike` times as large.
    The scores' own value is at most `binned` away: half of the pairs that share a bin.
    """
    positives, negatives = sum(p for p, _ in cells), sum(n for _, n in cells)
    if not positives or not negatives:
        return Metric()
    below_share, above_share = placements(cells)
    won = math.fsum(p * below for (p, _), below in zip(cells, below_share, strict=True))
    value = won / positives
    shared = sum(p * n for p, n in cells) / (positives * negatives) / 2
    error = _delong(cells, value, (below_share, above_share), positives, negatives)
    if error is None:
        return Metric(value=value, binned=shared)
    half = Z * error * math.sqrt(alike)
    return Metric(value=value, low=max(value - half, 0.0), high=min(value + half, 1.0), binned=shared)


def placements(cells: Cells) -> tuple[list[float], list[float]]:
    """Of each bin the share of the negative records below it, and of the positive ones above it."""
    positives, negatives = sum(p for p, _ in cells), sum(n for _, n in cells)
    below, seen = 0.0, 0.0
    below_share, above_share = [], []
    for positive, negative in cells:
        below_share.append((below + negative / 2) / negatives)
        above_share.append((positives - seen - positive / 2) / positives)
        below += negative
        seen += positive
    return below_share, above_share


def auc_influences(cells: Cells) -> list[tuple[float, float]]:
    """By how much a positive, and a negative, record of each bin moves the AUC."""
    positives, negatives = sum(p for p, _ in cells), sum(n for _, n in cells)
    if not positives or not negatives:
        return [(0.0, 0.0)] * len(cells)
    below, above = placements(cells)
    value = math.fsum(p * b for (p, _), b in zip(cells, below, strict=True)) / positives
    return [((b - value) / positives, (a - value) / negatives) for b, a in zip(below, above, strict=True)]


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


def average_precision(cells: Cells, alike: float = 1.0) -> Metric:
    """The mean precision at each positive record, those of a bin at its lower end.

    The interval is by the logit (Boyd, Eng and Page 2013), as of `alike` times fewer positives.
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
    metric = logit_interval(value, positives / alike)
    return Metric(value=value, low=metric.low, high=metric.high, binned=shared)


def precision_influences(cells: Cells) -> list[tuple[float, float]]:
    """By how much a positive, and a negative, record of each bin moves the average precision."""
    positives = sum(p for p, _ in cells)
    if not positives:
        return [(0.0, 0.0)] * len(cells)
    seen, true, false = [], positives, sum(n for _, n in cells)
    for positive, negative in cells:
        seen.append((true, true + false))
        true -= positive
        false -= negative
    value = math.fsum(p * t / n for (p, _), (t, n) in zip(cells, seen, strict=True) if p) / positives
    found, raised, lowered = [], 0.0, 0.0
    # A record counts at all positive ones that score at most as high.
    for (positive, _), (t, n) in zip(cells, seen, strict=True):
        raised += positive * (n - t) / n**2
        lowered += positive * t / n**2
        found.append(((t / n - value + raised) / positives, -lowered / positives))
    return found
