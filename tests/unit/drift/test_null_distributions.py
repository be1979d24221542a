"""Laws against scipy, against simulation on other seeds, and their corrections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from udfs.drift import null_distributions as laws
from udfs.drift import statistics

RUNS = 4_000
LEVEL = 0.01
FOUR = 4 * (LEVEL * (1 - LEVEL) / RUNS) ** 0.5
# Four standard deviations of the rate, and the noise of the law's own 2,000 draws.
HIGHEST = LEVEL + 4 * (LEVEL * (1 - LEVEL) * (1 / RUNS + 1 / laws.DRAWS)) ** 0.5


def test_kolmogorov_is_scipys() -> None:
    variance = laws.noise(200, 10_000)
    assert laws.kolmogorov_p(np.array(0.1), variance) == pytest.approx(
        stats.kstwobign.sf(0.1 / np.sqrt(variance))
    )
    assert laws.kolmogorov_threshold(np.array(0.05), variance) == pytest.approx(
        stats.kstwobign.isf(0.05) * np.sqrt(variance)
    )


def test_benjamini_hochberg_is_scipys() -> None:
    p = np.random.default_rng(1).random(200) ** 3
    np.testing.assert_allclose(
        laws.benjamini_hochberg(p.tolist()), stats.false_discovery_control(p), rtol=1e-12
    )
    assert laws.benjamini_hochberg([]).tolist() == []


def test_normal_law_has_a_threshold_with_its_own_p() -> None:
    assert laws.normal_p(laws.normal_threshold(LEVEL, 0.3), 0.3) == pytest.approx(LEVEL)
    assert (laws.normal_p(0, 0), laws.normal_p(1, 0)) == (1, 0)


@pytest.mark.parametrize("rows", [2_000, 20_000])
@pytest.mark.parametrize(("name", "function", "law"), laws.CELL_STATISTICS, ids=lambda x: str(x)[:14])
def test_cell_laws_hold_for_categories(name, function, law, rows) -> None:  # type: ignore[no-untyped-def]
    p, q = _samples(np.full(20, 0.05), 10_000, rows)
    scaled = law.of((500,) * 20, False, np.array([rows]))
    above = function(p, q) >= scaled.threshold(LEVEL)
    assert abs(above.mean() - LEVEL) <= FOUR
    assert np.mean(scaled.p(function(p, q)) <= LEVEL) == above.mean()


@pytest.mark.parametrize(
    ("known", "rows"), [(10_000, 1_280), (10_000, 5_000), (2_000, 5_000), (2_000, 50_000)]
)
@pytest.mark.parametrize(("name", "function", "law"), laws.CELL_STATISTICS, ids=lambda x: str(x)[:14])
def test_cell_laws_hold_for_bins_at_the_reference_s_own_quantiles(  # type: ignore[no-untyped-def]
    name, function, law, known, rows
) -> None:
    """Each bin has as many reference rows, whatever its true share is, and some rows fall beyond."""
    random = np.random.default_rng(98)
    edges = np.round(np.linspace(0, known - 1, 65)).astype(int)
    # The gaps between order statistics of uniform values.
    true = random.dirichlet([1, *np.diff(edges), 1], size=RUNS)
    counts = np.diff(edges) + (np.arange(64) == 63)
    current = random.multinomial(rows, true)
    limit = law.of(tuple(counts.tolist()), True, np.array([rows])).threshold(LEVEL)
    above = function(np.array([0, *counts, 0]), current) >= limit
    assert abs(above.mean() - LEVEL) <= FOUR


@pytest.mark.parametrize(
    "rows", [pytest.param(20, marks=pytest.mark.long), 100, pytest.param(300, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", ["psi", "jensen_shannon", "hellinger", "l_infinity"])
def test_small_laws_hold_with_few_rows(name: str, rows: int) -> None:
    shares = np.arange(1, 41) / np.arange(1, 41).sum()
    p, q = _samples(shares, 5_000, rows)
    above = []
    for reference, current in zip(p[:40], np.split(q, 100)[:40], strict=True):
        law = laws.small_sample_nulls(tuple(sorted(reference.tolist())), False, laws.coarse(rows))[name]
        limit = law.threshold(LEVEL, float(laws.noise(rows, 5_000)))
        above.append(getattr(statistics, name)(reference, current) >= limit)
    assert np.mean(above) <= 1.5 * HIGHEST


def test_the_l_infinity_law_holds_with_many_rows() -> None:
    p, q = _samples(np.arange(1, 11) / 55, 10_000, 5_000)
    law = laws.l_infinity_null(tuple((np.arange(1, 11) * 1000).tolist()))
    above = statistics.l_infinity(p, q) >= law.threshold(LEVEL, float(laws.noise(5_000, 10_000)))
    assert 0.2 * LEVEL < above.mean() <= HIGHEST


def test_the_wasserstein_law_is_that_of_uniform_values() -> None:
    random = np.random.default_rng(7)
    law = laws.wasserstein_null((100,) * 64, (1 / 64,) * 64)
    grid = (np.arange(64) + 1) / 64
    ranks = [np.searchsorted(np.sort(random.random(500)), grid) / 500 for _ in range(RUNS)]
    distances = np.abs(np.array(ranks) - grid).mean(axis=1)
    above = distances >= law.threshold(LEVEL, 1 / 500)
    assert 0.2 * LEVEL < above.mean() <= HIGHEST


def test_drawn_laws_give_p_at_their_threshold() -> None:
    law = laws.l_infinity_null((50, 30, 20))
    assert law.p(law.threshold(0.05, 0.01), 0.01) == pytest.approx(0.05, abs=0.001)
    assert law.p(10.0, 0.01) == 1 / (laws.DRAWS + 1)
    assert law.p(0.0, 0.01) == 1


@pytest.mark.parametrize(("lost", "n"), [(0, 50), (0, 200), (20, 200), (300, 5_000)])
def test_missing_threshold_is_where_p_reaches_the_level(lost: int, n: int) -> None:
    limit = laws.missing_threshold(lost, 10_000, n, LEVEL)
    count = round(limit * n)
    assert statistics.missing_p(lost, 10_000, count + 1, n) <= 1.5 * LEVEL
    assert statistics.missing_p(lost, 10_000, max(count - 2, 0), n) > LEVEL


def test_coarse_sizes_are_at_most_an_eighth_too_small() -> None:
    sizes = np.arange(1, 5_000)
    found = np.array([laws.coarse(int(n)) for n in sizes])
    assert (found <= sizes).all()
    assert (found > sizes * 7 / 8).all()
    assert len(set(found.tolist())) < 100


def _samples(shares, m: int, n: int):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(99)
    return random.multinomial(m, shares, size=RUNS), random.multinomial(n, shares, size=RUNS)
