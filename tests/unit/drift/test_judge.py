"""What a window is judged: drift that is there, none that is not, and nothing that is no number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from tests.bench.streams import KEY, collector_of, counts_of, reference_of
from udfs.drift.judge import SegmentVerdict, WindowKey, judge_window
from udfs.drift.params import JudgeSettings
from udfs.drift.records import ColumnReport
from udfs.profile.collect import Collector
from udfs.profile.counts import CategoricalCounts, WindowCounts
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference

Table = Mapping[str, Any]
N = 2_000


def reference(table: Table) -> Reference:
    return parse_reference(encode_profile(reference_profile(pa.table(dict(table)))))


def window(
    known: Reference, table: Table, segments: tuple[SegmentParams, ...] = ()
) -> dict[WindowKey, WindowCounts]:
    arrays = {name: pa.array(values) for name, values in table.items()}
    params = CollectParams(1_000, tuple((name, name) for name in known.columns), segments)
    rows = len(next(iter(arrays.values())))
    parts = Collector(params, known, 1).collect(arrays, np.ones(rows, dtype=np.int64))
    return {(part.column, part.value, part.version): part.counts for part in parts}


def judge(
    known: Reference, windows: Mapping[WindowKey, WindowCounts], **settings: Any
) -> dict[WindowKey, SegmentVerdict]:
    judged = judge_window(dict.fromkeys(windows, known), {}, windows, {}, JudgeSettings(**settings))
    for each in judged.values():
        _check_finite(msgspec.to_builtins((each.columns, each.joint)))
    return judged


def only(known: Reference, table: Table, **settings: Any) -> ColumnReport:
    (report,) = judge(known, window(known, table), **settings)[KEY].columns
    return report


def _check_finite(value: Any) -> None:
    if isinstance(value, float):
        assert np.isfinite(value)
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        _check_finite(part)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


def test_a_shift_is_found_and_named(random: np.random.Generator) -> None:
    known = reference({"delay": random.normal(size=10_000), "other": random.normal(size=10_000)})
    judged = judge(
        known, window(known, {"delay": random.normal(0.7, size=N), "other": random.normal(size=N)})
    )
    assert (judged[KEY].verdict, judged[KEY].drifted) == ("drift", ("delay",))
    moved, quiet = judged[KEY].columns
    assert moved.direction.startswith("delay moved up; 2")
    assert moved.direction.endswith("of rows now above the reference's 90th percentile")
    assert 0.2 < moved.effect < 0.35
    assert (quiet.verdict, quiet.direction) == ("ok", "no change that matters")
    for report in (moved, quiet):
        assert len(report.bins.labels) == 12
        assert sum(report.bins.current) == pytest.approx(1)
        assert sum(report.bins.reference) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x - 0.7, "x moved down; "),
        (lambda x: 2 * x, "x spread out; "),
        (lambda x: x / 2, "x narrowed; "),
        (lambda x: [None if i % 8 == 0 else v for i, v in enumerate(x)], "nulls rose from 0% to 12%"),
        (
            lambda x: np.where(np.arange(len(x)) % 4 == 0, np.inf, x),
            "invalid values (NaN or infinite) rose",
        ),
    ],
)
def test_changes_are_put_in_words(random: np.random.Generator, change: Any, sentence: str) -> None:
    known = reference({"x": random.normal(size=10_000)})
    report = only(known, {"x": change(random.normal(size=N))})
    assert report.verdict == "drift"
    assert report.direction.startswith(sentence)


def test_categories_are_put_in_words(random: np.random.Generator) -> None:
    known = reference({"x": ["AA"] * 880 + ["UA"] * 120})
    assert only(known, {"x": ["AA"] * 810 + ["UA"] * 190}).direction in (
        "UA rose from 12% to 19%",
        "AA fell from 88% to 81%",
    )


def test_unseen_values_are_named() -> None:
    known = reference({"x": ["AA"] * 900 + ["UA"] * 100})
    counts = WindowCounts(500, columns={"x": CategoricalCounts(np.array([400, 50]), 0, 50, 0, ("ZZ",))})
    (report,) = judge(known, {KEY: counts})[KEY].columns
    assert report.direction == "10% of rows now have values that the reference lacks, such as ZZ"
    assert (report.verdict, report.unseen, report.unseen_examples) == ("drift", 50, ("ZZ",))
    assert report.effect == pytest.approx(0.1)


def test_sure_but_small_is_no_drift(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=50_000)})
    values = {"x": random.normal(0.08, size=50_000)}
    assert only(known, values).verdict == "drift"
    assert only(known, values, min_effect=0.1).verdict == "ok"


def test_few_rows_are_insufficient_unless_they_are_clear(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=10_000)})
    report = only(known, {"x": random.normal(size=20)})
    assert (report.verdict, report.direction) == ("insufficient_data", "too few rows to tell")
    assert 0.3 < report.visible_effect < 0.41
    assert only(known, {"x": random.normal(5, size=20)}).verdict == "drift"


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ([1.0, 2.0, 3.0] * 50, [None] * 50, "drift"),
        ([None] * 150, [None] * 150, "ok"),
        ([None] * 150, [1.0] * 150, "drift"),
        ([5.0] * 150, [5.0] * 150, "ok"),
        ([5.0] * 150, [6.0] * 150, "drift"),
        ([1.0, 2.0, 3.0] * 50, [float("inf"), float("nan")] * 50, "drift"),
        ([1.0, 2.0, 3.0] * 50, [1.7e308, -1.7e308] * 50, "drift"),
        ([1.0, 2.0, 3.0] * 50, [2.0], "insufficient_data"),
        ([2.0], [1.0, 2.0, 3.0] * 50, "insufficient_data"),
        ([5e-324, 0.0] * 80, [5e-324, 0.0] * 80, "ok"),
        (["a", "b"] * 80, ["a", "b"] * 80, "ok"),
        (["a"] * 150, ["a"] * 150, "ok"),
        (["a", "b"] * 80, ["a"], "insufficient_data"),
        (["a", "b"] * 80, ["c"] * 80, "drift"),
        (["a", None] * 80, [None] * 80, "drift"),
    ],
)
def test_bad_cases_have_a_clear_verdict(before: list[Any], now: list[Any], verdict: str) -> None:
    kind = pa.string() if isinstance(before[0], str) else pa.float64()
    known = reference({"x": pa.array(before, kind)})
    assert only(known, {"x": pa.array(now, kind)}).verdict == verdict


@pytest.mark.filterwarnings("ignore:overflow encountered")  # the reference spans more than a float holds
def test_few_numbers_are_told_apart_like_categories() -> None:
    """Also the largest two: flags of zeros and ones."""
    known = reference({"x": [0.0, 1.0] * 500})
    report = only(known, {"x": [0.0] * 100 + [1.0] * 900})
    assert report.verdict == "drift"
    assert report.effect == pytest.approx(0.4)
    assert report.bins.labels == ("below 0", "0 to 1", "1", "above 1")
    assert report.bins.current == (0.0, 0.1, 0.9, 0.0)
    found = report.statistics["wasserstein"]
    assert (found.value, found.upper) == (pytest.approx(0.8), pytest.approx(0.8))
    assert report.above == 0
    assert only(known, {"x": [0.0, 1.0] * 400}).verdict == "ok"
    wild = reference({"x": [1.7e308, -1.7e308] * 500})
    assert only(wild, {"x": [1.7e308] * 900 + [-1.7e308] * 100}).verdict == "drift"


def test_a_category_with_a_value_for_each_row_has_a_bounded_report() -> None:
    """Also where the reference is so small beside the window that no cell of its own is left."""
    names = pa.array(np.char.add("user_", np.arange(100_000).astype("U6")))
    known = reference({"user": names})
    report = only(known, {"user": names})
    assert (report.verdict, report.n, report.other, report.unseen) == ("ok", 100_000, 99_900, 0)
    assert len(known.columns["user"].counts) == 100
    assert len(report.bins.labels) == 12
    report = only(reference({"user": ["a", "b"] * 500}), {"user": names})
    assert (report.verdict, report.effect, report.unseen) == ("drift", 1, 100_000)
    assert report.direction.startswith(
        "100% of rows now have values that the reference lacks, such as user_0"
    )
    assert len(report.unseen_examples) == 5


@pytest.mark.parametrize(("fresh", "verdict"), [(0, "ok"), (1, "ok"), (50, "drift")])
def test_a_window_far_larger_than_its_reference(fresh: int, verdict: str) -> None:
    """Per thousand of the window's rows, `fresh` have the value that one reference row has."""
    known = reference({"x": ["a"] * 999 + ["b"]})
    assert only(known, {"x": (["a"] * (1_000 - fresh) + ["b"] * fresh) * 1_000}).verdict == verdict


