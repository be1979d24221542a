"""Each statistic against scipy on 10,000 random cases, against other tools' values, and at its limits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from tests.helpers.columns import CASES, counts_of, draw, profile_of
from tests.helpers.examples import sized
from udfs.drift import statistics
from udfs.profile.counts import NumericCounts

ORACLES = json.loads((Path(__file__).parents[2] / "oracles" / "values.json").read_text())


@pytest.fixture(scope="module")
def tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(cases, 6) counts, many of them zero, at least one row on each side."""
    random = np.random.default_rng(1)
    scale = random.choice([2, 10, 200], size=(CASES, 1))
    p, q = (random.integers(0, scale, size=(CASES, 6)) * (random.random((CASES, 6)) < 0.8) for _ in range(2))
    p[:, 0] += 1
    q[:, 0] += 1
    return p, q


def test_distances_are_scipys(tables: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> None:
    p, q = tables
    first, second = (side / side.sum(axis=1, keepdims=True) for side in tables)
    expected = jensenshannon(first, second, base=2, axis=1)
    np.testing.assert_allclose(statistics.jensen_shannon(p, q) ** 2, expected**2, rtol=0, atol=1e-12)
    coefficient = 1 - np.sqrt(first * second).sum(axis=1)
    np.testing.assert_allclose(statistics.hellinger(p, q) ** 2, coefficient, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        statistics.l_infinity(p, q), np.linalg.norm(first - second, ord=np.inf, axis=1), rtol=0, atol=1e-12
    )
    filled, other = (np.where(side == 0, 1e-4, side) for side in (first, second))
    relative = rel_entr(filled, other) + rel_entr(other, filled)
    expected = relative.sum(axis=1)
    np.testing.assert_allclose(statistics.psi(p, q), expected, rtol=1e-12, atol=1e-12)


def test_chi2_is_scipys_on_the_pooled_cells(
    tables: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
) -> None:
    values, degrees, chances = statistics.chi2(*tables)
    first, second = statistics.pooled(*tables)
    assert (first.sum(axis=1) == tables[0].sum(axis=1)).all()
    assert (second.sum(axis=1) == tables[1].sum(axis=1)).all()
    for i in range(CASES):
        table = np.stack([first[i], second[i]])
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] < 2:
            assert (values[i], degrees[i], chances[i]) == (0, 0, 1)
            continue
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        assert expected.min() >= 5 * (1 - 1e-12)
        if i % sized(10, 40) == 0:  # the library's own function, as it takes a millisecond
            found = stats.chi2_contingency(table, correction=False)
            assert (values[i], degrees[i]) == pytest.approx(
                (found.statistic, found.dof), rel=1e-12, abs=1e-12
            )
            assert chances[i] == pytest.approx(found.pvalue, rel=1e-9, abs=1e-300)
        else:
            value = ((table - expected) ** 2 / expected).sum()
            assert values[i] == pytest.approx(value, rel=1e-12, abs=1e-12)
            assert degrees[i] == table.shape[1] - 1


def test_missing_rates_are_fishers_exact_test() -> None:
    random = np.random.default_rng(2)
    for _ in range(sized(1_500, 400)):
        m, n = random.integers(1, 60, size=2).tolist()
        lost, gone = int(random.integers(0, m + 1)), int(random.integers(0, n + 1))
        expected = stats.fisher_exact([[lost, m - lost], [gone, n - gone]]).pvalue
        assert statistics.missing_p(lost, m, gone, n) == pytest.approx(expected, rel=1e-9)


def test_missing_rates_of_many_rows_are_chi2() -> None:
    expected = stats.chi2_contingency([[500, 9500], [330, 4670]], correction=False).pvalue
    assert statistics.missing_p(500, 10_000, 330, 5000) == pytest.approx(expected, rel=1e-9)


