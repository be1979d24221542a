"""How right predictions were, from the counts of records whose labels came."""

from __future__ import annotations

import math
from collections.abc import Mapping

from udfs.quality.bins import bin_value, coarse
from udfs.quality.counts import PARTS, Labelled
from udfs.quality.intervals import of_mean, of_share, within
from udfs.quality.ranking import Cells, auc, average_precision, placements
from udfs.quality.records import ClassReport, CurvePoint, Metric
from udfs.rollout.losses import FINE, LossSum


def realized(counts: Labelled, quantile: float | None = None) -> dict[str, Metric]:
    """The metrics of the model's kind of output by name; those without a value are left out."""
    if not counts.rows:
        return {}
    found = _OF_KIND[counts.kind](counts)
    if counts.kind == "regression" and quantile is not None:
        found |= _at_quantile(counts, quantile)
    return {name: metric for name, metric in found.items() if metric.value is not None}


def cells_of(counts: Labelled) -> Cells:
    """Positives and negatives by the score's bin, in ascending order."""
    return [(positive, n - positive) for _, (n, positive, _) in sorted(counts.bins.items())]


def _anomaly(counts: Labelled) -> dict[str, Metric]:
    cells = cells_of(counts)
    positive, called, both = counts.decisions
    return {
        "auc": auc(cells, _ranked_alike(counts, cells)),
        "average_precision": average_precision(cells),
        "precision": of_share(both, called),
        "recall": of_share(both, positive),
        "f1": _f1(positive, called, both),
        "accuracy": _accuracy(counts),
        **_no_change(counts),
    }


def _binary(counts: Labelled) -> dict[str, Metric]:
    return {
        **_anomaly(counts),
        "log_loss": _mean(counts.loss, _in_blocks(counts, _LOSS)),
        "brier": _mean(counts.second, _in_blocks(counts, _SECOND)),
        "ece": _calibration_error(counts),
    }


def _multiclass(counts: Labelled) -> dict[str, Metric]:
    return {
        "accuracy": _accuracy(counts),
        "log_loss": _mean(counts.loss, _in_blocks(counts, _LOSS)),
        "brier": _mean(counts.second, _in_blocks(counts, _SECOND)),
        "ece": _calibration_error(counts),
        **_no_change(counts),
    }


def _regression(counts: Labelled) -> dict[str, Metric]:
    squared, (signed, _, _) = _mean(counts.loss, _in_blocks(counts, _LOSS)), counts.errors
    bias = signed / FINE / counts.rows
    variance = max(counts.loss.mean - bias * bias, 0.0)
    error = math.sqrt(variance / (counts.rows - 1)) if counts.rows > 1 else None
    low, high = (
        None if limit is None else math.sqrt(max(limit, 0.0)) for limit in (squared.low, squared.high)
    )
    return {
        "mae": _mean(counts.second, _in_blocks(counts, _SECOND)),
        "rmse": Metric(value=math.sqrt(counts.loss.mean), low=low, high=high),
        "bias": of_mean(bias, error),
    }


_OF_KIND = {"binary": _binary, "multiclass": _multiclass, "regression": _regression, "anomaly": _anomaly}


def _mean(loss: LossSum, in_blocks: float = 0.0) -> Metric:
    """By the records' own variance, or by that of blocks of time, whichever is larger."""
    return within(of_mean(loss.mean, math.sqrt(max(loss.error, in_blocks)) if loss.n > 1 else None), 0.0)


# Where the sums of a block are.
_LOSS, _SECOND, _RIGHT = 1, 2, 3
# Of fewer blocks their variance says little.
_LEAST_BLOCKS = 10


def _in_blocks(counts: Labelled, place: int) -> float:
    """The variance of a mean whose records are alike within blocks (Liang and Zeger 1986); 0: not known."""
    blocks, rows = list(counts.blocks.values()), sum(block[0] for block in counts.blocks.values())
    if len(blocks) < _LEAST_BLOCKS:
        return 0.0
    unit = 1 if place == _RIGHT else FINE
    mean = sum(block[place] for block in blocks) / unit / rows
    spread = math.fsum((block[place] / unit - block[0] * mean) ** 2 for block in blocks)
    return spread / rows**2 * len(blocks) / (len(blocks) - 1)


def _ranked_alike(counts: Labelled, cells: Cells) -> float:
    """How many times as large an AUC's variance is as if records of a block were not alike (Obuchowski 1997).

    Both by the placements of coarse bins, so that what is lost in these is lost in both.
    """
    positives, negatives = sum(p for p, _ in cells), sum(n for _, n in cells)
    if len(counts.ranks) < _LEAST_BLOCKS or min(positives, negatives) < 2:
        return 1.0
    of_bin = _influences(counts, cells)
    total = [0, 0]
    moved, alone = [], []
    for block in counts.ranks.values():
        for n, positive in block.values():
            total[0], total[1] = total[0] + positive, total[1] + n - positive
    for block in counts.ranks.values():
        of_block = []
        for number, (n, positive) in block.items():
            if_positive, if_negative = of_bin[number]
            of_block += [positive * if_positive / total[0], (n - positive) * if_negative / total[1]]
            alone += [
                positive * (if_positive / total[0]) ** 2,
                (n - positive) * (if_negative / total[1]) ** 2,
            ]
        moved.append(math.fsum(of_block))
    blocks, each = len(moved), math.fsum(alone)
    together = math.fsum(value**2 for value in moved) * blocks / (blocks - 1)
    return max(together / each, 1.0) if each else 1.0


