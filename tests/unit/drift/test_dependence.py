"""How two columns go together: what the tables see, what they must not see, and against whose numbers.

The adversary: a change that leaves each column as it was, texts and numbers; columns that moved and nothing
else; values that never came together; a profile or a savepoint of before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from sklearn.linear_model import PoissonRegressor

from tests.bench.together import KEY, Columns, copied, counted, linked, mixed, reference_of
from udfs.drift.dependence import judge_pairs
from udfs.drift.judge import SegmentVerdict, judge_window
from udfs.drift.params import JudgeSettings
from udfs.drift.records import JointReport
from udfs.profile.counts import WindowCounts
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.wire import decode_partial_profiles, encode_partial_profiles


def judged(reference: Reference, rows: Columns, window_ms: int = 0) -> JointReport:
    counts = counted(reference, rows).counts.pairs
    assert counts is not None
    found = judge_pairs(reference, counts, 0.01, window_ms)
    assert found is not None
    return found


def whole(reference: Reference, counts: WindowCounts) -> SegmentVerdict:
    return judge_window({KEY: reference}, {}, {KEY: counts}, {}, JudgeSettings())[KEY]


def test_tables_are_those_of_pandas() -> None:
    """Levels by pandas' own cut and crosstab, on the rows themselves."""
    random = np.random.default_rng(1)
    number = np.where(random.random(3_000) < 0.05, np.nan, random.normal(size=3_000))
    text = random.choice(["a", "b", "c"], 3_000, p=[0.5, 0.3, 0.2])
    reference = reference_of({"number": number, "text": text})
    assert reference.pairs is not None
    (cut, texts) = reference.pairs.columns
    assert cut.cuts == pytest.approx(np.nanquantile(number, [0.25, 0.5, 0.75]), abs=0.01)
    assert texts.levels == [0, 1, 2]
    levels = pd.cut(number, [-np.inf, *(cut.cuts or []), np.inf], labels=False)
    expected = pd.crosstab(pd.Series(levels).fillna(4), text).to_numpy()
    np.testing.assert_array_equal(reference.pairs.counts()[0][:, :3], expected)


@pytest.mark.parametrize("seed", range(3))
def test_the_p_is_that_of_a_log_linear_model_of_the_rows(seed: int) -> None:
    """By Poisson regression on the three-way table, with all terms but that of all three."""
    random = np.random.default_rng(seed)
    rows, later = (
        {name: values[:n] for name, values in linked(random, n, 0.3).items()} for n in (4_000, 900)
    )
    found = judged(reference_of(rows), later)
    table = pd.concat([pd.DataFrame(each).assign(t=i) for i, each in enumerate((rows, later))])
    cells = table.groupby(["a", "b", "t"]).size().unstack(fill_value=0).stack()
    flags = pd.get_dummies(cells.index.to_frame().astype(str), dtype=float, drop_first=True)
    sides = [[str(c) for c in flags if str(c).startswith(name)] for name in ("a_", "b_", "t_")]
    both = [(i, j) for one, other in combinations(sides, 2) for i in one for j in other]
    design = pd.concat([flags, *(flags[i] * flags[j] for i, j in both)], axis=1).to_numpy()
    model = PoissonRegressor(alpha=0, solver="newton-cholesky", max_iter=1_000, tol=1e-9)
    fitted = model.fit(design, cells).predict(design)
    statistic = float(((cells - fitted) ** 2 / fitted).sum())
    p = chi2.sf(statistic, (table.a.nunique() - 1) * (table.b.nunique() - 1))
    assert found.p == pytest.approx(p, rel=1e-4)


def test_texts_whose_dependence_changes_are_drift_though_neither_changes() -> None:
    random = np.random.default_rng(2)
    reference = reference_of(linked(random, 10_000, 0.0))
    later = linked(random, 2_000, 0.2)
    for name in later:
        (plain,) = [c for c in whole(reference, counted(reference, later).counts).columns if c.name == name]
        assert plain.verdict == "ok"
    found = whole(reference, counted(reference, later).counts)
    assert (found.verdict, found.drifted) == ("drift", ())
    assert found.joint is not None
    assert (found.joint.test, found.joint.verdict) == ("pairs", "drift")
    pair = found.joint.pairs[0]
    assert {pair.first, pair.second} == {"a", "b"}
    cell = dict(part.split(" ") for part in (pair.cell or "").split(", "))
    share = np.mean((later["a"] == cell["a"]) & (later["b"] == cell["b"]))
    assert pair.current == pytest.approx(share)
    assert pair.reference == pytest.approx(
        np.mean(later["a"] == cell["a"]) * np.mean(later["b"] == cell["b"]), abs=0.01
    )


