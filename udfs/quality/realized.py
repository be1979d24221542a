"""How right predictions were, from the counts of records whose labels came."""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import itemgetter

from udfs.quality.alike import (
    BOTH,
    CALLED,
    ERROR,
    LOSS,
    NOT_BELOW,
    POSITIVE,
    RIGHT,
    ROWS,
    SECOND,
    Part,
    share_of,
    share_with,
    times_as_wide,
    variance_of,
)
from udfs.quality.bins import bin_value, curve_bin
from udfs.quality.counts import PARTS, Labelled
from udfs.quality.intervals import of_mean, within
from udfs.quality.ranking import Cells, auc, auc_influences, average_precision, precision_influences
from udfs.quality.records import ClassReport, CurvePoint, Metric
from udfs.rollout.blocks import in_blocks
from udfs.rollout.losses import FINE, LossSum

# Where the counts of a class are.
LABELS, OF_CLASS, PREDICTED = 0, 1, 2


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
    return {
        "auc": _auc(counts, cells),
        "average_precision": _average_precision(counts, cells),
        **_shares(counts),
        "accuracy": _accuracy(counts),
        **_no_change(counts),
    }


def _binary(counts: Labelled) -> dict[str, Metric]:
    return {
        **_anomaly(counts),
        "log_loss": _mean(counts.loss, variance_of(counts, _summed(LOSS))),
        "brier": _mean(counts.second, variance_of(counts, _summed(SECOND))),
        "ece": _calibration_error(counts),
    }


def _multiclass(counts: Labelled) -> dict[str, Metric]:
    return {
        "accuracy": _accuracy(counts),
        "log_loss": _mean(counts.loss, variance_of(counts, _summed(LOSS))),
        "brier": _mean(counts.second, variance_of(counts, _summed(SECOND))),
        "ece": _calibration_error(counts),
        **_no_change(counts),
    }


def _regression(counts: Labelled) -> dict[str, Metric]:
    squared, (signed, _, _) = _mean(counts.loss, variance_of(counts, _summed(LOSS))), counts.errors
    bias = signed / FINE / counts.rows
    variance = max(counts.loss.mean - bias * bias, 0.0)
    error = _error(variance, counts, _summed(ERROR))
    low, high = (
        None if limit is None else math.sqrt(max(limit, 0.0)) for limit in (squared.low, squared.high)
    )
    return {
        "mae": _mean(counts.second, variance_of(counts, _summed(SECOND))),
        "rmse": Metric(value=math.sqrt(counts.loss.mean), low=low, high=high),
        "bias": of_mean(bias, error),
    }


_OF_KIND = {"binary": _binary, "multiclass": _multiclass, "regression": _regression, "anomaly": _anomaly}


def _mean(loss: LossSum, in_blocks: float = 0.0) -> Metric:
    """By the records' own variance, or by that of blocks of time, whichever is larger."""
    return within(of_mean(loss.mean, math.sqrt(max(loss.error, in_blocks)) if loss.n > 1 else None), 0.0)


def _error(variance: float, counts: Labelled, part: Part) -> float | None:
    """The standard error of a mean of records with this variance, or of blocks of them."""
    if counts.rows < 2:
        return None
    return math.sqrt(max(variance / (counts.rows - 1), variance_of(counts, part)))


def _summed(place: int) -> Part:
    """The mean over records of what blocks have the sum of in units."""
    return lambda block: (block[place] / FINE, block[ROWS])


def _shares(counts: Labelled) -> dict[str, Metric]:
    """F1 by way of both / (positive or called), which is a share."""
    either = share_of(counts, lambda block: (block[BOTH], block[POSITIVE] + block[CALLED] - block[BOTH]))
    value, low, high = (
        None if s is None else 2 * s / (1 + s) for s in (either.value, either.low, either.high)
    )
    return {
        "precision": share_of(counts, itemgetter(BOTH, CALLED)),
        "recall": share_of(counts, itemgetter(BOTH, POSITIVE)),
        "f1": Metric(value=value, low=low, high=high),
    }


