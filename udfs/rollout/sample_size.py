"""Tells how many labels the gate will need.

>>> needed = information(0.05, error=0.01, power=0.9, effects=(0.05, 0.2), sought=0.05)
>>> round(needed * 0.05**2)  # a test of one look alone needs 13
19
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from udfs.rollout.sequential import SMALLEST, Estimate, log_evidence


def information(
    distance: float, error: float, power: float, effects: Sequence[float], sought: float | None = None
) -> float:
    """1 / variance of the part by which losses differ, with which a difference of `distance` is shown.

    With the probability `power`, by the end of the looks; the mean is lower, as most are decided before.
    """
    beyond = NormalDist().inv_cdf(power)

    def shown(needed: float) -> bool:
        seen = distance - beyond / math.sqrt(needed)
        found = Estimate(1.0, seen, 1 / needed, 0.0, 0.0)
        return seen > 0 and log_evidence(found, 0.0, effects, sought=sought) >= -math.log(error)

    low, high = 0.0, 1 / distance**2
    while not shown(high):
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Spread:
    """Variances of one record's loss relative to the champion's mean loss, squared.

    `apart`: of one version. `paired`: of the difference of two on the same records, None if not known.
    """

    apart: float
    paired: float | None = None


def canary_labels(spread: Spread, needed: float, share: float) -> float:
    """Labels of a canary with this share of the records: `needed` information, both sides' labels counted."""
    return spread.apart * needed / (1 - share)


def steps_labels(
    spread: Spread, needed: Sequence[float], shares: Sequence[float], least: int
) -> list[tuple[float, float]]:
    """Labels of the canary and of all, in each step, until what it needs is known; that stays known."""
    known, own, found = 0.0, 0.0, []
    for target, share in zip(needed, shares, strict=True):
        labels = max(canary_labels(spread, max(target - known, 0.0), share), least - own, 0.0)
        own += labels
        known += labels * (1 - share) / max(spread.apart, SMALLEST)
        found.append((labels, labels / share))
    return found
