"""Lookups and derived features of a batch: right where they can be, a reason where not, each row alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.plan.expressions import compile_all
from udfs.features import DerivedParams, FeatureBuilder, FeatureParams, LookupParams
from udfs.records.problems import Problem
from udfs.types import ColumnType

TYPES: dict[str, ColumnType] = {"a": "double", "b": "double", "n": "long", "city": "string"}
DOUBLES = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324])


def features(lookups: tuple[LookupParams, ...] = (), **derive: str) -> FeatureBuilder:
    types = TYPES | {name: kind for lookup in lookups for name, kind in lookup.types.items()}
    derived = tuple(DerivedParams(name, e.tree) for name, e in compile_all(derive, types))
    return FeatureBuilder(FeatureParams(lookups, derived))


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    kinds = {"a": pa.float64(), "b": pa.float64(), "n": pa.int64(), "city": pa.string()}
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()})


def quotient(a: float | None, b: float | None) -> float | None:
    """What a / b has to be: None for null, NaN where it is not finite."""
    if a is None or b is None:
        return None
    value = math.nan if b == 0 else a / b
    return value if math.isfinite(value) else math.nan


@given(rows=st.lists(st.tuples(DOUBLES, DOUBLES), max_size=40))
def test_exactly_the_rows_that_divide_by_zero_or_overflow_are_bad(
    rows: list[tuple[float | None, float | None]],
) -> None:
    made, problems = features(ratio="a / b").compute(table([{"a": a, "b": b} for a, b in rows]))
    expected = [quotient(a, b) for a, b in rows]
    bad = {row for row, value in enumerate(expected) if value is not None and math.isnan(value)}
    assert problems.keys() == bad
    assert {(p.stage, p.reason) for p in problems.values()} <= {("feature", "not_finite")}
    ratios = made.column("ratio").to_pylist()
    assert [value for row, value in enumerate(ratios) if row not in bad] == [
        value for row, value in enumerate(expected) if row not in bad
    ]


@given(longs=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_rows_whose_feature_raises_are_isolated(longs: list[int | None]) -> None:
    made, problems = features(square="n * n").compute(table([{"n": n} for n in longs]))
    fits = [n is None or n * n < 2**63 for n in longs]
    assert problems.keys() == {row for row, fit in enumerate(fits) if not fit}
    assert {(p.stage, p.reason) for p in problems.values()} <= {("feature", "feature_error")}
    squares = [n * n if n is not None and fit else None for n, fit in zip(longs, fits, strict=True)]
    assert made.column("square").to_pylist() == squares


def test_a_dead_letter_says_why_without_values_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries put what they were given into their errors; more people read dead letters than records."""
    _, problems = features(square="n * n").compute(table([{"n": 2**62}]))
    assert problems[0].message == "square: overflow"

    def told(*_: object) -> None:
        raise pa.ArrowInvalid("Failed to parse string: 4929-1234-5678 as a scalar")

    monkeypatch.setattr("udfs.features.evaluate", told)
    _, problems = features(square="n * n").compute(table([{"n": 1}]))
    assert problems[0].message == "square: cannot be computed (ArrowInvalid)"


def test_derived_features_build_on_each_other_and_the_first_problem_counts() -> None:
    rows: list[dict[str, Any]] = [{"a": 6.0, "b": 3.0}, {"a": 1.0, "b": 0.0}, {"a": None, "b": 0.0}]
    made, problems = features(twice="ratio * 2", ratio="a / b", known="ratio IS NOT NULL").compute(
        table(rows)
    )
    assert made.column_names[-3:] == ["ratio", "twice", "known"]
    assert (made["twice"][0].as_py(), made["twice"][2].as_py()) == (4.0, None)
    assert made["known"].to_pylist()[::2] == [True, False]
    assert problems == {
        1: Problem("feature", "not_finite", "ratio: the result is not finite (division by zero?)")
    }


def test_messages_name_the_feature_but_hold_no_value() -> None:
    _, problems = features(parsed="CAST(city AS DOUBLE)").compute(
        table([{"city": "secret"}, {"city": "1.5"}])
    )
    assert problems.keys() == {0}
    assert problems[0].message.startswith("parsed: ")
    assert "secret" not in problems[0].message


@pytest.fixture
def cities(tmp_path: Path) -> LookupParams:
    path = tmp_path / "cities.csv"
    path.write_text("name,people,area\nrome,2800,1285.0\nbonn,330,\n")
    types: dict[str, ColumnType] = {"people": "long", "size": "double"}
    return LookupParams(str(path), "city", "name", {"people": "people", "size": "area"}, types)


def test_lookups_come_before_derived_features_and_misses_are_null(cities: LookupParams) -> None:
    joined = features((cities,), dense="people / size")
    rows: list[dict[str, Any]] = [{"city": "rome"}, {"city": "oslo"}, {"city": None}, {"city": "bonn"}]
    made, problems = joined.compute(table(rows))
    assert made["people"].to_pylist() == [2800, None, None, 330]
    assert made["size"].to_pylist() == [1285.0, None, None, None]
    assert made["dense"].to_pylist() == [2800 / 1285.0, None, None, None]
    assert problems == {}
    before = joined.misses
    joined.compute(table(rows))
    assert (before, joined.misses) == (2, 4)


def test_no_rows(cities: LookupParams) -> None:
    made, problems = features((cities,), ratio="a / b").compute(table([]))
    assert (made.num_rows, problems) == (0, {})
    assert {"people", "size", "ratio"} <= set(made.column_names)