def _accuracy(counts: Labelled) -> Metric:
    return share_of(counts, itemgetter(RIGHT, ROWS))


def _auc(counts: Labelled, cells: Cells) -> Metric:
    return auc(
        cells, times_as_wide(counts, dict(zip(sorted(counts.bins), auc_influences(cells), strict=True)))
    )


def _average_precision(counts: Labelled, cells: Cells) -> Metric:
    influences = dict(zip(sorted(counts.bins), precision_influences(cells), strict=True))
    return average_precision(cells, times_as_wide(counts, influences))


def _calibration_error(counts: Labelled) -> Metric:
    """Mean gap of score and outcome in 15 bins, as backtests have it."""
    gaps, variance = [], []
    for n, positive, total in counts.curve.values():
        gaps.append(abs(total / PARTS - positive))
        variance.append(positive * (n - positive) / n)
    value, error = math.fsum(gaps) / counts.rows, math.sqrt(math.fsum(variance)) / counts.rows
    wide = math.sqrt(times_as_wide(counts, _gap_influences(counts, value)))
    return within(of_mean(value, error * wide), 0.0, 1.0)


def _gap_influences(counts: Labelled, mean: float) -> dict[int, tuple[float, float]]:
    sides = {
        place: math.copysign(1, total / PARTS - positive)
        for place, (_, positive, total) in counts.curve.items()
    }
    found = {}
    for number, (n, _, total) in counts.bins.items():
        score = total / PARTS / n
        side = sides.get(curve_bin(score), 0.0)
        found[number] = side * (score - 1) - mean, side * score - mean
    return found


def curve_of(counts: Labelled) -> tuple[CurvePoint, ...]:
    """The calibration curve: bins that have records."""
    return tuple(
        CurvePoint(n, total / PARTS / n, positive / n) for n, positive, total in counts.curve.values()
    )


def classes_of(counts: Labelled) -> tuple[ClassReport, ...]:
    """Of many classes each."""
    return tuple(
        ClassReport(label, n, *(_share_of_class(counts, label, place) for place in (LABELS, PREDICTED)))
        for label, (n, _, _) in sorted(counts.classes.items())
    )


def _share_of_class(counts: Labelled, label: str, place: int) -> Metric:
    """What was right of a class, among its labels or its predictions."""
    blocks = {slot: votes[label] for slot, votes in counts.votes.items() if label in votes}
    whole = counts.classes[label]
    variance = in_blocks(
        {slot: (row[OF_CLASS], row[place]) for slot, row in blocks.items()}, whole[OF_CLASS], whole[place]
    )
    return share_with(whole[OF_CLASS], whole[place], variance)


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
    signed = counts.errors[0]
    lean = 1 - 2 * quantile
    rows, absolute, bias = counts.rows, counts.second.mean, signed / FINE / counts.rows
    value = (absolute + lean * bias) / 2
    # (|e| + lean e)² = (1 + lean²) e² + 2 lean e |e|
    square = ((1 + lean**2) * counts.loss.mean + 2 * lean * counts.errors[1] / FINE / rows) / 4
    error = _error(
        max(square - value**2, 0.0),
        counts,
        lambda block: ((block[SECOND] + lean * block[ERROR]) / 2 / FINE, block[ROWS]),
    )
    return {
        "pinball": within(of_mean(value, error), 0.0),
        "quantile_coverage": share_of(counts, itemgetter(NOT_BELOW, ROWS)),
    }


def delay_quantile(delays: Mapping[int, int], share: float) -> float | None:
    """The middle of the bin in which this part of the delays ends: within a part in 256."""
    total, running = sum(delays.values()), 0
    for number, count in sorted(delays.items()):
        running += count
        if running >= share * total:
            return bin_value(number)
    return None