def test_a_text_and_a_number_and_a_dependence_without_correlation() -> None:
    """The number spreads further for one value, with the same mean: no correlation sees it."""
    random = np.random.default_rng(3)

    def draw(n: int, wider: str) -> Columns:
        text = random.choice(["a", "b"], n)
        return {"text": text, "x": random.normal(size=n) * np.where(text == wider, 3.0, 1.0)}

    reference = reference_of(draw(10_000, "a"))
    assert judged(reference, draw(1_000, "a")).verdict == "ok"
    assert judged(reference, draw(1_000, "b")).verdict == "drift"


def test_columns_that_move_by_themselves_are_no_drift_of_their_dependence() -> None:
    """Rows of the same law, of which some values are made rarer: odds ratios stay."""
    found = []
    for seed in range(20):
        random = np.random.default_rng([seed, 4])
        reference, later = reference_of(linked(random, 10_000, 0.3)), linked(random, 8_000, 0.3)
        kept = random.random(8_000) < np.where(later["a"] == "a0", 0.3, 1.0) * np.where(
            later["b"] == "b1", 0.5, 1
        )
        found.append(judged(reference, {name: values[kept] for name, values in later.items()}).p)
    assert np.mean(np.array(found) <= 0.05) <= 0.2
    assert min(found) > 0.001


def test_values_that_never_came_together_and_now_do() -> None:
    """A copy of a column that is one no longer: there is no cell with rows enough to compare."""
    random = np.random.default_rng(5)
    reference = reference_of(copied(random, 5_000, 0.0))
    assert judged(reference, copied(random, 500, 0.0)).verdict == "ok"
    assert judged(reference, copied(random, 500, 0.1)).verdict == "drift"


def test_missing_values_may_go_together() -> None:
    random = np.random.default_rng(6)

    def draw(n: int, together: bool) -> Columns:
        gone = random.random(n) < 0.1
        other = gone if together else random.random(n) < 0.1
        return {
            name: np.where(lost, np.nan, random.normal(size=n)) for name, lost in (("x", gone), ("y", other))
        }

    reference = reference_of(draw(10_000, together=False))
    assert judged(reference, draw(1_000, together=False)).verdict == "ok"
    found = judged(reference, draw(1_000, together=True))
    assert (found.verdict, found.pairs[0].cell) == ("drift", "x missing, y missing")


ROWS = {
    "x": st.floats(allow_nan=True, width=32) | st.none(),
    "z": st.floats(allow_nan=True, width=32),
    "a": st.sampled_from(["a0", "a1", "new", None]),
    "b": st.sampled_from(["b0", "b4", None]),
    "rare": st.just(0.0),
}
PROFILE = encode_profile(reference_profile(pa.table(mixed(np.random.default_rng(7), 500))))
REFERENCE = parse_reference(PROFILE)


@settings(max_examples=25)
@given(st.lists(st.fixed_dictionaries(ROWS), min_size=1, max_size=30), st.integers(0, 30), st.randoms())
def test_any_split_in_any_order_gives_the_same_bytes(
    rows: list[Mapping[str, Any]], cut: int, random: Any
) -> None:
    def count(part: list[Mapping[str, Any]]) -> WindowCounts:
        columns: dict[str, Any] = {name: [row[name] for row in part] for name in ROWS}
        return counted(REFERENCE, columns).counts if part else WindowCounts()

    shuffled = random.sample(rows, len(rows))
    one, merged = count(rows), count(shuffled[cut:]).merged(count(shuffled[:cut]))
    assert one.pairs is not None
    assert merged.pairs is not None
    np.testing.assert_array_equal(one.pairs, merged.pairs)
    assert (one.pairs.sum(axis=(1, 2)) == len(rows)).all()
    found = judge_pairs(REFERENCE, one.pairs, 0.01, 0)
    assert found is not None
    assert np.isfinite([found.value, found.threshold, found.p]).all()


