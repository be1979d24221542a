"""Tests versions by their labels: how right each was, and whether one is worse than the champion.

The difference is of log losses, or of root mean squared errors. For shadows it is of the same records; for
canaries, whose records are others, of two samples (Welch). `p` is one-sided, by the normal distribution: how
often chance alone would make a version look so much worse that is not. AUC counts ties of a bin as half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from udfs.rollout.clusters import Stratum, clustered
from udfs.rollout.events import Role
from udfs.rollout.labels import LabelSums
from udfs.rollout.losses import FINE, Kind, LossSum, Quality
from udfs.rollout.records import ComparisonRecord, QualityPair, QualityReport, RunningLoss
from udfs.rollout.sequential import Estimate, pooled
from udfs.rollout.usual import as_usual, usual_loss
from udfs.rollout.version_metrics import SCORE_BINS


def quality_report(quality: Quality) -> QualityReport:
    """How right one version was."""
    n, loss, second = quality.loss.n, quality.loss.mean, quality.second / FINE / quality.loss.n
    if quality.kind == "regression":
        return QualityReport(
            n=n,
            rmse=math.sqrt(loss),
            mae=second,
            loss_deviation=quality.loss.deviation,
            usual=usual_loss(quality),
        )
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


@dataclass(frozen=True)
class Labelled:
    """What labels say of a version beside the champion: of how many, and the losses."""

    kind: Kind
    n: int
    champion_n: int
    paired: int
    estimate: Estimate


def labelled(sums: LabelSums, version: int, role: Role, champion: int, least: int) -> Labelled | None:
    """All labels, release by release: under one release alone both see the same share of the same time.

    A release with fewer than `least` labels of either does not count: its variance is not known well. Of a
    canary whose keys are known, labels of records without one do not count, nor those from before they were.
    """
    if strata := _strata(sums, version, role, champion):
        return _of_keys(strata, least)
    parts: list[tuple[float, Estimate]] = []
    n = champion_n = paired = 0
    kind: Kind | None = None
    for release in sorted({key[3] for key in sums.qualities}):
        own = sums.qualities.get((0, version, role, release))
        other = sums.qualities.get((0, champion, "champion", release))
        if own is None or other is None or own.kind != other.kind or kind not in (None, own.kind):
            continue
        kind, n, champion_n, paired = (
            own.kind,
            n + own.loss.n,
            champion_n + other.loss.n,
            paired + own.rises.n,
        )
        if min(own.loss.n, other.loss.n) >= max(least, 2):
            parts.append(_estimate(own, other))
    return Labelled(kind, n, champion_n, paired, pooled(parts)) if kind and parts else None


def _strata(sums: LabelSums, version: int, role: Role, champion: int) -> dict[Kind, list[Stratum]]:
    """By release, where both have labels of known keys."""
    found: dict[Kind, list[Stratum]] = {}
    for release in sorted({key[3] for key in sums.qualities} if role == "canary" else ()):
        own = sums.qualities.get((0, version, role, release))
        other = sums.qualities.get((0, champion, "champion", release))
        if own and other and own.kind == other.kind and own.clusters and other.clusters:
            found.setdefault(own.kind, []).append(Stratum(own.clusters, other.clusters))
    return found


def _of_keys(strata: dict[Kind, list[Stratum]], least: int) -> Labelled | None:
    kind, releases = next(iter(strata.items()))
    sizes = [[sum(n for n, _ in side.values()) for side in each] for each in releases]
    known = [each for each, size in zip(releases, sizes, strict=True) if min(size) >= max(least, 2)]
    own, other = (sum(size[side] for size in sizes) for side in (0, 1))
    return Labelled(kind, own, other, 0, clustered(known, FINE)) if known else None


def as_labelled(found: RunningLoss) -> Labelled:
    """What a running comparison was made of."""
    kind: Kind = "regression" if found.measure == "rmse" else "binary"
    return Labelled(kind, found.n, found.champion_n, found.paired, found.estimate)


def on_same_records(total: ComparisonRecord, version: int) -> Labelled | None:
    """Of a shadow that the job's gate did not watch, as a canary or another shadow was there.

    Windows do not hold how its losses go with the champion's: the worst is assumed.
    """
    found = next((pair.labels for pair in total.pairs if pair.version == version), None)
    if found is None or found.paired < 2:
        return None
    champions = [r.labels for r in total.versions if r.role == "champion" and r.labels]
    deviation = max((r.loss_deviation for r in champions), default=0.0)
    base = found.champion_loss**2 if found.measure == "rmse" else found.champion_loss
    rise, other = found.rise_deviation**2 / found.paired, deviation**2 / found.paired
    kind: Kind = "regression" if found.measure == "rmse" else "binary"
    estimate = Estimate(base, found.rise, rise, other, -math.sqrt(rise * other))
    return Labelled(kind, found.n, found.champion_n, found.paired, estimate)


def _estimate(own: Quality, champion: Quality) -> tuple[float, Estimate]:
    """With its weight: what a difference of so many records is worth, if all losses spread alike."""
    if own.rises.n == own.beside.n == own.loss.n:
        n = own.rises.n
        scaled = n * own.products * FINE - own.rises.total * own.beside.total
        return float(n), Estimate(
            own.beside.mean, own.rises.mean, own.rises.error, own.beside.error,
            scaled / (n * n * (n - 1)) / FINE**2,
        )  # fmt: skip
    one, other = own.loss, champion.loss
    rise = Estimate(other.mean, one.mean - other.mean, one.error + other.error, other.error, -other.error)
    return one.n * other.n / (one.n + other.n), rise


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
        usual=as_usual(report.usual) if report.usual else (0, 0, 0, 0, 0),
    )


def _as_sum(n: int, mean: float, deviation: float) -> LossSum:
    return LossSum(n, round(mean * n * FINE), round(((n - 1) * deviation**2 + n * mean**2) * FINE))
