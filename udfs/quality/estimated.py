"""How right predictions will turn out to be, if their probabilities are: an estimate without labels.

Confidence-based performance estimation (CBPE, of NannyML): of n records with the score p, n p are expected to
be positive. It holds for scores that are calibrated, and sees what a change of inputs does. When labels no
longer follow from inputs as they did, it is blind: only labels tell (`gap_of`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from udfs.log_loss import log_loss
from udfs.quality.counts import PARTS, Labelled, Predicted, Row
from udfs.quality.intervals import of_mean, within
from udfs.quality.ranking import auc, average_precision
from udfs.quality.records import Gap, Metric
from udfs.rollout.losses import FLOOR

#: Standard errors that part the realized from the expected by more than chance: two-sided, one in 370.
SURE = 3.0


def estimated(counts: Predicted) -> dict[str, Metric]:
    """By name; intervals are those of the realized values of so many records."""
    if not counts.rows or counts.kind not in ("binary", "multiclass"):
        return {}
    if counts.kind == "multiclass":
        return {"accuracy": _right(counts.rows, [(n, total / PARTS) for n, total in counts.bins.values()])}
    found = _binary(counts)
    return {name: metric for name, metric in found.items() if metric.value is not None}


def _binary(counts: Predicted) -> dict[str, Metric]:
    rows = counts.rows
    expected = [(n, total / PARTS) for _, (n, total) in sorted(counts.bins.items())]
    cells = [(p, n - p) for n, p in expected]
    positive = math.fsum(p for _, p in expected)
    called, hits = counts.called[0], counts.called[1] / PARTS
    loss, loss_error = _loss((n, p) for n, p in expected)
    brier, brier_error = _brier((n, p) for n, p in expected)
    right = hits + (rows - called) - (positive - hits)
    variance = math.fsum(p * (1 - p / n) for n, p in expected)
    return {
        "auc": auc(cells),
        "average_precision": average_precision(cells),
        "log_loss": within(of_mean(loss / rows, loss_error / rows), 0.0),
        "brier": within(of_mean(brier / rows, brier_error / rows), 0.0),
        "accuracy": within(of_mean(right / rows, math.sqrt(variance) / rows), 0.0, 1.0),
        "precision": Metric(value=hits / called if called else None),
        "recall": Metric(value=hits / positive if positive else None),
        "f1": Metric(value=2 * hits / (called + positive) if called + positive else None),
    }


def _right(rows: int, expected: list[tuple[int, float]]) -> Metric:
    right = math.fsum(p for _, p in expected)
    variance = math.fsum(p * (1 - p / n) for n, p in expected)
    return within(of_mean(right / rows, math.sqrt(variance) / rows), 0.0, 1.0)


def _loss(expected: Iterable[tuple[int, float]]) -> tuple[float, float]:
    """The sum of expected log losses, and its standard error."""
    total, variance = [], []
    for n, positive in expected:
        p = min(max(positive / n, FLOOR), 1 - FLOOR)
        if_true, if_false = log_loss(p, FLOOR), log_loss(1 - p, FLOOR)
        total.append(n * (p * if_true + (1 - p) * if_false))
        variance.append(n * p * (1 - p) * (if_true - if_false) ** 2)
    return math.fsum(total), math.sqrt(math.fsum(variance))


def _brier(expected: Iterable[tuple[int, float]]) -> tuple[float, float]:
    total, variance = [], []
    for n, positive in expected:
        p = positive / n
        total.append(n * p * (1 - p))
        variance.append(n * p * (1 - p) * (1 - 2 * p) ** 2)
    return math.fsum(total), math.sqrt(math.fsum(variance))


def gap_of(counts: Labelled, least: float) -> Gap | None:
    """Realized beside expected, of the same labelled records, so that which labels came does not matter.

    Log loss for two classes, accuracy for more. A part of `least` of what was expected is large.
    """
    if counts.kind not in ("binary", "multiclass") or counts.rows < 2:
        return None
    expected = [(n, total / PARTS) for n, _, total in _rows(counts)]
    if counts.kind == "binary":
        metric, came = "log_loss", counts.loss.mean
        total, error = _loss(expected)
    else:
        metric, came = "accuracy", counts.right / counts.rows
        total = math.fsum(p for _, p in expected)
        error = math.sqrt(math.fsum(p * (1 - p / n) for n, p in expected))
    mean, error = total / counts.rows, error / counts.rows
    if not mean or not error:
        return None
    z, part = (came - mean) / error, (came - mean) / mean
    changed, worse = abs(z) > SURE and abs(part) > least, (came > mean) == (metric == "log_loss")
    return Gap(metric, mean, came, error, z, part, changed, worse)


def _rows(counts: Labelled) -> list[Row]:
    return [row for _, row in sorted(counts.bins.items())]
