"""Tells how sure a difference of losses is at any time: however often it is looked at, the error stays.

>>> found = Estimate(base=0.5, rise=0.1, rise_variance=1e-4, base_variance=1e-5, covariance=0.0)
>>> log_evidence(found, 0.0, (0.05, 0.2)) > math.log(100)  # worse than the champion: less than 1% is chance
True

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
limit theory and asymptotic confidence sequences" (Annals of Statistics, 2024), with the one-sided normal
mixture of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
sequences" (Annals of Statistics, 2021), proposition 6. Most of the weight is on the difference that is sought
(Wald, "Sequential tests of statistical hypotheses", 1945): it is found with little more than a test of one
look needs. It needs sums alone, so that order and parallelism do not matter. What it assumes: finite
variances, some hundred records, and records, or clusters of them (`freedom`), independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

# Below: relative to the champion's loss, squared. Two versions that always say the same differ by nothing.
SMALLEST = 1e-12
# A part of the champion's loss above which no bound is looked for.
FARTHEST_PART = 1e6
_STEPS = 60
# Of the weight of all differences, that of the one which is sought, taken so many times as large: a test with
# 1% error then finds it in 9 of 10 cases with 1.5 times the records of a test of one look, or fewer.
SOUGHT_WEIGHT = 0.75
_SOUGHT_PART = 0.7
# Below, a variance is known too badly to say anything.
LEAST_FREEDOM = 9.0


class Estimate(msgspec.Struct, frozen=True):
    """The champion's mean loss (`base`), by how much another's is higher, and how sure both means are.

    `freedom`: the degrees of freedom of the variances, where they are of clusters; None: as good as known.
    """

    base: float
    rise: float
    rise_variance: float
    base_variance: float
    covariance: float
    freedom: float | None = None

    @property
    def part(self) -> float:
        """The rise as a part of the champion's loss."""
        return self.rise / self.base if self.base else 0.0 if self.rise <= 0 else FARTHEST_PART

    def beyond(self, part: float) -> tuple[float, float]:
        """By how much the rise is above this part of the champion's loss, and the variance of that.

        Both relative to the champion's loss.
        """
        base = max(self.base, SMALLEST)
        variance = self.rise_variance + part * part * self.base_variance - 2 * part * self.covariance
        return (self.rise - part * self.base) / base, max(variance / base**2, SMALLEST)


def pooled(weighted: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The mean of independent estimates by these weights, which are above 0."""
    total = math.fsum(weight for weight, _ in weighted)

    def mean(field: Callable[[Estimate], float], power: int) -> float:
        return math.fsum((weight / total) ** power * field(each) for weight, each in weighted)

    return Estimate(
        mean(lambda each: each.base, 1),
        mean(lambda each: each.rise, 1),
        mean(lambda each: each.rise_variance, 2),
        mean(lambda each: each.base_variance, 2),
        mean(lambda each: each.covariance, 2),
    )


def log_evidence(
    found: Estimate,
    part: float,
    effects: Sequence[float],
    *,
    better: bool = False,
    sought: float | None = None,
) -> float:
    """Ln of the e-value against "the loss is higher by at most `part` of the champion's".

    With `better` against "by at least `part`". It is 20 or more at any time in at most one of 20 versions of
    which that is true. `effects` are the sizes of difference, as parts, at which it needs the fewest records;
    `sought` is the one for which it needs fewer still.
    """
    if found.freedom is not None and found.freedom < LEAST_FREEDOM:
        return -math.inf
    beyond, variance = found.beyond(part)
    information = 1 / variance
    z = _as_normal(beyond / math.sqrt(variance), found.freedom)
    score = (-z if better else z) * math.sqrt(information)
    logs = [_log_mixture(score, information, 1 / effect**2) for effect in effects]
    if sought is None:
        return _log_mean(logs, [1.0] * len(logs))
    slope = _SOUGHT_PART * sought
    rest = (1 - SOUGHT_WEIGHT) / len(logs)
    return _log_mean(
        [slope * score - slope**2 * information / 2, *logs], [SOUGHT_WEIGHT, *[rest] * len(logs)]
    )


def _as_normal(t: float, freedom: float | None) -> float:
    """The normal value as rare as this of Student's t: Wallace, Annals of Mathematical Statistics (1959)."""
    if freedom is None:
        return t
    z = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.copysign(z, t)


def _log_mixture(score: float, information: float, precision: float) -> float:
    """Ln ∫ exp(λs − λ²v/2) over λ half normal with this precision; Howard et al., (93)."""
    total = information + precision
    z = score / math.sqrt(total)
    return math.log(2) + 0.5 * math.log(precision / total) + z * z / 2 + _log_normal(z)


def _log_normal(z: float) -> float:
    """Ln Φ(z)."""
    if z > -30:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2)))
    return -z * z / 2 - math.log(-z * math.sqrt(2 * math.pi))


def _log_mean(logs: Sequence[float], weights: Sequence[float]) -> float:
    largest = max(logs)
    parts = [weight * math.exp(each - largest) for each, weight in zip(logs, weights, strict=True)]
    return largest + math.log(math.fsum(parts) / math.fsum(weights))


def lower_bound(
    found: Estimate, effects: Sequence[float], error: float, sought: float | None = None
) -> float:
    """The part of the champion's loss by which another's is higher at least, but for this error."""

    def missing(part: float) -> float:
        return -math.log(error) - log_evidence(found, part, effects, sought=sought)

    near, step = max(found.part, -1.0), _deviation(found)
    while missing(far := max(near - step, -1.0)) > 0:
        if far == -1:
            return -1.0
        near, step = far, step * 1.5
    return _zero(missing, far, near)


def upper_bound(
    found: Estimate, effects: Sequence[float], error: float, sought: float | None = None
) -> float | None:
    """By which it is higher at most; None where it could be anything."""

    def missing(part: float) -> float:
        return -math.log(error) - log_evidence(found, part, effects, better=True, sought=sought)

    near, step = max(found.part, -1.0), _deviation(found)
    while missing(far := near + step) > 0:
        if far > FARTHEST_PART:
            return None
        near, step = far, step * 1.5
    return _zero(missing, near, far)


def _deviation(found: Estimate) -> float:
    return math.sqrt(found.beyond(found.part)[1])


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a monotone function is 0 between two values of other signs, by the Illinois method.

    Dowell and Jarratt, "A modified regula falsi method for computing the root of an equation" (BIT, 1971).
    """
    at_low, at_high, middle, kept = function(low), function(high), low, 0
    for _ in range(_STEPS):
        before, middle = middle, (low * at_high - high * at_low) / (at_high - at_low)
        if abs(middle - before) <= 1e-9 * max(high - low, abs(middle)):
            break
        value = function(middle)
        if (value > 0) == (at_high > 0):
            # An end that stays twice pulls too weakly.
            high, at_high, at_low, kept = middle, value, at_low / 2 if kept < 0 else at_low, -1
        else:
            low, at_low, at_high, kept = middle, value, at_high / 2 if kept > 0 else at_high, 1
    return middle
