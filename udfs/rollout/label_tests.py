"""Tests versions by their labels: how right each was, and whether one is worse than the champion.

The difference is of log losses, or of root mean squared errors. For shadows it is of the same records; for
canaries, whose records are others, of two samples (Welch). `p` is one-sided, by the normal distribution: how
often chance alone would make a version look so much worse that is not. AUC counts ties of a bin as half.
"""

from __future__ import annotations

import math

from udfs.rollout.losses import FINE, LossSum, Quality
from udfs.rollout.records import QualityPair, QualityReport
from udfs.rollout.version_metrics import SCORE_BINS


def quality_report(quality: Quality) -> QualityReport:
    """How right one version was."""
    n, loss, second = quality.loss.n, quality.loss.mean, quality.second / FINE / quality.loss.n
    if quality.kind == "regression":
        return QualityReport(n=n, rmse=math.sqrt(loss), mae=second, loss_deviation=quality.loss.deviation)
    binary = quality.kind == "binary"
    return QualityReport(
        n=n,
        log_loss=loss,
        brier=second,
        accuracy=quality.right / n,
        auc=_auc(quality) if binary else None,
        loss_deviation=quality.loss.deviation,
        positives=_listed(quality.positives) if binary else (),
        negatives=_listed(quality.negatives) if binary else (),
    )


def quality_pair(other: Quality, champion: Quality) -> QualityPair | None:
    """None where they do not predict the same kind of thing."""
    if other.kind != champion.kind:
        return None
    regression = other.kind == "regression"
    paired = other.rises.n > 0
    rise, error = _paired(other.rises) if paired else _unpaired(other.loss, champion.loss)
    own = math.sqrt(other.loss.mean) if regression else other.loss.mean
    # r² - c² = (r - c)(r + c): a difference of mean squared errors as one of their roots.
    base = max(other.loss.mean - rise, 0.0)
    scale = own + math.sqrt(base) if regression else 1.0
    difference = rise / scale if scale else 0.0
    return QualityPair(
        measure="rmse" if regression else "log_loss",
        n=other.loss.n,
        champion_n=champion.loss.n,
        paired=other.rises.n,
        loss=own,
        champion_loss=own - difference,
        difference=difference,
        error=None if error is None else error / scale if scale else 0.0,
        p=None if error is None else _p(rise, error),
        rise=rise,
        rise_deviation=other.rises.deviation,
    )


def _paired(rises: LossSum) -> tuple[float, float | None]:
    return rises.mean, rises.deviation / math.sqrt(rises.n) if rises.n > 1 else None


def _unpaired(one: LossSum, other: LossSum) -> tuple[float, float | None]:
    rise = one.mean - other.mean
    if one.n < 2 or other.n < 2:
        return rise, None
    return rise, math.sqrt(one.deviation**2 / one.n + other.deviation**2 / other.n)


def _p(rise: float, error: float) -> float:
    if error == 0:
        return 0.0 if rise > 0 else 1.0
    return 0.5 * math.erfc(rise / error / math.sqrt(2))


def _auc(quality: Quality) -> float | None:
    positives, negatives = sum(quality.positives.values()), sum(quality.negatives.values())
    if not positives or not negatives:
        return None
    below = won = 0
    for score_bin in range(SCORE_BINS):
        here = quality.negatives.get(score_bin, 0)
        won += quality.positives.get(score_bin, 0) * (2 * below + here)
        below += here
    return won / (2 * positives * negatives)


def _listed(counts: dict[int, int]) -> tuple[int, ...]:
    return tuple(counts.get(score_bin, 0) for score_bin in range(SCORE_BINS))


def as_quality(report: QualityReport, pair: QualityPair | None) -> Quality:
    """The counts that a report was made of, but for rounding in the sums."""
    regression = report.rmse is not None
    loss = report.rmse**2 if report.rmse is not None else report.log_loss or 0.0
    second = report.mae if regression else report.brier
    rises = LossSum()
    if pair and pair.paired:
        rises = _as_sum(pair.paired, pair.rise, pair.rise_deviation)
    return Quality(
        "regression" if regression else "binary" if report.positives else "multiclass",
        _as_sum(report.n, loss, report.loss_deviation),
        round((second or 0.0) * report.n * FINE),
        round((report.accuracy or 0.0) * report.n),
        {score_bin: count for score_bin, count in enumerate(report.positives) if count},
        {score_bin: count for score_bin, count in enumerate(report.negatives) if count},
        rises,
    )


def _as_sum(n: int, mean: float, deviation: float) -> LossSum:
    return LossSum(n, round(mean * n * FINE), round(((n - 1) * deviation**2 + n * mean**2) * FINE))