def test_moments_and_quantiles_are_those_of_the_values() -> None:
    random = np.random.default_rng(4)
    for case in range(sized(300, 120)):
        known, values = draw(random, case, 200) + 10, draw(random, case, 100) + 10
        reference, column = profile_of(known, bins=32)
        counts = counts_of(reference, values)
        found = statistics.moments(counts, column.fixed_point.exponent)
        size = np.abs(known).max()
        assert found == pytest.approx((values.mean(), values.std()), abs=1e-8 * size)
        assert counts.low is not None
        assert counts.high is not None
        ends = statistics.boundaries(np.array(column.edges), counts.low, counts.high)
        asked = np.array([0.0, 0.05, 0.5, 0.95, 1.0])
        guessed = statistics.quantiles(counts, ends, asked)
        exact = np.quantile(values, asked, method="inverted_cdf")
        places = [np.searchsorted(ends[1:-1], each, side="right") for each in (guessed, exact)]
        assert (np.abs(places[0] - places[1]) <= 1).all()
        assert guessed[0] >= counts.low
        assert guessed[-1] == counts.high


def test_sums_beyond_64_bits_are_exact() -> None:
    counts = NumericCounts(np.array([0, 2, 0]), np.array([0, 2**70 + 2, 0], dtype=object), 2**140)
    assert statistics.moments(counts, 60) == (2.0**9 + 2.0**-60, pytest.approx(2.0**9))


@pytest.mark.parametrize("case", ORACLES["cases"], ids=lambda case: f"{case['tool']}-{case['statistic']}")
def test_other_tools_agree_on_their_own_bins(case: dict[str, object]) -> None:
    assert ours(case) == pytest.approx(case["value"], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "value"), [("jensen_shannon", 0.0316611), ("evidently_jensen_shannon", 0.0261016)]
)
def test_the_golden_car_loan_chunk(name: str, value: float) -> None:
    case = ORACLES["car_loan"][name]
    assert case["value"] == pytest.approx(value, rel=1e-5)
    assert ours(case) == pytest.approx(case["value"], rel=1e-9)


def test_the_golden_car_loan_ks_is_within_the_bounds() -> None:
    case = ORACLES["car_loan"]["ks"]
    assert case["value"] == pytest.approx(0.01576, abs=1e-6)
    lower, upper = statistics.ks(np.array(case["reference"]), np.array(case["current"]))
    assert lower <= case["value"] <= upper
    assert upper - lower < 1 / 32


def test_other_tools_unbinned_distances_are_within_the_bounds() -> None:
    random = np.random.default_rng(ORACLES["seed"])
    known = np.round(random.normal(0.0, 1.0, 4000), 6)
    random.choice(4, 4000, p=[0.4, 0.3, 0.2, 0.1])
    values = np.round(random.normal(0.3, 1.0, 1000), 6)
    assert [known.sum(), values.sum()] == pytest.approx(ORACLES["data_sums"])
    reference, column = profile_of(known, bins=64)
    before, counts = column.as_counts(), counts_of(reference, values)
    lower, upper = statistics.ks(before.counts, counts.counts)
    assert lower <= ORACLES["unbinned"]["nannyml_ks"] <= upper
    assert counts.low is not None
    assert counts.high is not None
    exponent = column.fixed_point.exponent
    ends = statistics.fixed(statistics.boundaries(np.array(column.edges), counts.low, counts.high), exponent)
    bounds = np.ldexp(statistics.wasserstein(before, counts, ends), -exponent)
    assert bounds[0] - 1e-8 <= ORACLES["unbinned"]["nannyml_wasserstein"] <= bounds[1] + 1e-8
    assert bounds[1] - bounds[0] < 0.02
    normed = bounds / known.std()
    assert normed[0] - 1e-8 <= ORACLES["unbinned"]["evidently_wasserstein"] <= normed[1] + 1e-8


def ours(case: dict[str, object]) -> float:
    """Evidently's Jensen-Shannon distance has the natural logarithm, so it is √ln 2 times ours."""
    p, q = np.array(case["reference"]), np.array(case["current"])
    if case["statistic"] == "chi2":
        return float(statistics.chi2(p, q)[0])
    value = float(getattr(statistics, str(case["statistic"]))(p, q))
    natural = (case["tool"], case["statistic"]) == ("evidently", "jensen_shannon")
    return value * math.sqrt(math.log(2)) if natural else value