@pytest.mark.filterwarnings("ignore:overflow encountered")  # the reference spans more than a float holds
def test_values_at_the_limit_of_floats_are_judged() -> None:
    known = reference({"x": [1.7e308, -1.7e308] * 50})
    (report,) = judge(known, {KEY: WindowCounts(100, columns=known.counts())})[KEY].columns
    assert (report.verdict, report.effect) == ("insufficient_data", 0)


def test_empty_windows_are_insufficient(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=100), "c": ["a", "b"] * 50})
    empty = {
        name: column.as_counts()
        for name, column in reference({"x": pa.array([], pa.float64())}).columns.items()
    }
    judged = judge(known, {KEY: WindowCounts()})[KEY]
    assert (judged.verdict, judged.columns, judged.joint) == ("insufficient_data", (), None)
    known = reference({"x": pa.array([], pa.float64())})
    (report,) = judge(known, {KEY: WindowCounts(0, columns=empty)})[KEY].columns
    assert (report.verdict, report.n, report.visible_effect, report.statistics) == (
        "insufficient_data",
        0,
        1,
        {},
    )


def test_what_the_reference_lacks_is_left_out(random: np.random.Generator) -> None:
    both = {"x": random.normal(size=500), "y": random.normal(size=500)}
    counted = window(reference(both), both)
    judged = judge_window({KEY: reference({"x": both["x"]})}, {"x": "feature"}, counted, {}, JudgeSettings())
    assert [(report.name, report.role) for report in judged[KEY].columns] == [("x", "feature")]
    assert judge_window({}, {}, counted, {}, JudgeSettings())[KEY].verdict == "insufficient_data"


