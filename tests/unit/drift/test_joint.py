"""The joint score: what it sees, what it must not see, and how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.joint_draws import (
    LEVEL,
    NAMES,
    Floats,
    named,
    normal,
    reference,
)
from udfs.drift.correlations import judge_joint
from udfs.profile.joint import joint_counts, joint_reference, parse_joint


def test_correlations_are_those_of_numpy() -> None:
    rows = normal(np.random.default_rng(0), 10_000)
    np.testing.assert_allclose(reference().correlation, np.corrcoef(rows), atol=2e-4)
    report = judge_joint(reference(), joint_counts(reference(), named(rows)), LEVEL)
    assert (report.value, report.p, report.verdict) == (0.0, 1.0, "ok")


def test_a_flipped_correlation_with_the_same_marginals_is_drift() -> None:
    random = np.random.default_rng(1)
    window = named(normal(random, 500, correlation=0.1))
    report = judge_joint(reference(), joint_counts(reference(), window), LEVEL)
    assert report.verdict == "drift"
    assert report.q == report.p < 1e-4
    assert report.value > report.threshold
    assert (report.pairs[0].first, report.pairs[0].second) == ("a", "b")
    assert report.pairs[0].reference == pytest.approx(0.5, abs=0.03)
    assert report.pairs[0].current == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize("moved", [lambda x: x + 1, lambda x: x - 2, lambda x: 0.5 * x, lambda x: 2 * x])
def test_a_moved_or_scaled_column_is_not_joint_drift(moved: Callable[[Floats], Floats]) -> None:
    window = named(normal(np.random.default_rng(2), 5_000))
    still = judge_joint(reference(), joint_counts(reference(), window), LEVEL)
    report = judge_joint(reference(), joint_counts(reference(), {**window, "b": moved(window["b"])}), LEVEL)
    assert report.verdict == "ok"
    assert report.value == pytest.approx(still.value, abs=0.002)


values = st.lists(st.tuples(*[st.floats(width=32) | st.just(math.nan)] * 4), min_size=1, max_size=40)


@given(values, st.integers(0, 40), st.randoms())
def test_any_split_in_any_order_gives_the_same_sums(rows: list[Any], cut: int, random: Any) -> None:
    def count(part: list[Any]) -> Any:
        return joint_counts(reference(), named(np.array(part, dtype=np.float64).reshape(-1, 4).T))

    shuffled = random.sample(rows, len(rows))
    whole, merged = count(rows), count(shuffled[cut:]).merged(count(shuffled[:cut]))
    assert whole.n == merged.n == sum(all(map(math.isfinite, row)) for row in rows)
    np.testing.assert_array_equal(whole.first, merged.first)
    np.testing.assert_array_equal(whole.second, merged.second)
    report = judge_joint(reference(), whole, LEVEL)
    assert all(map(math.isfinite, [report.value, report.threshold, report.p]))


def test_large_inputs_are_exact() -> None:
    counts = joint_counts(reference(), dict.fromkeys(NAMES, np.full(250_000, 1e9)))
    assert counts.first.tolist() == [250_000 * 8_192] * 4
    assert counts.second.tolist() == [[250_000 * 8_192**2] * 4] * 4
    assert judge_joint(reference(), counts, LEVEL).value == 0.0


def test_windows_of_millions_do_not_overflow() -> None:
    counts = joint_counts(reference(), named(normal(np.random.default_rng(3), 1_000)))
    once = judge_joint(reference(), counts, LEVEL)
    for _ in range(16):
        counts = counts.merged(counts)
    report = judge_joint(reference(), counts, LEVEL)
    assert counts.n > 2**25
    assert report.value == pytest.approx(once.value, rel=1e-12)


def test_a_constant_column_keeps_the_correlations_of_the_reference() -> None:
    window = named(normal(np.random.default_rng(4), 1_000))
    report = judge_joint(reference(), joint_counts(reference(), {**window, "b": np.full(1_000, 3.0)}), LEVEL)
    assert report.verdict == "ok"
    assert all(pair.reference == pair.current for pair in report.pairs if "b" in (pair.first, pair.second))


@pytest.mark.parametrize("n", [0, 1, 2, 29])
def test_few_rows_are_insufficient_data(n: int) -> None:
    window = named(normal(np.random.default_rng(6), n))
    report = judge_joint(reference(), joint_counts(reference(), window), LEVEL)
    assert (report.verdict, report.p, report.n) == ("insufficient_data", 1.0, n)
    assert math.isfinite(report.value)
    assert math.isfinite(report.threshold)


def test_columns_that_determine_one_another() -> None:
    a = np.random.default_rng(7).normal(size=1_000)
    made = joint_reference({"a": a, "b": 2 * a + 3}, seed=0)
    assert made is not None
    twins = parse_joint(made)
    same = judge_joint(twins, joint_counts(twins, {"a": a[:200], "b": 2 * a[:200] + 3}), LEVEL)
    apart = judge_joint(twins, joint_counts(twins, {"a": a[:200], "b": a[200:400]}), LEVEL)
    assert (same.verdict, apart.verdict) == ("ok", "drift")


def test_columns_that_say_nothing_are_left_out() -> None:
    random = np.random.default_rng(8)
    columns = named(normal(random, 400))
    rare = np.where(np.arange(400) < 300, np.nan, 1.0)
    huge = np.where(np.arange(400) < 200, -1e308, 1e308)
    made = joint_reference({"rare": rare, "same": np.ones(400), "huge": huge, **columns}, seed=0)
    assert made is not None
    assert made["columns"] == NAMES
    many = {f"c{i}": random.normal(size=200) for i in range(40)}
    wide = joint_reference(many, seed=0)
    assert wide is not None
    assert wide["columns"] == list(many)[:32]


def test_outliers_of_the_reference_do_not_hide_the_others() -> None:
    rows = normal(np.random.default_rng(9), 2_000)
    rows[:, :3] = 1e200
    made = joint_reference(named(rows), seed=0)
    assert made is not None
    odd = parse_joint(made)
    window = normal(np.random.default_rng(10), 1_000)
    window[1] = -window[1]
    assert judge_joint(odd, joint_counts(odd, named(window)), LEVEL).verdict == "drift"


def test_the_same_rows_give_the_same_reference() -> None:
    rows = normal(np.random.default_rng(11), 300)
    order = np.random.default_rng(12).permutation(300)
    assert joint_reference(named(rows), 0) == joint_reference(named(rows[:, order]), 0)


WRONG: list[dict[str, Any]] = [
    {"columns": ["a"]},
    {"columns": ["a", "a", "c", "d"]},
    {"mean": [0.0]},
    {"scale": [1.0, 1.0, 0.0, 1.0]},
    {"correlation": [[1.0]]},
    {"correlation": [[2.0] * 4] * 4},
    {"rows": 0},
    {"rows": "many"},
    {"null": {"sizes": [10, 5], "mean": [1.0] * 2, "std": [1.0] * 2, "skewness": [1.0] * 2}},
    {"null": {"sizes": [], "mean": [], "std": [], "skewness": []}},
    {"null": {}},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_parts_that_do_not_fit_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"joint|Expected|missing"):
        parse_joint({**msgspec.to_builtins(reference()), **wrong})
