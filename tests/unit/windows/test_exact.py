"""Sums, averages and deviations are the real numbers rounded once. The adversary picks the values."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from tests.helpers.windows_by_hand import aggregates, by_engine, by_hand, windows_of
from udfs.types import ColumnType
from udfs.windows import exact
from udfs.windows.params import AggregateParams

LARGEST = 2**63 - 1
ULP = 2.0**-52
ANY = st.floats(allow_nan=False, allow_infinity=False)
# Values that meet: ties, what cancels, last bits, and the ends of the range.
MEETING = [
    0.0, 1.0, -1.0, 1 + ULP, 1 - ULP / 2, ULP, ULP / 2, -ULP / 2, ULP / 4, 2.0**53, 2.0**53 + 2, 0.1, 0.2,
    1e17, -1e17, 1e-17, 5e-324, -5e-324, 2.0**-1022, 2.0**-1022 - 5e-324, 1.7976931348623157e308, 1e308,
    -1e308, 2.0**500, 3.0, 2.0**-500, 1e16 + 2, 2.0**107, 2.0**-53 + 2.0**-105,
    2.0**450, 2.0**451, 2.0**-450, 2.0**-451,
]  # fmt: skip
CHOSEN = st.sampled_from(MEETING)
LONGS = st.integers(-LARGEST - 1, LARGEST) | st.sampled_from(
    [0, 1, -1, LARGEST, LARGEST - 1, -LARGEST - 1, 2**53 + 1]
)


def check(kind: ColumnType, values: Sequence[float | int | None], size: int) -> None:
    """Windows of three rows and of all, against plain Python."""
    rows = [{"time": i, "key": 0, "x": value} for i, value in enumerate(values)]
    names = ("sum(x)", "avg(x)", "stddev(x)", "min(x)", "max(x)")
    select = {name: a for name, a in aggregates({"x": kind}).items() if name in names}
    windows = windows_of(select, over=len(values), rows=3)
    types: dict[str, ColumnType] = {"key": "long", "x": kind}
    expected, beyond = by_hand(rows, ["key"], windows)
    found, overflow = by_engine(rows, ["key"], windows, types, itertools.repeat(size))
    assert found == expected
    assert {row for row, _ in overflow} == {row for row, _ in beyond}
    assert overflow <= beyond


@settings(max_examples=examples(40))
@given(st.lists(CHOSEN | ANY | st.none(), min_size=1, max_size=9), st.integers(1, 9))
def test_any_doubles(values: list[float | None], size: int) -> None:
    check("double", values, size)


@settings(max_examples=examples(20))
@given(st.lists(LONGS | st.none(), min_size=1, max_size=9), st.integers(1, 9))
def test_any_longs(values: list[int | None], size: int) -> None:
    check("long", values, size)


@pytest.mark.parametrize(
    "values",
    [
        [2.0**53, 1.0, 1.0, 2.0**-60],
        [2.0**53, 1.0, -(2.0**-60), 0.0],
        [1.0, ULP / 2, 2.0**-120, -(2.0**-120)],
        [1.0, -ULP / 4, -(2.0**-120), 0.0],
        [1e308, 1e308, -1e308, -1e308],
        [1.7976931348623157e308, 2.0**969, 2.0**969, 1.0],
        [-1.7e308, 1.7e308],
        [1e17, 1e-17, -1e17, 1e-17],
        [5e-324, 5e-324, -1e-323, 5e-324],
        [1e-200, 2e-200, 3e-200],
        [1e200, 2e200, 3e200],
        [1e15, 1e15 + 1, 1e15 + 2, 1e15 + 3],
        [0.1] * 10,
    ],
)
def test_ties_and_ends_of_the_range(values: list[float]) -> None:
    for size in (1, 2, len(values)):
        check("double", values, size)


def test_random_sizes_of_values() -> None:
    random_ = random.Random(5)
    for spread in (1, 30, 200):
        values = [random_.uniform(-1, 1) * 2.0 ** random_.randrange(-spread, spread) for _ in range(120)]
        check("double", [v if random_.random() < 0.9 else -values[i - 1] for i, v in enumerate(values)], 17)


def test_cents_and_signs_never_need_the_rows_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine: what is not certain costs as much as the window is long."""

    def unwanted(values: list[float]) -> float:
        raise AssertionError(values)

    random_ = random.Random(6)
    cents = [round(random_.lognormvariate(3, 1), 2) for _ in range(150)]
    signs = [random_.choice([1.0, -1.0]) for _ in range(150)]
    steps = [random_.gauss(0, 1) for _ in range(150)]
    select = {name: AggregateParams(name, "x") for name in ("sum", "stddev")}
    windows = windows_of(select, over=60, rows=20)
    types: dict[str, ColumnType] = {"key": "long", "x": "double"}
    far = [[base + step for step in steps] for base in (1e9, -50_000.0, 1e12)]
    for values in (cents, signs, steps, *far, [0.1] * 150, [float(i) for i in range(150)]):
        rows = [{"time": i, "key": 0, "x": value} for i, value in enumerate(values)]
        expected, _ = by_hand(rows, ["key"], windows)
        with monkeypatch.context() as patch:
            patch.setattr(exact, "exact_sum", unwanted)
            patch.setattr(exact, "_deviation_of", unwanted)
            found, _ = by_engine(rows, ["key"], windows, types, itertools.repeat(41))
        assert found == expected


@given(
    st.sampled_from([0, 1e9, -1e15, 1e300, 1e-170, 10**15, 2**62]),
    st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=60),
)
def test_deviations_of_values_far_from_what_is_taken_away(base: float, steps: list[int]) -> None:
    """What is left of them less the first key's mean is as far from zero: their own mean is taken away."""
    values = [base + step / 8 if isinstance(base, float) else base + step for step in steps]
    with np.errstate(all="ignore"):
        assert exact._deviation_of(values) == statistics.stdev(values)
