"""How good predictions are: one number per metric, by scikit-learn where it has it.

    measure(truth, said)      # {"auc": 0.91, "average_precision": 0.74, …}; None where undefined

`sums` and `from_sums` give the same metrics from additive parts, for the bootstrap: a resample of blocks of
rows is a weighted sum of the blocks' parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn import metrics

from flink_jobs.backtest.outputs import Floats, Integers, Predictions
from udfs.log_loss import log_losses
from udfs.model.manifest import OutputKind

METRICS: Mapping[OutputKind, tuple[str, ...]] = {
    "binary": (
        *("auc", "average_precision", "log_loss", "brier", "ece"),
        *("accuracy", "precision", "recall", "f1"),
    ),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("mae", "rmse", "bias"),
    "anomaly": ("auc", "average_precision", "precision", "recall", "f1"),
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "ece", "mae", "rmse"})
NEITHER_IS_BETTER = frozenset({"bias"})
MEANING = {
    "auc": "area under the ROC curve: how often a positive row scores above a negative one",
    "average_precision": "area under the precision-recall curve",
    "log_loss": "mean of -ln(probability of what was true); lower is better",
    "brier": "mean squared error of the probability; lower is better",
    "ece": "expected calibration error: mean gap of score and outcome in 15 bins; lower is better",
    "accuracy": "share of right predictions",
    "precision": "share of the positive predictions that were right",
    "recall": "share of the positive rows that were found",
    "f1": "harmonic mean of precision and recall",
    "mae": "mean absolute error; lower is better",
    "rmse": "root of the mean squared error; lower is better",
    "bias": "mean of prediction - truth; 0 is best",
}
CALIBRATION_BINS = 15
SCORE_BINS = 1024


def measure(truth: Floats, said: Predictions) -> dict[str, float | None]:
    """The metrics of `METRICS` for n rows, None for those that the rows do not define."""
    if not len(truth):
        return dict.fromkeys(METRICS[said.kind])
    if said.kind == "regression":
        return {
            "mae": float(metrics.mean_absolute_error(truth, said.score)),
            "rmse": float(metrics.root_mean_squared_error(truth, said.score)),
            "bias": float(np.mean(said.score - truth)),
        }
    if said.kind == "multiclass":
        assert said.probabilities is not None
        codes = np.arange(said.probabilities.shape[1])
        return {
            "log_loss": float(metrics.log_loss(truth, said.probabilities, labels=codes)),
            "accuracy": float(metrics.accuracy_score(truth, said.prediction)),
        }
    found = _ranking(truth, said) | _decisions(truth, said)
    if said.kind == "binary":
        found |= {
            "log_loss": float(metrics.log_loss(truth, said.score, labels=[0, 1])),
            "brier": float(metrics.brier_score_loss(truth, said.score, labels=[0, 1])),
            "ece": calibration_error(truth, said.score),
            "accuracy": float(metrics.accuracy_score(truth, said.prediction)),
        }
    return {name: found[name] for name in METRICS[said.kind]}


def calibration_error(truth: Floats, score: Floats) -> float:
    """Expected calibration error over 15 equal bins (Guo et al. 2017, On Calibration of Neural Networks)."""
    gaps = np.bincount(_calibration_bin(score), score - truth, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _ranking(truth: Floats, said: Predictions) -> dict[str, float | None]:
    if truth.min() == truth.max():
        return {"auc": None, "average_precision": None}
    return {
        "auc": float(metrics.roc_auc_score(truth, said.score)),
        "average_precision": float(metrics.average_precision_score(truth, said.score)),
    }


def _decisions(truth: Floats, said: Predictions) -> dict[str, float | None]:
    right = float(np.sum(truth * said.prediction))
    called, positive = float(said.prediction.sum()), float(truth.sum())
    return {
        "precision": right / called if called else None,
        "recall": right / positive if positive else None,
        "f1": 2 * right / (called + positive) if called + positive else None,
    }


def sums(truth: Floats, said: Predictions, blocks: Integers, count: int) -> Floats:
    """(count, terms) of what the metrics are made of, added up per block; `blocks` (n,) is each row's."""
    columns = _terms(truth, said)
    plain: Floats = np.stack([np.bincount(blocks, column, count) for column in columns], axis=1)
    if said.kind not in ("binary", "anomaly"):
        return plain
    parts: list[Floats] = [plain]
    if said.kind == "binary":
        gaps = _table(blocks, _calibration_bin(said.score), said.score - truth, count, CALIBRATION_BINS)
        parts.append(gaps)
    bins = _score_bin(said.score)
    parts += [_table(blocks, bins, flags, count, SCORE_BINS) for flags in (truth, 1 - truth)]
    return np.concatenate(parts, axis=1)


