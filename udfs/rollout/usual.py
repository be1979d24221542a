"""Whether a regression is as far off as training makes expect: realized beside estimated, of the same rows.

If it is not, labels no longer follow from inputs as they did, which no estimate without labels can see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from udfs.rollout.blocks import LEAST_BLOCKS, in_blocks
from udfs.rollout.losses import FINE, Quality
from udfs.rollout.records import ExpectedLoss

# Errors, and the part of what was expected, beyond which it has changed.
SURE, LARGE = 3.0, 0.1


def usual_loss(quality: Quality) -> ExpectedLoss | None:
    """As if records were independent; None where training knew nothing of any."""
    n, came, mean, variance, known = quality.usual
    if not n:
        return None
    rows, deviation = round(known / n), math.sqrt(variance / FINE / n)
    return ExpectedLoss(
        n=n,
        realized=came / FINE / n,
        expected=mean / FINE / n,
        deviation=deviation,
        rows=rows,
        error=deviation * math.sqrt(1 / n + 1 / rows),
    )


def as_usual(found: ExpectedLoss) -> tuple[int, int, int, int, int]:
    """The sums that it was made of, but for rounding."""
    means = (found.realized, found.expected, found.deviation**2)
    came, mean, variance = (round(value * found.n * FINE) for value in means)
    return found.n, came, mean, variance, found.rows * found.n


def of_windows(total: ExpectedLoss, windows: Sequence[ExpectedLoss | None]) -> ExpectedLoss:
    """That of these windows added up, in order, with the error that they show: a storm is no change."""
    parted = {i: (each.n * (each.realized - each.expected), each.n) for i, each in enumerate(windows) if each}
    if len(parted) < LEAST_BLOCKS:
        return total
    gap = total.realized - total.expected
    # Windows are rounded as they are published.
    together = in_blocks(parted, math.fsum(part for part, _ in parted.values()), total.n)
    chance = max(total.deviation**2 / total.n, together)
    error = math.sqrt(chance * (1 + total.n / total.rows))
    changed = abs(gap) > SURE * error and abs(gap) > LARGE * total.expected
    return msgspec.structs.replace(total, error=error, changed=changed)
