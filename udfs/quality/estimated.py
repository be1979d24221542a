"""How right predictions will turn out to be, if their probabilities are: an estimate without labels.

Confidence-based performance estimation (CBPE, of NannyML): of n records with the score p, n p are expected to
be positive. It holds for scores that are calibrated, and sees what a change of inputs does. When labels no
longer follow from inputs as they did, it is blind: only labels tell (`gap_of`). Of regressions it is the
errors that there were of such records, among rows that the model was not fitted on (`Losses`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from udfs.log_loss import log_loss
from udfs.quality.alike import ROWS, SECOND, times_as_wide
from udfs.quality.counts import PARTS, Labelled, Predicted, Row
from udfs.quality.expected import Expected, Losses
from udfs.quality.intervals import beside_storms, of_mean, within
from udfs.quality.ranking import auc, average_precision
from udfs.quality.records import Gap, Metric
from udfs.rollout.blocks import in_blocks
from udfs.rollout.losses import FINE, FLOOR

#: Standard errors that part the realized from the expected by more than chance: two-sided, one in 370.
SURE = 3.0


def estimated(counts: Predicted, expected: Expected | None = None) -> dict[str, Metric]:
    """By name; intervals are those of the realized values of so many records.

    `expected` is what is known of the version: without, scores are taken as they are, and of regressions
    there is no estimate. Its `reference` says how much what comes differs from time to time.
    """
    found = _estimated(counts, expected)
    reference = expected.reference if expected else None
    if reference and reference.metric in found:
        most = math.inf if reference.metric == "mae" else 1.0
        found[reference.metric] = beside_storms(found[reference.metric], reference.between, most)
    return found


def _estimated(counts: Predicted, expected: Expected | None) -> dict[str, Metric]:
    if not counts.rows:
        return {}
    if counts.kind == "regression":
        return _off(counts.rows, counts.bins, expected)
    if counts.kind == "multiclass":
        return {"accuracy": _right(counts.rows, [(n, total / PARTS) for n, total in counts.bins.values()])}
    if counts.kind != "binary":
        return {}
    found = _binary(counts, expected if expected and expected.calibration else None)
    return {name: metric for name, metric in found.items() if metric.value is not None}


def _off(rows: int, bins: Mapping[int, Row], expected: Expected | None) -> dict[str, Metric]:
    """Direct loss estimation: the errors that there were of such records."""
    if expected is None or expected.losses is None or not bins:
        return {}
    absolute, square, errors = _errors(bins, expected.losses)
    mae_error, square_error = (expected.beside(error, rows) for error in errors)
    of_square = within(of_mean(square, square_error), 0.0)
    low, high = (None if limit is None else math.sqrt(limit) for limit in (of_square.low, of_square.high))
    return {
        "mae": within(of_mean(absolute, mae_error), 0.0),
        "rmse": Metric(value=math.sqrt(square), low=low, high=high),
    }


def _errors(bins: Mapping[int, Row], losses: Losses) -> tuple[float, float, tuple[float, float]]:
    """The mean absolute and squared error to expect, and the standard errors of both."""
    leaves = sorted(number for number in bins if number < len(losses.absolute))
    counts = [bins[number][0] for number in leaves]
    moments = (
        [moment[number] for number in leaves] for moment in (losses.absolute, losses.squared, losses.fourth)
    )
    rows = max(sum(counts), 1)
    absolute, square, spread, wide = [], [], [], []
    for n, first, second, fourth in zip(counts, *moments, strict=True):
        absolute.append(n * first)
        square.append(n * second)
        spread.append(n * max(second - first**2, 0.0))
        wide.append(n * max(fourth - second**2, 0.0))
    errors = math.sqrt(math.fsum(spread)) / rows, math.sqrt(math.fsum(wide)) / rows
    return math.fsum(absolute) / rows, math.fsum(square) / rows, errors


class _Bin(NamedTuple):
    """`n` records with about this score, of which so many are expected to be positive."""

    n: int
    score: float
    positive: float


def _expected(rows: Iterable[tuple[int, int]], known: Expected | None) -> list[_Bin]:
    """Of bins of records and the sum of their scores, which say how many are positive unless `known` does."""
    found = []
    for n, total in rows:
        score = total / PARTS / n
        chance = known.calibration.at(score) if known and known.calibration else score
        found.append(_Bin(n, score, n * chance))
    return found


def _hits(counts: Predicted, expected: Sequence[_Bin], known: Expected | None) -> float:
    """Of those that were predicted positive, which have the highest scores."""
    called, total = counts.called
    if known is None:
        return total / PARTS
    hits = []
    for n, _, positive in reversed(expected):
        taken = min(called, n)
        hits.append(positive * taken / n)
        called -= taken
    return math.fsum(hits)


def _binary(counts: Predicted, known: Expected | None) -> dict[str, Metric]:
    rows = counts.rows
    expected = _expected([(n, total) for _, (n, total) in sorted(counts.bins.items())], known)
    cells = [(each.positive, each.n - each.positive) for each in expected]
    positive = math.fsum(each.positive for each in expected)
    called, hits = counts.called[0], _hits(counts, expected, known)
    loss, loss_error = _loss(expected)
    brier, brier_error = _brier(expected)
    right = hits + (rows - called) - (positive - hits)
    right_error = math.sqrt(math.fsum(each.positive * (1 - each.positive / each.n) for each in expected))
    if known:
        loss_error, brier_error, right_error = (
            known.beside(error, rows) for error in (loss_error, brier_error, right_error)
        )
    return {
        "auc": auc(cells),
        "average_precision": average_precision(cells),
        "log_loss": within(of_mean(loss / rows, loss_error / rows), 0.0),
        "brier": within(of_mean(brier / rows, brier_error / rows), 0.0),
        "accuracy": within(of_mean(right / rows, right_error / rows), 0.0, 1.0),
        "precision": Metric(value=hits / called if called else None),
        "recall": Metric(value=hits / positive if positive else None),
        "f1": Metric(value=2 * hits / (called + positive) if called + positive else None),
    }


def _right(rows: int, expected: list[tuple[int, float]]) -> Metric:
    right = math.fsum(p for _, p in expected)
    variance = math.fsum(p * (1 - p / n) for n, p in expected)
    return within(of_mean(right / rows, math.sqrt(variance) / rows), 0.0, 1.0)


def _loss(expected: Iterable[_Bin]) -> tuple[float, float]:
    """The sum of expected log losses of the scores, and its standard error."""
    return _summed((n, positive / n, *_losses_of(score)) for n, score, positive in expected)


def _losses_of(score: float) -> tuple[float, float]:
    """Of a positive record with this score, and of another."""
    p = min(max(score, FLOOR), 1 - FLOOR)
    return log_loss(p, FLOOR), log_loss(1 - p, FLOOR)


def _brier(expected: Iterable[_Bin]) -> tuple[float, float]:
    return _summed((n, positive / n, (1 - score) ** 2, score**2) for n, score, positive in expected)


def _summed(sides: Iterable[tuple[int, float, float, float]]) -> tuple[float, float]:
    """Of n records each, with the chance of being positive, and the losses of those and of the others."""
    total, variance = [], []
    for n, p, if_true, if_false in sides:
        total.append(n * (p * if_true + (1 - p) * if_false))
        variance.append(n * p * (1 - p) * (if_true - if_false) ** 2)
    return math.fsum(total), math.sqrt(math.fsum(variance))


def gap_of(counts: Labelled, least: float, expected: Expected | None = None) -> Gap | None:
    """Realized beside expected, of the same labelled records, so that which labels came does not matter.

    Log loss for two classes, accuracy for more, the mean absolute error of numbers. A part of `least` of what
    was expected is large. The error knows that records near in time are alike.
    """
    if counts.rows < 2:
        return None
    if counts.kind == "regression":
        return _gap_of_numbers(counts, least, expected)
    if counts.kind not in ("binary", "multiclass"):
        return None
    known = expected if expected and expected.calibration and counts.kind == "binary" else None
    bins = _expected(((n, total) for _, (n, _, total) in sorted(counts.bins.items())), known)
    metric, came, sides = "accuracy", counts.right / counts.rows, [(1.0, 0.0)] * len(bins)
    if counts.kind == "binary":
        metric, came, sides = "log_loss", counts.loss.mean, [_losses_of(each.score) for each in bins]
    total, error = _summed(
        (each.n, each.positive / each.n, *side) for each, side in zip(bins, sides, strict=True)
    )
    wide = times_as_wide(counts, _parted(counts, bins, sides, came - total / counts.rows))
    error = known.beside(error, counts.rows) if known else error
    return _gap(metric, total / counts.rows, came, error * math.sqrt(wide) / counts.rows, least)


def _parted(
    counts: Labelled, bins: Sequence[_Bin], sides: Sequence[tuple[float, float]], gap: float
) -> dict[int, tuple[float, float]]:
    """By how much a record of each bin parts what came from what was expected, beyond what all do."""
    found = {}
    for number, each, (if_true, if_false) in zip(sorted(counts.bins), bins, sides, strict=True):
        p = each.positive / each.n
        usual = p * if_true + (1 - p) * if_false + gap
        found[number] = if_true - usual, if_false - usual
    return found


def _gap_of_numbers(counts: Labelled, least: float, expected: Expected | None) -> Gap | None:
    if expected is None or expected.losses is None or not counts.bins:
        return None
    mean, _, (error, _) = _errors(counts.bins, expected.losses)
    error = math.sqrt(max(error**2, _parted_in_blocks(counts, mean, expected.losses)))
    return _gap("mae", mean, counts.second.mean, expected.beside(error, counts.rows), least)


def _parted_in_blocks(counts: Labelled, mean: float, losses: Losses) -> float:
    """The variance of what came less what was expected, by blocks; 0 where it is not known of all records."""
    found = {}
    for slot, cells in counts.ranks.items():
        expected = math.fsum(
            n * losses.absolute[cell] for cell, (n, *_) in cells.items() if cell < len(losses.absolute)
        )
        row = counts.blocks[slot]
        found[slot] = row[SECOND] / FINE - expected, row[ROWS]
    return in_blocks(found, (counts.second.mean - mean) * counts.rows, counts.rows)


def _gap(metric: str, mean: float, came: float, error: float, least: float) -> Gap | None:
    if not mean or not error:
        return None
    z, part = (came - mean) / error, (came - mean) / mean
    changed, worse = abs(z) > SURE and abs(part) > least, (came > mean) == (metric != "accuracy")
    return Gap(metric, mean, came, error, z, part, changed, worse)
