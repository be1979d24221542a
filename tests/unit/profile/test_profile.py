"""Reference profiles against numpy, and their laws for any column."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import parse_reference


def column(values: Any, kind: Any = None, **options: Any) -> dict[str, Any]:
    profile = reference_profile(pa.table({"x": pa.array(values, kind)}), **options)
    found: dict[str, Any] = profile["columns"]["x"]
    return found


def fixed(number: int, exponent: int) -> Fraction:
    return Fraction(number) / Fraction(2) ** exponent


def test_a_numeric_column_against_numpy() -> None:
    values = np.random.default_rng(0).gamma(2.0, 30.0, 10_000)
    got = column(values)
    edges = np.quantile(values, np.linspace(0, 1, 65), method="inverted_cdf")
    counts, _ = np.histogram(values, edges)
    sums, _ = np.histogram(values, edges, weights=values)
    assert got["edges"] == edges.tolist()
    assert got["counts"] == counts.tolist()
    assert (got["count"], got["null"], got["invalid"]) == (10_000, 0, 0)
    assert (got["min"], got["max"]) == (values.min(), values.max())
    assert got["mean"] == pytest.approx(values.mean(), rel=1e-12)
    assert got["std"] == pytest.approx(values.std(), rel=1e-12)
    scale = 2.0 ** got["fixed_point"]["exponent"]
    assert got["fixed_point"]["sum"] / scale == pytest.approx(values.sum(), rel=1e-7)
    assert got["fixed_point"]["sum_squares"] / scale**2 == pytest.approx((values**2).sum(), rel=1e-7)
    np.testing.assert_allclose(np.array(got["fixed_point"]["sums"]) / scale, sums, rtol=1e-6)


def test_bins_hold_about_as_many_rows_each() -> None:
    counts = column(np.random.default_rng(1).normal(size=6_400))["counts"]
    assert len(counts) == 64
    assert max(counts) - min(counts) <= 2


def test_ties_share_an_edge() -> None:
    got = column([0.0] * 900 + list(range(1, 101)))
    assert got["edges"][0] == 0.0
    assert len(set(got["edges"])) == len(got["edges"]) < 65
    assert got["counts"][0] >= 900


def test_null_and_invalid_are_counted_apart() -> None:
    got = column([1.0, None, math.nan, math.inf, -math.inf, 2.0, None])
    assert (got["count"], got["null"], got["invalid"]) == (2, 2, 3)
    assert (got["min"], got["max"], got["mean"], got["std"]) == (1.0, 2.0, 1.5, 0.5)


def test_integers_are_exact_in_fixed_point() -> None:
    got = column([3, -4, 5, None], pa.int64())
    exponent = got["fixed_point"]["exponent"]
    assert fixed(got["fixed_point"]["sum"], exponent) == 4
    assert fixed(got["fixed_point"]["sum_squares"], 2 * exponent) == 50


@pytest.mark.parametrize(
    ("values", "edges", "counts"), [([], [], []), ([None], [], []), ([7.0] * 3, [7.0], [3])]
)
def test_columns_with_nothing_to_bin(values: Any, edges: Any, counts: Any) -> None:
    got = column(values, pa.float64())
    assert (got["edges"], got["counts"], len(got["fixed_point"]["sums"])) == (edges, counts, len(counts))


def test_a_categorical_column() -> None:
    got = column(["b", "a", None, "b", "c", "d", "a", "b"], top=2)
    assert got == {
        "kind": "categorical",
        "values": ["b", "a"],
        "counts": [3, 2],
        "other": 2,
        "rare": ["c", "d"],
        "distinct": 4,
        "null": 1,
    }


def test_equally_frequent_values_have_one_order() -> None:
    assert column(["b", "c", "a"])["values"] == column(["c", "a", "b"])["values"] == ["a", "b", "c"]


def test_booleans_are_categories() -> None:
    got = column([True, False, True, None])
    assert (got["values"], got["counts"], got["null"]) == (["true", "false"], [2, 1], 1)


@pytest.mark.parametrize("known", [0, 1])
def test_rare_values_are_kept_up_to_a_thousand(known: int) -> None:
    values = [f"{i:04}" for i in range(1_001 + known)]
    found = column(values, top=1)
    assert found["rare"] == (None if known else [v for v in values if v not in found["values"]])
    assert len(found["values"]) == 1


def test_joint_is_of_the_numeric_inputs_and_knows_no_row_order() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 500))
    table = pa.table(
        {
            "a": a,
            "word": ["x"] * 500,
            "flag": a > 0,
            "b": pa.array(a + b, mask=np.arange(500) < 50),
            "c": [7] * 500,
        }
    )
    profile = reference_profile(table, pa.table({"score": a}))
    joint = profile["joint"]
    assert joint["columns"] == ["a", "b"]
    assert joint["rows"] == 450
    assert joint["correlation"][0][1] == pytest.approx(np.corrcoef(a[50:], (a + b)[50:])[0, 1], abs=1e-3)
    order = random.permutation(500)
    shuffled = reference_profile(table.take(order), pa.table({"score": a[order]}))
    assert encode_profile(shuffled) == encode_profile(profile)
    assert parse_reference(encode_profile(profile)).joint is not None


def test_one_number_or_few_rows_have_no_joint() -> None:
    assert reference_profile(pa.table({"a": range(500), "b": ["x"] * 500}))["joint"] is None
    assert reference_profile(pa.table({"a": range(99), "b": range(99)}))["joint"] is None


def test_importance_is_shares() -> None:
    table = pa.table({"a": [1], "b": ["x"], "c": [2], "d": [3]})
    assert reference_profile(table)["importance"] == dict.fromkeys("abcd", 0.25)
    got = reference_profile(table, importance={"a": 3.0, "c": 1.0})["importance"]
    assert got == {"a": 0.75, "b": 0.0, "c": 0.25, "d": 0.0}
    huge = reference_profile(table, importance=dict.fromkeys("abcd", 1e308))["importance"]
    assert huge == dict.fromkeys("abcd", 0.25)


@pytest.mark.parametrize("wrong", [{"z": 1.0}, {"a": -1.0}, {"a": math.nan}, {"a": math.inf}])
def test_wrong_importance_is_an_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="importance must"):
        reference_profile(pa.table({"a": [1]}), importance=wrong)


def test_outputs_are_apart_from_inputs_of_the_same_name() -> None:
    profile = reference_profile(pa.table({"score": ["a"]}), pa.table({"score": [0.5]}))
    assert profile["columns"]["score"]["kind"] == "categorical"
    assert profile["outputs"]["score"]["mean"] == 0.5
    assert profile["rows"] == 1


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.none() | st.floats(), max_size=60), st.randoms())
def test_any_column_adds_up_and_any_order_gives_the_same_bytes(values: list[Any], random: Any) -> None:
    table = pa.table({"x": pa.array(values, pa.float64())})
    profile = reference_profile(table, bins=8)
    got = profile["columns"]["x"]
    assert sum(got["counts"]) == got["count"]
    assert got["count"] + got["null"] + got["invalid"] == len(values)
    assert sum(got["fixed_point"]["sums"]) == got["fixed_point"]["sum"]
    assert all(low < high for low, high in zip(got["edges"], got["edges"][1:], strict=False))
    shuffled = random.sample(values, len(values))
    again = reference_profile(pa.table({"x": pa.array(shuffled, pa.float64())}), bins=8)
    assert encode_profile(again) == encode_profile(profile)
    assert json.loads(encode_profile(profile)) == profile


@given(st.lists(finite, min_size=1, max_size=60))
def test_fixed_point_is_off_by_half_a_unit_a_value_at_most(values: list[float]) -> None:
    got = column(values, pa.float64())["fixed_point"]
    unit = Fraction(2) ** -got["exponent"]
    exact = sum(Fraction(value) for value in values)
    assert abs(fixed(got["sum"], got["exponent"]) - exact) <= len(values) * unit / 2
    assert 2**29 * unit <= max(abs(Fraction(value)) for value in values) + unit or not any(values)
