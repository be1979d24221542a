"""Tells what the records of a few keys are worth: those of one key are on one side, and not independent.

>>> design_effect({0: (50, 50), 1: (50, 0)}, 0.25)  # one key always fails, the other never: as one record
100.0

Sums are kept by bucket of the key's hash, so that they are few and add up exactly. Keys are independent of
each other, so buckets are, and the variance of a ratio of sums is that of the buckets' deviations: Liang and
Zeger, "Longitudinal data analysis using generalized linear models" (Biometrika, 1986), and for the unit by
which an experiment is randomized Deng, Knoblich and Lu, "Applying the delta method in metric analytics" (KDD,
2018). As records of the same keys come, estimates keep the joint distribution of sequential tests, in which
what is new is independent of what was before: Jennison and Turnbull, "Group-sequential analysis incorporating
covariate information" (JASA, 1997).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from udfs.rollout.sequential import Estimate

Sums = TypeVar("Sums", tuple[int, int], tuple[int, int, int])
# Bucket of the key: number of values, and their sum.
Clusters = Mapping[int, tuple[int, int]]


def merged_clusters(one: Mapping[int, Sums], other: Mapping[int, Sums]) -> dict[int, Sums]:
    """The sums of both, by bucket."""
    if not one or not other:
        return dict(one or other)
    both = {
        bucket: tuple(map(sum, zip(one[bucket], other[bucket], strict=True))) for bucket in one.keys() & other
    }
    return dict(sorted(({**one, **other} | both).items()))  # type: ignore[arg-type]


def design_effect(clusters: Clusters, variance: float) -> float:
    """The variance of the mean, as a multiple of that of independent values with this variance; at least 1.

    Kish, "Survey sampling" (1965). 1 where there is nothing to tell it from.
    """
    n, total = _whole(clusters)
    if len(clusters) < 2 or variance <= 0:
        return 1.0
    return max(_variance(_influence(clusters, n, total).values()) * n / variance, 1.0)


class Stratum(NamedTuple):
    """Losses of two versions under one release, by bucket, in units."""

    own: Clusters
    champion: Clusters


def clustered(strata: Sequence[Stratum], unit: int) -> Estimate:
    """The mean difference of losses over releases, whose keys are the same; sides not empty.

    `freedom` is how many buckets there seem to be, less one: few where some keys have most of the records.
    """
    weights = [_weight(stratum) for stratum in strata]
    rises: dict[int, float] = {}
    own, beside = _Side(), _Side()
    for stratum, weight in zip(strata, weights, strict=True):
        for side, clusters in ((own, stratum.own), (beside, stratum.champion)):
            side.add(clusters, weight / math.fsum(weights), unit)
    for bucket in sorted(own.influence.keys() | beside.influence.keys()):
        rises[bucket] = own.influence.get(bucket, 0.0) - beside.influence.get(bucket, 0.0)
    covariance = math.fsum(rise * beside.influence.get(bucket, 0.0) for bucket, rise in rises.items())
    return Estimate(
        beside.mean,
        own.mean - beside.mean,
        _variance(rises.values()),
        _variance(beside.influence.values()),
        covariance * _small(len(rises)),
        _freedom(own, beside),
    )


class _Side:
    """One version: its mean, and how much of its error and of its records each bucket is."""

    def __init__(self) -> None:
        self.mean = 0.0
        self.influence: dict[int, float] = {}
        self.share: dict[int, float] = {}

    def add(self, clusters: Clusters, weight: float, unit: int) -> None:
        n, total = _whole(clusters)
        self.mean += weight * (total / (n * unit))
        for bucket, value in _influence(clusters, n, total).items():
            self.influence[bucket] = self.influence.get(bucket, 0.0) + weight * value / unit
            self.share[bucket] = self.share.get(bucket, 0.0) + weight * clusters[bucket][0] / n


def _freedom(own: _Side, beside: _Side) -> float:
    """Satterthwaite (1946), with the variance that each bucket's share of the records would have."""
    expected: dict[int, float] = {}
    for side in (own, beside):
        squares = math.fsum(share**2 for share in side.share.values())
        variance = _variance(side.influence.values())
        for bucket, share in side.share.items():
            expected[bucket] = expected.get(bucket, 0.0) + variance * share**2 / squares
    total = math.fsum(expected.values())
    if not total:
        return float(min(len(own.share), len(beside.share)) - 1)
    return total**2 / math.fsum(value**2 for value in expected.values()) - 1


def _influence(clusters: Clusters, n: int, total: int) -> dict[int, float]:
    """By how much each bucket moves the mean. In integers until the division, so that nothing cancels."""
    return {bucket: (s * n - total * k) / (n * n) for bucket, (k, s) in sorted(clusters.items())}


def _variance(influence: Iterable[float]) -> float:
    values = list(influence)
    return math.fsum(value**2 for value in values) * _small(len(values))


def _small(clusters: int) -> float:
    return clusters / (clusters - 1) if clusters > 1 else 1.0


def _whole(clusters: Clusters) -> tuple[int, int]:
    return sum(n for n, _ in clusters.values()), sum(total for _, total in clusters.values())


def _weight(stratum: Stratum) -> float:
    own, champion = _whole(stratum.own)[0], _whole(stratum.champion)[0]
    return own * champion / (own + champion)
