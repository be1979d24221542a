"""Exponentially weighted means against their formula. The adversary cuts batches and lets values grow old."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.helpers.windows_by_hand import Rows, by_engine
from udfs.types import ColumnType
from udfs.windows.params import AggregateParams, WindowParams

TYPES: dict[str, ColumnType] = {"key": "long", "x": "double"}
NOW = 1_764_000_000_000


def windows(half_life: int, over: int) -> list[WindowParams]:
    return [WindowParams(over_ms=over, select={"mean": AggregateParams("ewma", "x", half_life_ms=half_life)})]


@pytest.mark.parametrize(
    ("half_life", "gap", "start"),
    [(60_000, 1_000, NOW), (7, 3, -NOW), (1, 500, 0), (10**12, 5_000, NOW)],
)
def test_as_the_formula_says(monkeypatch: pytest.MonkeyPatch, half_life: int, gap: int, start: int) -> None:
    """And from the sums alone, to the same bits for any batches."""

    def unwanted(*_: object) -> float:
        raise AssertionError

    monkeypatch.setattr("udfs.windows.answers.exact_decayed_mean", unwanted)
    random_ = random.Random(half_life)
    rows = [{"time": start, "key": 0, "x": 5.0}]
    for _ in range(100):
        rows.append({"time": rows[-1]["time"] + random_.randrange(gap), "key": 0, "x": random_.gauss(3, 2)})
    over = 40 * gap
    means = []
    for size in (3, 13, 101):
        found, _ = by_engine(rows, ["key"], windows(half_life, over), TYPES, itertools.repeat(size))
        means.append(found["mean"])
    assert means[0] == means[1] == means[2]
    for row, mean in zip(rows, means[0], strict=True):
        inside = [r for r in rows if row["time"] - over <= r["time"] <= row["time"]]
        weights = [0.5 ** ((row["time"] - r["time"]) / half_life) for r in inside]
        formula = sum(w * r["x"] for w, r in zip(weights, inside, strict=True)) / sum(weights)
        size = sum(w * abs(r["x"]) for w, r in zip(weights, inside, strict=True)) / sum(weights)
        assert abs(mean - formula) <= 1e-12 * size


def test_what_is_thousands_of_half_lives_old_still_counts_alone() -> None:
    """As when all later values are null: no weight has vanished."""
    rows: Rows = [{"time": 0, "key": 0, "x": 3.0}, {"time": 1, "key": 0, "x": 5.0}]
    rows = [*rows, *({"time": 100_000 + i, "key": 0, "x": None} for i in range(3))]
    rows = [*rows, {"time": 200_000, "key": 0, "x": 7.0}]
    found, _ = by_engine(rows, ["key"], windows(1, 10**6), TYPES, itertools.repeat(2))
    assert found["mean"] == [3.0, *[13 / 3] * 4, 7.0]