def _influences(counts: Labelled, cells: Cells) -> dict[int, tuple[float, float]]:
    """By how much a positive, and a negative, record of a coarse bin wins more than the mean one does."""
    below, above = placements(cells)
    sums: dict[int, list[float]] = {}
    for number, (positive, negative), under, over in zip(
        sorted(counts.bins), cells, below, above, strict=True
    ):
        row = sums.setdefault(coarse(number), [0.0] * 4)
        for place, value in enumerate((positive, positive * under, negative, negative * over)):
            row[place] += value
    value = math.fsum(row[1] for row in sums.values()) / sum(row[0] for row in sums.values())
    return {
        number: (won / p - value if p else 0.0, lost / n - value if n else 0.0)
        for number, (p, won, n, lost) in sums.items()
    }


def _accuracy(counts: Labelled) -> Metric:
    """As of so many fewer records as these say because they are alike (Kish's design effect)."""
    share, rows = counts.right / counts.rows, counts.rows
    alone = share * (1 - share) / rows
    alike = max(_in_blocks(counts, _RIGHT) / alone, 1.0) if alone else 1.0
    found = of_share(counts.right / alike, rows / alike)
    return Metric(value=share, low=found.low, high=found.high)


def _f1(positive: int, called: int, both: int) -> Metric:
    """By way of both / (positive or called), which is a share."""
    either = positive + called - both
    share = of_share(both, either)
    if share.value is None or share.low is None or share.high is None:
        return share
    value, low, high = (2 * s / (1 + s) for s in (share.value, share.low, share.high))
    return Metric(value=value, low=low, high=high)


def _calibration_error(counts: Labelled) -> Metric:
    """Mean gap of score and outcome in 15 bins, as backtests have it."""
    gaps, variance = [], []
    for n, positive, total in counts.curve.values():
        gaps.append(abs(total / PARTS - positive))
        variance.append(positive * (n - positive) / n)
    value, error = math.fsum(gaps) / counts.rows, math.sqrt(math.fsum(variance)) / counts.rows
    return within(of_mean(value, error), 0.0, 1.0)


def curve_of(counts: Labelled) -> tuple[CurvePoint, ...]:
    """The calibration curve: bins that have records."""
    return tuple(
        CurvePoint(n, total / PARTS / n, positive / n) for n, positive, total in counts.curve.values()
    )


def classes_of(counts: Labelled) -> tuple[ClassReport, ...]:
    """Of many classes each."""
    return tuple(
        ClassReport(label, n, of_share(right, n), of_share(right, predicted))
        for label, (n, right, predicted) in sorted(counts.classes.items())
    )


def _no_change(counts: Labelled) -> dict[str, Metric]:
    """Against a prediction that things stay as they are (Žliobaitė et al. 2015, kappa-temporal).

    That is the label of any record of the last slot before which has some.
    """
    before: Mapping[str, int] | None = None
    right, n = 0.0, 0
    for _, labels in sorted(counts.slots.items()):
        here = sum(labels.values())
        if before is not None:
            all_before = sum(before.values())
            right += math.fsum(before.get(name, 0) * count for name, count in labels.items()) / all_before
            n += here
        before = labels
    if not n:
        return {}
    baseline, accuracy = right / n, counts.right / counts.rows
    kappa = (accuracy - baseline) / (1 - baseline) if baseline < 1 else None
    return {"no_change_accuracy": Metric(value=baseline), "kappa_temporal": Metric(value=kappa)}


def _at_quantile(counts: Labelled, quantile: float) -> dict[str, Metric]:
    """Pinball loss (Koenker and Bassett 1978), and the share of labels that were not above the prediction."""
    signed, _, not_below = counts.errors
    lean = 1 - 2 * quantile
    rows, absolute, bias = counts.rows, counts.second.mean, signed / FINE / counts.rows
    value = (absolute + lean * bias) / 2
    # (|e| + lean e)² = (1 + lean²) e² + 2 lean e |e|
    square = ((1 + lean**2) * counts.loss.mean + 2 * lean * counts.errors[1] / FINE / rows) / 4
    error = math.sqrt(max(square - value**2, 0.0) / (rows - 1)) if rows > 1 else None
    return {"pinball": within(of_mean(value, error), 0.0), "quantile_coverage": of_share(not_below, rows)}


def delay_quantile(delays: Mapping[int, int], share: float) -> float | None:
    """The middle of the bin in which this part of the delays ends: within a part in 256."""
    total, running = sum(delays.values()), 0
    for number, count in sorted(delays.items()):
        running += count
        if running >= share * total:
            return bin_value(number)
    return None