@pytest.mark.parametrize("rows", [1, 200, 70_000])
def test_counts_travel_whole(rows: int) -> None:
    part = counted(REFERENCE, mixed(np.random.default_rng(8), rows))
    (again,) = decode_partial_profiles(encode_partial_profiles([part]))
    assert again.counts.pairs is not None
    assert part.counts.pairs is not None
    assert again.counts.pairs.dtype == np.int64
    np.testing.assert_array_equal(again.counts.pairs, part.counts.pairs)


def test_a_column_that_the_job_does_not_watch_leaves_the_others() -> None:
    random = np.random.default_rng(9)
    reference = reference_of(mixed(random, 10_000))
    rows = {name: values for name, values in mixed(random, 2_000, 0.5).items() if name != "x"}
    found = judged(reference, rows)
    assert found.verdict == "drift"
    assert all("x" not in (pair.first, pair.second) for pair in found.pairs)
    assert judge_pairs(reference, np.zeros_like(reference.pairs.counts()), 0.01, 0) is None  # type: ignore[union-attr]


@pytest.mark.parametrize("n", [1, 29])
def test_few_rows_are_insufficient_data(n: int) -> None:
    found = judged(REFERENCE, mixed(np.random.default_rng(10), n))
    assert (found.verdict, found.p, found.n) == ("insufficient_data", 1.0, n)


def before(profile: dict[str, Any]) -> dict[str, Any]:
    """As it was before there were tables, and blocks of correlations."""
    joint = {name: value for name, value in profile["joint"].items() if name != "blocks"}
    return {name: value for name, value in profile.items() if name != "pairs"} | {"joint": joint}


def test_a_profile_of_before_has_the_test_of_before() -> None:
    """And one without numbers has none, as it had."""
    random = np.random.default_rng(11)
    profile = reference_profile(pa.table(mixed(random, 2_000)))
    old, new = (parse_reference(encode_profile(each)) for each in (before(profile), profile))
    rows = mixed(random, 1_000)
    assert counted(old, rows).counts.pairs is None
    verdict, with_pairs = (whole(each, counted(each, rows).counts) for each in (old, new))
    assert verdict.joint is not None
    assert with_pairs.joint is not None
    assert verdict.joint.test == "correlations"
    texts = {"a": rows["a"], "b": rows["b"]}
    plain = {**reference_profile(pa.table(texts)), "pairs": None}
    without = parse_reference(encode_profile(plain))
    assert whole(without, counted(without, texts).counts).joint is None


def test_a_savepoint_of_before_goes_on_in_the_middle_of_a_window() -> None:
    """What it had counted has no tables: they are of the rows since."""
    rows = mixed(np.random.default_rng(12), 1_000)
    old = parse_reference(encode_profile(before(json.loads(PROFILE))))
    data = msgspec.msgpack.decode(encode_partial_profiles([counted(old, rows)]))
    for _, _, _, _, counts in data[1]:
        assert counts.pop() is None
    (kept,) = decode_partial_profiles(msgspec.msgpack.encode(data))
    part = counted(REFERENCE, rows)
    for merged in (kept.counts.merged(part.counts), part.counts.merged(kept.counts)):
        assert merged.predicted == 2_000
        np.testing.assert_array_equal(merged.pairs, part.counts.pairs)  # type: ignore[arg-type]


WRONG: list[dict[str, Any]] = [
    {"columns": []},
    {"tables": [[1, 2]]},
    {"tables": [[-1] * 36] * 10},
    {"blocks": [[]]},
    {"columns": [{"name": name, "cuts": [1.0, 0.0]} for name in "abcde"]},
    {"columns": [{"name": name} for name in "abcde"]},
    {"columns": [{"name": "a", "levels": [0, 1, 2, 3, 4, 4]}, *({"name": n, "cuts": [0.0]} for n in "bcde")]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_parts_that_do_not_fit_are_errors(wrong: dict[str, Any]) -> None:
    profile = json.loads(PROFILE)
    profile["pairs"] |= wrong
    with pytest.raises(Exception, match="reference profile must be"):
        parse_reference(encode_profile(profile))
