"""How far the predictions of two versions are apart, without any label.

differences(a, b, classes).changed      # 0.031: the share of rows with another prediction
most_changed(a, b, 10)                  # positions of the rows, the largest change first
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flink_jobs.backtest.outputs import Floats, Integers, Predictions
from flink_jobs.backtest.records import Differences, Move

QUANTILES = (1, 5, 25, 50, 75, 95, 99)
_MOVES = 20


def differences(a: Predictions, b: Predictions, classes: Sequence[object]) -> Differences:
    """Of n rows; `classes` names the codes (empty for a regression, which has no moves)."""
    if not len(a.prediction):
        return Differences(None, None, None, None)
    apart = score_change(a, b)
    size = np.abs(apart)
    quantiles = np.quantile(apart, [q / 100 for q in QUANTILES])
    return Differences(
        changed=float(np.mean(a.prediction != b.prediction)),
        mean=float(apart.mean()),
        mean_absolute=float(size.mean()),
        largest=float(size.max()),
        quantiles={f"p{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)},
        moves=_moves(a, b, classes),
    )


def score_change(a: Predictions, b: Predictions) -> Floats:
    """(n,) B's score minus A's; of several classes the largest change of a probability."""
    if a.probabilities is not None and b.probabilities is not None:
        largest: Floats = np.abs(b.probabilities - a.probabilities).max(axis=1)
        return largest
    return b.score - a.score


def most_changed(a: Predictions, b: Predictions, count: int) -> Integers:
    """The positions of at most `count` rows that changed at all; equal changes in the order of the rows."""
    size = np.abs(score_change(a, b))
    order: Integers = np.argsort(-size, kind="stable")[:count].astype(np.int64)
    return order[size[order] > 0]


def _moves(a: Predictions, b: Predictions, classes: Sequence[object]) -> tuple[Move, ...]:
    """Pairs of different classes, the most frequent first."""
    moved = a.prediction != b.prediction
    if not classes or not moved.any():
        return ()
    pairs = np.stack([a.prediction[moved], b.prediction[moved]], axis=1).astype(np.int64)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    ordered = sorted(zip(counts.tolist(), found.tolist(), strict=True), key=lambda item: (-item[0], item[1]))
    return tuple(Move(classes[i], classes[j], count) for count, (i, j) in ordered[:_MOVES])
