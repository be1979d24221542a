"""What a version's `expected.json` says: of rows that it was not fitted on, how far off it was, and where.

    expected_quality(Judged(said, labels, times, inputs), output, calibrated=True)   # bytes, or None

A regression's errors by a small tree of its numeric inputs and its prediction (direct loss estimation: its
leaves count records); of scores that training did not calibrate how often they come true, if that says
more than they do; and how right the version was in blocks of time, from which later windows may fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeRegressor

from flink_jobs.training.calibrate import ERRORS, LEAST_ROWS
from flink_jobs.training.measures import class_codes
from udfs.log_loss import log_losses
from udfs.model.manifest import Output
from udfs.quality.expected import PREDICTION, Calibration, Expected, Losses, ReferenceQuality

Floats = npt.NDArray[np.float64]
# Rows of a bin, and bins.
BIN_ROWS, MOST_BINS = 50, 32
# Rows of a leaf, leaves, and rows of all.
LEAF_ROWS, LEAVES, LOSS_ROWS = 50, 32, 500
# Rows of a block of time, and blocks.
BLOCK_ROWS, LEAST_BLOCKS, MOST_BLOCKS = 100, 5, 20


@dataclass(frozen=True)
class Judged:
    """n rows: what the model said, (n,) or (n, k); the labels; when that was; and inputs that are numbers."""

    said: Floats
    labels: npt.NDArray[Any]
    times: npt.NDArray[np.datetime64]
    inputs: Mapping[str, Floats] = field(default_factory=dict)


def expected_quality(judged: Judged, output: Output, *, calibrated: bool) -> bytes | None:
    """None where there are too few rows to say anything."""
    order = np.argsort(judged.times, kind="stable")
    said, labels = judged.said[order], judged.labels[order]
    losses = calibration = None
    if output.kind == "regression" and len(said) >= LOSS_ROWS:
        known = {name: column[order] for name, column in judged.inputs.items()} | {PREDICTION: said}
        losses = _losses(known, np.abs(said - labels.astype(np.float64)))
    elif output.kind == "binary" and not calibrated:
        calibration = _calibration(said, labels == output.classes[1])
    reference = _reference(said, labels, output)
    if not (losses or calibration or reference):
        return None
    found = Expected(rows=len(said), losses=losses, calibration=calibration, reference=reference)
    return msgspec.json.encode(found) + b"\n"


def _binned(values: Floats) -> npt.NDArray[np.int64]:
    """(n,) numbers of bins that have about as many rows each; equal values share one."""
    bins = max(min(len(values) // BIN_ROWS, MOST_BINS), 1)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    return np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1].astype(np.int64)


def _means(places: npt.NDArray[np.int64], values: Floats) -> list[float]:
    means: list[float] = (np.bincount(places, values) / np.bincount(places)).tolist()
    return means


def _losses(columns: Mapping[str, Floats], off: Floats) -> Losses:
    names = sorted(columns)
    limit = np.finfo(np.float32).max
    values = np.clip(np.column_stack([columns[name] for name in names]), -limit, limit)
    tree = DecisionTreeRegressor(max_leaf_nodes=LEAVES, min_samples_leaf=LEAF_ROWS, random_state=0)
    grown = tree.fit(values, off).tree_
    inside = np.asarray(tree.decision_path(values).todense(), dtype=np.float64)
    absolute, squared, fourth = ((off**power @ inside / inside.sum(axis=0)).tolist() for power in (1, 2, 4))
    return Losses(
        inputs=names,
        feature=np.maximum(grown.feature, -1).tolist(),
        threshold=grown.threshold.tolist(),
        left=grown.children_left.tolist(),
        right=grown.children_right.tolist(),
        missing_left=grown.missing_go_to_left.astype(bool).tolist(),
        absolute=absolute,
        squared=squared,
        fourth=fourth,
    )


def _calibration(said: Floats, positive: npt.NDArray[np.bool_]) -> Calibration | None:
    """By the rule of `calibrate`: kept if what it learns of the earlier half is worth it in the later one."""
    half = len(said) // 2
    if half < LEAST_ROWS:
        return None
    early, later = _isotonic(said[:half], positive[:half]), (said[half:], positive[half:])
    known = np.interp(later[0], early.scores, early.positive)
    gains = log_losses(_own(*later)) - log_losses(_own(known, later[1]))
    if gains.mean() <= ERRORS * gains.std(ddof=1) / np.sqrt(len(gains)):
        return None
    return _isotonic(said, positive)


def _own(chance: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    return np.where(positive, chance, 1 - chance)


def _isotonic(said: Floats, positive: npt.NDArray[np.bool_]) -> Calibration:
    """No bin is sure: of n rows without a positive one the next may be."""
    places = _binned(said)
    rows = np.bincount(places)
    shares = (np.bincount(places, positive) + 0.5) / (rows + 1)
    scores = _means(places, said)
    rising = IsotonicRegression().fit_transform(scores, shares, sample_weight=rows)
    return Calibration(scores, np.clip(rising, 0, 1).tolist())


def _reference(said: Floats, labels: npt.NDArray[Any], output: Output) -> ReferenceQuality | None:
    """How much blocks differ beyond chance is their variance less that of their rows."""
    count = min(len(said) // BLOCK_ROWS, MOST_BLOCKS)
    if count < LEAST_BLOCKS:
        return None
    metric, (value, _) = _METRICS[output.kind], _measured(said, labels, output)
    blocks = [
        _measured(said[rows], labels[rows], output) for rows in np.array_split(np.arange(len(said)), count)
    ]
    values, errors = np.array([block for block in blocks if not np.isnan(block[0])]).T
    if np.isnan(value) or len(values) < LEAST_BLOCKS:
        return None
    spread = float(values.var(ddof=1))
    between = np.sqrt(max(spread - float((errors**2).mean()), 0.0))
    error = np.sqrt(spread / len(values))
    return ReferenceQuality(metric, value, float(error), float(between), len(values))  # type: ignore[arg-type]


_METRICS = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}


def _measured(said: Floats, labels: npt.NDArray[Any], output: Output) -> tuple[float, float]:
    """The metric and its standard error; NaN of a single class."""
    if output.kind == "regression":
        off = np.abs(said - labels.astype(np.float64))
        return float(off.mean()), float(off.std(ddof=1) / np.sqrt(len(off)))
    if output.kind == "multiclass":
        right = float((said.argmax(axis=1) == class_codes(labels, output)).mean())
        return right, float(np.sqrt(right * (1 - right) / len(said)))
    positive = labels == output.classes[1]
    if positive.all() or not positive.any():
        return np.nan, np.nan
    auc = float(roc_auc_score(positive, said))
    return auc, _auc_error(auc, int(positive.sum()), int((~positive).sum()))


def _auc_error(auc: float, positives: int, negatives: int) -> float:
    """Hanley and McNeil, "The meaning and use of the area under a ROC curve" (Radiology, 1982)."""
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (positives * negatives)))