def _terms(truth: Floats, said: Predictions) -> list[Floats]:
    rows = np.ones(len(truth))
    if said.kind == "regression":
        error = said.score - truth
        return [rows, np.abs(error), error**2, error]
    right = (said.prediction == truth).astype(np.float64)
    if said.kind == "multiclass":
        assert said.probabilities is not None
        chosen = said.probabilities[np.arange(len(truth)), truth.astype(np.intp)]
        total = said.probabilities.sum(axis=1)
        return [rows, log_losses(chosen / total), right]
    decided = [truth * said.prediction, said.prediction, truth]
    if said.kind == "anomaly":
        return [rows, *decided]
    true_share = np.where(truth == 1, said.score, 1 - said.score)
    return [
        *(rows, *decided, log_losses(true_share)),
        *((said.score - truth) ** 2, right),
    ]


def from_sums(kind: OutputKind, totals: Floats) -> dict[str, Floats]:
    """Each metric, shape (resamples,), from (resamples, terms) totals; NaN where it is not defined.

    AUC and average precision take scores as equal within one of 1,024 bins.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = totals[:, 0]
        if kind == "regression":
            _, absolute, squared, signed = totals.T
            return {"mae": absolute / rows, "rmse": np.sqrt(squared / rows), "bias": signed / rows}
        if kind == "multiclass":
            return {"log_loss": totals[:, 1] / rows, "accuracy": totals[:, 2] / rows}
        right, called, positive = totals[:, 1:4].T
        found = {
            "precision": right / called,
            "recall": right / positive,
            "f1": 2 * right / (called + positive),
        }
        ranked = totals[:, -2 * SCORE_BINS :]
        found |= _ranking_from(ranked[:, :SCORE_BINS], ranked[:, SCORE_BINS:])
        if kind == "binary":
            found |= {
                "log_loss": totals[:, 4] / rows,
                "brier": totals[:, 5] / rows,
                "accuracy": totals[:, 6] / rows,
                "ece": np.abs(totals[:, 7 : 7 + CALIBRATION_BINS]).sum(axis=1) / rows,
            }
    return {name: found[name] for name in METRICS[kind]}


def _ranking_from(positive: Floats, negative: Floats) -> dict[str, Floats]:
    """From (resamples, bins) counts, the bins in ascending order of the score."""
    positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    auc = (positive * below).sum(axis=1) / (positives * negatives)
    found = np.cumsum(positive[:, ::-1], axis=1)
    called = found + np.cumsum(negative[:, ::-1], axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    area = (positive[:, ::-1] * precision).sum(axis=1) / positives
    return {"auc": auc, "average_precision": area}


def _calibration_bin(score: Floats) -> Integers:
    return np.clip((score * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)


def _score_bin(score: Floats) -> Integers:
    edges = np.unique(np.quantile(score, np.linspace(0, 1, SCORE_BINS)[1:-1]))
    return np.searchsorted(edges, score, side="right").astype(np.int64)


def _table(blocks: Integers, bins: Integers, weights: Floats, count: int, size: int) -> Floats:
    flat = np.bincount(blocks * size + bins, weights, count * size).astype(np.float64)
    return flat.reshape(count, size)