def test_a_fixed_threshold_alone_decides(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=10_000)})
    same, moved = {"x": random.normal(size=N)}, {"x": random.normal(1, size=N)}
    report = only(known, same, thresholds={"x": {"ks": 0.001}})
    assert report.verdict == "drift"
    assert report.statistics["ks"].fixed
    assert report.statistics["ks"].threshold == 0.001
    assert not report.statistics["psi"].fixed
    assert only(known, moved, thresholds={"x": {"ks": 0.9}}).verdict == "ok"


def test_the_previous_window_has_its_own_comparison(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=10_000)})
    first, second = (window(known, {"x": random.normal(1, size=N)}) for _ in range(2))
    judged = judge_window({KEY: known}, {}, second, first, JudgeSettings())[KEY].columns[0]
    assert judged.verdict == "drift"
    assert judged.previous is not None
    assert (judged.previous.verdict, judged.previous.n) == ("ok", N)
    third = window(known, {"x": random.normal(size=N)})
    back = judge_window({KEY: known}, {}, third, first, JudgeSettings())
    previous = back[KEY].columns[0].previous
    assert previous is not None
    assert previous.verdict == "drift"


def test_a_segment_is_judged_without_its_own_column(random: np.random.Generator) -> None:
    table = {"x": random.normal(size=N), "origin": random.choice(["EWR", "JFK"], N)}
    known = reference(table)
    judged = judge(known, window(known, table, (SegmentParams("origin", ("EWR", "JFK")),)))
    assert {key[1]: [report.name for report in each.columns] for key, each in judged.items()} == {
        None: ["origin", "x"],
        "EWR": ["x"],
        "JFK": ["x"],
    }
    assert {each.verdict for each in judged.values()} == {"ok"}


def test_the_same_counts_give_the_same_bytes(random: np.random.Generator) -> None:
    known = reference({"x": random.normal(size=1_000), "c": random.choice(list("abc"), 1_000)})
    counted = window(known, {"x": random.normal(size=300), "c": random.choice(list("abc"), 300)})
    first, second = (msgspec.json.encode(judge(known, counted)[KEY].columns) for _ in range(2))
    assert first == second


def test_power_of_a_shift_by_half_a_deviation(random: np.random.Generator) -> None:
    columns = [random.normal(size=10_000) for _ in range(10)]
    known = reference_of(columns)
    collector = collector_of(known)
    found = 0
    for _ in range(12):
        moved = [random.normal(0.5 * (i == 0), size=500) for i in range(10)]
        found += judge(known, {KEY: counts_of(collector, moved)})[KEY].drifted == ("column_0",)
    assert found >= 10


def test_a_column_that_always_moves_a_little_may_have_a_least_effect_of_its_own() -> None:
    """A ramp moves by a tenth of the rows each week, and another column must not."""
    draw = np.random.default_rng(23)
    known = reference({"ramp": draw.normal(size=5_000), "x": draw.normal(size=5_000)})
    now = window(known, {"ramp": draw.normal(0.25, 1, N), "x": draw.normal(0.25, 1, N)})
    usual = judge(known, now)[KEY]
    assert set(usual.drifted) == {"ramp", "x"}
    asked = judge(known, now, min_effects={"ramp": 0.3})[KEY]
    assert asked.drifted == ("x",)
    reports = {column.name: column for column in asked.columns}
    assert (reports["ramp"].min_effect, reports["ramp"].min_ratio) == (0.3, None)
    assert (reports["x"].min_effect, reports["x"].min_ratio) == (0.02, 1.5)
    far = window(known, {"ramp": draw.normal(2, 1, N), "x": draw.normal(size=N)})
    assert judge(known, far, min_effects={"ramp": 0.3})[KEY].drifted == ("ramp",)
