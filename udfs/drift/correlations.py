"""The joint test: how far the columns' correlations are from the reference's."""

from __future__ import annotations

import math

import numpy as np

from udfs.drift.compare import Alike
from udfs.drift.records import JointReport, PairChange, Verdict
from udfs.profile.blocks import correlation_in, correlation_of_all
from udfs.profile.counts import JointCounts
from udfs.profile.joint import _PAIRS, MIN_ROWS, JointReference, _correlation


def judge_joint(
    reference: JointReference, counts: JointCounts, level: float, window_ms: int = 0
) -> JointReport:
    """The root-mean-square change D of the correlations; drift if chance alone gives it with p <= level.

    With fewer than 30 or 3·k rows the verdict is `insufficient_data` and p = 1. q = p: the caller corrects
    it. A column that is constant in the window keeps the reference's correlations. Rows of `window_ms` are as
    alike as the reference's blocks say: where they are, fewer of them count.
    """
    from scipy.special import gammaincc, gammainccinv  # Start-up: slow to import.  # noqa: PLC0415

    expected = np.array(reference.correlation)
    current = _correlation(counts, expected)
    first, second = np.triu_indices(len(expected), 1)
    change = (current - expected)[first, second]
    value = math.sqrt(float(np.mean(change**2)))
    alike = Alike(correlation_of_all(reference.blocks), correlation_in(reference.blocks, window_ms))
    sizes = alike.effective(np.array(reference.rows), np.array(counts.n))
    known, now = float(sizes[0]), float(sizes[1])
    # The reference's correlations are uncertain too: 1/n + 1/m takes the place of 1/n.
    n = 1 / (1 / max(now, 1.0) + 1 / known)
    shape, location, scale = reference.null.gamma(n)
    threshold = math.sqrt(max(location + scale * float(gammainccinv(shape, level)), 0.0) / n)
    enough = now >= max(MIN_ROWS, 3 * len(expected))
    p = float(gammaincc(shape, max((n * value**2 - location) / scale, 0.0))) if enough else 1.0
    verdict: Verdict = "insufficient_data" if not enough else "drift" if p <= level else "ok"
    largest = np.argsort(-np.abs(change), kind="stable")[:_PAIRS]
    names = reference.columns
    pairs = tuple(
        PairChange(names[i], names[j], float(expected[i, j]), float(current[i, j]))
        for i, j in zip(first[largest], second[largest], strict=True)
    )
    return JointReport(counts.n, value, threshold, p, p, verdict, pairs)
