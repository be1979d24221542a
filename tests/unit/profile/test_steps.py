"""Ranks of values on steps of event time: the same sums however the rows are split."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from udfs.profile.params import CollectParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.steps import UNIT, StepCounter, merged_steps, ranks

STEP = 1_000
PARAMS = CollectParams(60_000, (), step_ms=STEP, step_columns=("amount", "country", "score"))


def reference() -> Reference:
    random = np.random.default_rng(1)
    inputs = pa.table(
        {
            "amount": random.normal(size=5_000),
            "country": random.choice(["DE", "FR", "IT"], 5_000, p=[0.6, 0.3, 0.1]),
        }
    )
    scores = pa.table({"score": random.random(5_000)})
    return parse_reference(encode_profile(reference_profile(inputs, scores)))


def rows(n: int, seed: int) -> tuple[dict[str, pa.Array], np.ndarray]:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    amount = random.normal(size=n)
    amount[::50], amount[1::50], amount[2::50] = np.nan, np.inf, 1e300
    country = random.choice(np.array(["DE", "FR", "IT", "XX", None], dtype=object), n)
    columns = {
        "amount": pa.array(amount, from_pandas=True),
        "country": pa.array(country.tolist(), pa.string()),
        "score": pa.array(random.random(n)),
    }
    return columns, random.integers(0, 10 * STEP, n)


def test_sums_do_not_depend_on_the_batches() -> None:
    columns, times = rows(1_000, 2)
    counter = StepCounter(PARAMS, reference(), 3)
    whole = {part.start: part.sums for part in counter.count(columns, times)}
    parts = []
    for start in range(0, 1_000, 7):
        batch = {name: column.slice(start, 7) for name, column in columns.items()}
        parts += counter.count(batch, times[start : start + 7])
    for start, sums in whole.items():
        merged = merged_steps([part for part in parts if part.start == start])
        assert merged == {(3, name): pair for name, pair in sums.items()}


def test_ranks_are_the_share_of_the_reference_below() -> None:
    known = reference()
    amount = ranks(known.columns["amount"])
    assert (amount.of_cell[0], amount.of_cell[-1]) == (0, UNIT)
    assert amount.total / amount.rows == pytest.approx(UNIT / 2, rel=1e-4)
    assert amount.deviation == pytest.approx(UNIT / 12**0.5, rel=1e-2)
    country = ranks(known.columns["country"])
    assert not country.numeric
    assert country.of_cell[:3] / UNIT == pytest.approx([0.3, 0.75, 0.95], abs=0.02)
    assert country.of_cell[-1] == UNIT


def test_only_values_count() -> None:
    columns, times = rows(1_000, 3)
    sums = merged_steps(StepCounter(PARAMS, reference(), 1).count(columns, times))
    assert sums[1, "amount"][0] == 1_000 - 40
    assert sums[1, "country"][0] == 1_000 - columns["country"].null_count
    assert sums[1, "score"][0] == 1_000


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, -3.0, 7.0])
def test_a_value_has_the_rank_of_the_bin_that_counts_it(value: float) -> None:
    """At edges, within bins and beyond them the same as `udfs.profile.collect`."""
    from udfs.profile.collect import Collector

    known = reference()
    params = CollectParams(STEP, (), step_ms=STEP, step_columns=("score",))
    columns, times = {"score": pa.array([value])}, np.array([5])
    (part,) = Collector(params, known, 1).collect(columns, times)
    cell = int(np.flatnonzero(part.counts.columns["score"].counts)[0])
    (step,) = StepCounter(params, known, 1).count(columns, times)
    assert step.sums["score"] == (1, int(ranks(known.outputs["score"]).of_cell[cell]))
