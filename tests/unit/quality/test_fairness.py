"""Disparities beside fairlearn's on census data, and intervals that hold what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from udfs.quality.counts import Labelled, Predicted
from udfs.quality.fairness import Counts, difference, groups_of, ratio
from udfs.quality.intervals import of_share

ORACLES = json.loads((Path(__file__).parents[2] / "oracles" / "fairness.json").read_text())["columns"]


def counts_of(cells: list[list[Any]]) -> Counts:
    """Cells of (group, prediction, label, records)."""
    found: dict[str | None, tuple[Predicted, Labelled | None]] = {}
    for group in {str(cell[0]) for cell in cells}:
        of_group = [cell[1:] for cell in cells if str(cell[0]) == group]
        rows = sum(n for _, _, n in of_group)
        called = sum(n for said, _, n in of_group if said)
        positive = sum(n for _, truth, n in of_group if truth)
        both = sum(n for said, truth, n in of_group if said and truth)
        labelled = Labelled("binary", rows, decisions=(positive, called, both))
        found[group] = (Predicted("binary", rows, (called, 0)), labelled)
    return found


@pytest.mark.parametrize("column", ORACLES)
def test_rates_and_disparities_are_fairlearns(column: str) -> None:
    report = groups_of(column, counts_of(ORACLES[column]["cells"]))
    assert report is not None
    assert {d.measure for d in report.disparities} == set(ORACLES[column]["metrics"])
    for disparity in report.disparities:
        expected = ORACLES[column]["metrics"][disparity.measure]
        assert disparity.difference.value == pytest.approx(expected["difference"], abs=1e-12)
        assert disparity.ratio.value == pytest.approx(expected["ratio"], abs=1e-12)
        rates = {group.value: getattr(group, disparity.measure).value for group in report.groups}
        assert rates == pytest.approx(expected["by_group"], abs=1e-12)
    parity = ORACLES[column]["demographic_parity"]
    selection = next(d for d in report.disparities if d.measure == "selection_rate")
    assert selection.difference.value == pytest.approx(parity["difference"], abs=1e-12)


@pytest.mark.parametrize(
    ("p", "q", "n"), [(0.5, 0.3, 200), (0.05, 0.1, 300), (0.9, 0.95, 100), (0.2, 0.2, 50)]
)
def test_intervals_hold_the_true_value(p: float, q: float, n: int) -> None:
    """Of groups with these rates, drawn 2,000 times."""
    random = np.random.default_rng(12)
    apart = part = 0
    for one, other in zip(random.binomial(n, p, 2_000), random.binomial(2 * n, q, 2_000), strict=True):
        shares = of_share(one, n), of_share(other, 2 * n)
        found, quotient = difference(*shares), ratio(*shares)
        apart += (found.low or 0) <= p - q <= (found.high or 0)
        part += (quotient.low or 0) <= p / q <= (float("inf") if quotient.high is None else quotient.high)
    assert 0.93 <= apart / 2_000 <= 0.975
    assert 0.93 <= part / 2_000 <= 0.975


def test_a_group_that_nobody_is_chosen_of_has_no_ratio_above_it() -> None:
    cells = [["a", 0, 0, 50], ["b", 0, 0, 70]]
    report = groups_of("g", counts_of(cells))
    assert report is not None
    (selection, false_positives) = report.disparities
    assert (selection.difference.value, selection.ratio.value) == (0.0, None)
    assert false_positives.measure == "false_positive_rate"


def test_numbers_have_no_groups() -> None:
    assert groups_of("g", {"a": (Predicted("regression", 5), None)}) is None
    assert groups_of("g", {}) is None
