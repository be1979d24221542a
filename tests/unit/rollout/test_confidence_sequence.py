"""Evidence that holds however often one looks: as others compute it, and the same in any order."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, stats

from tests.helpers.quality import SCORES, TRUTH, of_scores, of_shadow
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.losses import LossSum, Quality
from udfs.rollout.sequential import Estimate, log_evidence, lower_bound, upper_bound

ORACLES = json.loads((Path(__file__).parents[2] / "oracles" / "sequential.json").read_text())
EFFECTS = (0.05, 0.2)


def estimate(part: float, error: float) -> Estimate:
    """Of a champion whose loss is known to be 1."""
    return Estimate(1.0, part, error**2, 0.0, 0.0)


@pytest.mark.parametrize("case", ORACLES)
def test_boundaries_are_those_of_ville(case: dict[str, float]) -> None:
    at_boundary = estimate(case["boundary"] / case["v"], case["v"] ** -0.5)
    evidence = log_evidence(at_boundary, 0.0, (case["rho"] ** -0.5,))
    assert evidence == pytest.approx(-math.log(case["alpha"]), abs=1e-9)


@pytest.mark.parametrize("score", [-3.0, -0.1, 0.0, 2.0, 30.0])
def test_the_evidence_is_the_mean_over_possible_differences(score: float) -> None:
    """The likelihood ratio, over half normal differences of the size of each effect."""
    information = 60.0
    found = log_evidence(estimate(score / information, information**-0.5), 0.0, EFFECTS)

    def ratio(rise: float, effect: float) -> float:
        return math.exp(rise * score - rise**2 * information / 2) * float(
            stats.halfnorm.pdf(rise, scale=effect)
        )

    means = [integrate.quad(ratio, 0, 20 * e, args=(e,), points=[e], limit=200)[0] for e in EFFECTS]
    assert found == pytest.approx(math.log(np.mean(means)), abs=1e-6)


def test_far_on_the_other_side_there_is_no_evidence_and_no_overflow() -> None:
    found = [log_evidence(estimate(part, 1e-4), 0.0, EFFECTS) for part in (-0.9, -0.005, 0.9)]
    assert found[0] < found[1] < 0 < 10_000 < found[2] < math.inf


@given(st.floats(-0.9, 3.0), st.floats(1e-3, 0.4))
def test_bounds_are_where_the_evidence_reaches_the_error(part: float, error: float) -> None:
    found = Estimate(1.0, part, error**2, error**2 / 3, -(error**2) / 3)
    low, high = lower_bound(found, EFFECTS, 0.01), upper_bound(found, EFFECTS, 0.01)
    assert low <= part
    if low > -1:
        assert log_evidence(found, low, EFFECTS) == pytest.approx(-math.log(0.01), abs=1e-4)
    if high is not None:
        assert high >= part
        assert log_evidence(found, high, EFFECTS, better=True) == pytest.approx(-math.log(0.01), abs=1e-4)


def test_a_champion_that_may_be_perfect_bounds_nothing() -> None:
    """How much more than possibly nothing a loss is, no number says."""
    assert upper_bound(Estimate(0.01, 0.0, 0.01, 0.01, -0.01), EFFECTS, 0.01) is None


def test_the_same_records_are_compared_record_by_record() -> None:
    own, champion = of_shadow(0.02)
    sums = LabelSums({(0, 2, "shadow", 1): own, (0, 1, "champion", 1): champion})
    found = labelled(sums, 2, "shadow", 1, 2)
    assert found is not None
    rises, beside = _losses(0.02)
    cov = np.cov(rises, beside) / len(rises)
    estimate = found.estimate
    assert (estimate.base, estimate.rise) == pytest.approx((beside.mean(), rises.mean()), rel=1e-8)
    computed = (estimate.rise_variance, estimate.base_variance, estimate.covariance)
    assert computed == pytest.approx((cov[0, 0], cov[1, 1], cov[0, 1]), rel=1e-6)
    beyond, variance = estimate.beyond(0.05)
    assert beyond * beside.mean() == pytest.approx((rises - 0.05 * beside).mean(), rel=1e-6)
    assert variance * beside.mean() ** 2 == pytest.approx(
        (rises - 0.05 * beside).var(ddof=1) / len(rises), rel=1e-6
    )


def _losses(shift: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = (np.clip(SCORES + shift, 0, 0.999), SCORES)
    own, champion = (-np.log(np.where(TRUTH, s, 1 - s)) for s in scores)
    return own - champion, champion


def test_a_share_that_changes_with_the_times_misleads_nobody() -> None:
    """Losses are high at night, when the canary gets half, and low by day, when it gets a tenth (Simpson)."""

    def told(n: int, loss: float) -> Quality:
        draw = np.random.default_rng(n)
        losses = draw.normal(loss, 0.05, n)
        return Quality("binary", LossSum(n, round(losses.sum() * 1e12), round((losses**2).sum() * 1e12)))

    sums = LabelSums()
    for release, (n, m, loss) in enumerate([(1_000, 9_000, 0.3), (5_001, 5_002, 0.9)], 2):
        sums.qualities[0, 2, "canary", release] = told(n, loss)
        sums.qualities[0, 1, "champion", release] = told(m, loss)
    found = labelled(sums, 2, "canary", 1, 100)
    assert found is not None
    assert abs(found.estimate.part) < 0.005
    mixed = [sum(q.loss.total for k, q in sums.qualities.items() if k[1] == v) for v in (2, 1)]
    counts = [sum(q.loss.n for k, q in sums.qualities.items() if k[1] == v) for v in (2, 1)]
    assert (mixed[0] / counts[0]) / (mixed[1] / counts[1]) > 1.4


@given(st.lists(st.integers(0, 3), min_size=20, max_size=20), st.randoms())
def test_partitions_windows_and_restarts_change_no_bit(parts: list[int], random: object) -> None:
    """The champion's and the canary's labels by whichever worker and in whatever order."""
    draw = np.random.default_rng(3)
    scores, truth = draw.uniform(0.05, 0.95, 400), draw.random(400) < 0.4

    def pieces() -> list[LabelSums]:
        made = []
        for i in range(20):
            own, other = slice(i * 20, i * 20 + 10), slice(i * 20 + 10, i * 20 + 20)
            made.append(
                LabelSums(
                    {
                        (0, 2, "canary", 3): of_scores(scores[own], truth[own]),
                        (0, 1, "champion", 3): of_scores(scores[other], truth[other]),
                    }
                )
            )
        return made

    whole = LabelSums()
    for piece in pieces():
        whole.add(piece)
    workers = [LabelSums() for _ in range(4)]
    for worker, piece in zip(parts, pieces(), strict=True):
        workers[worker] = decode_labels(encode_labels(workers[worker]))
        workers[worker].add(piece)
    random.shuffle(workers)  # type: ignore[attr-defined]
    total = LabelSums()
    for each in workers:
        total.add(each)
    assert encode_labels(total) == encode_labels(whole)
    assert labelled(total, 2, "canary", 1, 2) == labelled(whole, 2, "canary", 1, 2)


@pytest.mark.parametrize("sought", [None, 0.05, 0.2])
@pytest.mark.parametrize("information", [20.0, 400.0, 10_000.0])
def test_evidence_against_the_truth_is_one_in_the_mean(information: float, sought: float | None) -> None:
    """So that it is a hundred in one of a hundred cases at most: Markov, and Ville at all times."""

    def weighted(z: float) -> float:
        found = Estimate(1.0, z / math.sqrt(information), 1 / information, 0.0, 0.0)
        return math.exp(log_evidence(found, 0.0, EFFECTS, sought=sought) + stats.norm.logpdf(z))

    middle = 0.7 * (sought or 0.2) * math.sqrt(information)
    mean = integrate.quad(weighted, -40, 250, points=[-5, 0, 5, middle], limit=400)[0]
    assert mean == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("sought", "error"), [(0.05, 0.01), (0.2, 0.0076)])
def test_what_is_sought_is_found_with_half_as_many_more_records_as_at_one_look(
    sought: float, error: float
) -> None:
    """In nine of ten cases; Brownian motion looked at 300 times on the way."""
    one_look = (stats.norm.isf(0.01) + stats.norm.isf(0.1)) ** 2 / sought**2
    draw = np.random.default_rng(9)
    step = one_look / 200
    paths = np.cumsum(draw.normal(sought * step, math.sqrt(step), (300, 300)), axis=1)
    times = np.arange(1, 301) * step
    decided = [
        any(
            log_evidence(Estimate(1.0, s / v, 1 / v, 0.0, 0.0), 0.0, EFFECTS, sought=sought)
            >= -math.log(error)
            for v, s in zip(times.tolist(), path.tolist(), strict=True)
        )
        for path in paths
    ]
    assert np.mean(decided) > 0.88
