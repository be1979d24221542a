"""References of segments and of hours of the week: parts of the reference rows, on the bins of all."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from udfs.drift.judge import WindowKey, judge_window
from udfs.drift.monitor import merge
from udfs.drift.params import JudgeSettings
from udfs.errors import ModelError
from udfs.profile.collect import OTHER, Collector
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.references import HOUR_MS, ReferenceParts

WEEK = 168 * HOUR_MS
CENTRES = {"A": 0.0, "B": 3.0, "C": -2.0}
SEGMENT = SegmentParams("town", ("A", "B"))


def rows(n: int, seed: int, *, by: str = "town") -> tuple[pa.Table, np.ndarray]:  # type: ignore[type-arg]
    """`size` has another centre in each town, and `load` one in each hour of the week."""
    random = np.random.default_rng(seed)
    towns = random.choice(list(CENTRES), n, p=[0.5, 0.4, 0.1])
    times = random.integers(0, WEEK, n)
    centres = np.array([CENTRES[town] for town in towns])
    size = random.normal(centres)
    size[random.random(n) < 0.05] = np.nan
    load = random.normal(times // HOUR_MS % 24 / 4)
    table = pa.table({"size": pa.array(size, from_pandas=True), "load": load, "town": towns})
    return table, times


@cache
def profile(n: int = 20_000) -> dict[str, Any]:
    table, times = rows(n, 1)
    moments = pa.chunked_array([pa.array(times, pa.timestamp("ms", tz="UTC"))])
    return reference_profile(table, segments=["town"], event_time=moments)


@cache
def reference(n: int = 20_000) -> Reference:
    return parse_reference(encode_profile(profile(n)))


def verdicts(
    n: int, start: int, *, own: bool, seasonal: bool = False, seed: int = 2
) -> dict[WindowKey, set[str]]:
    """The columns that drift in a window of six hours."""
    known = reference()
    table, _ = rows(n, seed)
    random = np.random.default_rng(seed)
    times = start + random.integers(0, 6 * HOUR_MS, n)
    load = random.normal(times // HOUR_MS % 24 / 4)
    columns = {name: table[name].combine_chunks() for name in ("size", "town")} | {"load": pa.array(load)}
    params = CollectParams(WEEK, tuple((name, name) for name in table.column_names), (SEGMENT,))
    windows = merge(Collector(params, known, 1).collect(columns, times))
    parts = ReferenceParts(known, (SEGMENT,) if own else ())
    picked = {
        key: parts.pick(key[0], key[1], start, start + 6 * HOUR_MS, seasonal=seasonal)[0] for key in windows
    }
    judged = judge_window(picked, {}, windows, {}, JudgeSettings())
    return {key: set(each.drifted) for key, each in judged.items()}


def test_a_segment_is_compared_with_its_own_rows() -> None:
    start = 30 * WEEK
    told = verdicts(2_000, start, own=False)
    assert all("size" in told["town", value, 1] for value in ("A", "B", OTHER))
    told = verdicts(2_000, start, own=True)
    assert not any("size" in columns for columns in told.values())
    assert all("load" in columns for columns in told.values())  # six hours are not like a week


def test_hours_of_the_week_are_compared_with_the_same_hours() -> None:
    for start in (30 * WEEK, 30 * WEEK + 162 * HOUR_MS):
        assert "load" in verdicts(2_000, start, own=False)[None, None, 1]
        assert not verdicts(2_000, start, own=False, seasonal=True)[None, None, 1]


def test_parts_add_up_to_the_whole() -> None:
    known = reference()
    parts = ReferenceParts(known, (SEGMENT,))
    a, b, other = (parts.pick("town", value, 0, 1, seasonal=False)[0] for value in ("A", "B", OTHER))
    assert a.rows + b.rows + other.rows == known.rows
    for name, whole in known.counts().items():
        assert a.counts()[name].merged(b.counts()[name]).merged(other.counts()[name]).counts.tolist() == (  # type: ignore[arg-type]
            whole.counts.tolist()
        )
    week = parts.pick(None, None, 0, WEEK - 1, seasonal=True)
    assert week == (known, "all")
    day, name = parts.pick(None, None, 0, 24 * HOUR_MS, seasonal=True)
    assert (name, day.joint) == ("hour_of_week", None)
    assert day.rows == pytest.approx(known.rows / 7, rel=0.1)


def test_what_has_too_few_rows_is_compared_with_all() -> None:
    known = reference(1_500)
    parts = ReferenceParts(known, (SEGMENT,))
    assert parts.pick("town", "A", 0, HOUR_MS, seasonal=True)[1] == "segment"
    assert parts.pick("town", OTHER, 0, HOUR_MS, seasonal=True) == (known, "all")
    assert parts.pick(None, None, 0, HOUR_MS, seasonal=True) == (known, "all")
    assert parts.pick(None, None, 0, 96 * HOUR_MS, seasonal=False) == (known, "all")


def test_a_profile_without_parts_has_none() -> None:
    table, _ = rows(1_000, 1)
    plain = reference_profile(table)
    assert "segments" not in plain
    assert not ReferenceParts(parse_reference(encode_profile(plain)), (SEGMENT,)).seasonal


@pytest.mark.parametrize(
    "change",
    [{"hour_of_week": {"0": {"rows": 3, "columns": {}}}}, {"segments": [1]}, {"hour_of_week": {"0": 1}}],
)
def test_broken_parts_are_errors(change: dict[str, Any]) -> None:
    data = json.dumps(profile(1_000) | change).encode()
    with pytest.raises(ModelError, match="parts of a reference profile"):
        ReferenceParts(parse_reference(data), ())
