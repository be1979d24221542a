"""Where level or power of the tests once broke: each on a stream of its own, without and with a change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from tests.bench.promises import (
    MINUTE,
    Draw,
    Values,
    autoregressive,
    drifted,
    flag,
    ids,
    is_drift,
    judged,
    known,
    missing,
    normal,
    spike,
    wide_tail,
    zipf,
)
from udfs.alerts.records import WindowSpan
from udfs.drift.alert_rules import DEFAULT_RULES
from udfs.drift.findings import find
from udfs.drift.judge import SegmentVerdict
from udfs.drift.params import JudgeSettings
from udfs.drift.records import DriftRecord, Volume
from udfs.drift.sequential import RankStep, SequentialSettings, SequentialState, advance
from udfs.profile.params import CollectParams
from udfs.profile.reference import Reference
from udfs.profile.steps import StepCounter, ranks

RUNS = [15, pytest.param(400, marks=pytest.mark.long)]


def limit(runs: int) -> int:
    """More false windows than this have a probability of a thousandth, at most, at a level of 1%."""
    return int(binom.ppf(0.999, runs, 0.01))


@pytest.mark.parametrize("draw", [normal, zipf(300), flag(0.001), missing(0.01), autoregressive(0.9)])
def test_what_is_counted_here_are_verdicts(draw: Draw) -> None:
    for run in range(4):
        random = np.random.default_rng([run, 14])
        reference, values = known(draw(random, 2_000), timed=True), draw(random, 500)
        span = 500 * MINUTE
        for each in (values, np.roll(draw(random, 500), 1), values[:250].repeat(2)):
            verdict = judged(reference, each, window_ms=span).verdict
            assert is_drift(reference, each, span) == (verdict == "drift")


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize(
    ("draw", "rows"),
    [(zipf(300), 300), (zipf(300), 1_000), (zipf(1_000), 5_000), (zipf(2_000), 1_000), (ids, 1_000)],
    ids=["300 of 300", "300 of 1,000", "1,000 of 5,000", "2,000 of 1,000", "ids"],
)
def test_a_tail_is_no_drift(draw: Draw, rows: int, runs: int) -> None:
    """Of these windows all were drift, as each had values that the reference happened not to have."""
    for n in (200, 5_000):
        assert drifted(draw, draw, n, runs, rows) <= limit(runs)


def test_a_tail_that_grows_is_drift() -> None:
    def grown(random: np.random.Generator, n: int) -> Values:
        return np.where(random.random(n) < 0.15, ids(random, n), zipf(300)(random, n))

    assert drifted(zipf(300), grown, 2_000, 20, 1_000) >= 19


def record(found: SegmentVerdict) -> DriftRecord:
    return DriftRecord(
        job="j",
        model="m",
        version=1,
        window=WindowSpan("2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z", "watermark"),
        segment=None,
        records=Volume(1_000),
        problems=(),
        freshness_ms=None,
        level=0.01,
        verdict=found.verdict,
        drifted=found.drifted,
        columns=found.columns,
        joint=None,
    )


def test_the_rule_of_unseen_values_knows_how_many_to_expect() -> None:
    """A quarter of the rows of each window is new. It was an alert for ever."""
    rules = [rule for rule in DEFAULT_RULES if rule.on == "unseen"]
    random = np.random.default_rng(8)
    reference = known(zipf(2_000)(random, 1_000))
    usual = judged(reference, zipf(2_000)(random, 2_000))
    more = judged(reference, np.where(random.random(2_000) < 0.1, "new shop", zipf(2_000)(random, 2_000)))
    (quiet,), (loud,) = (list(find(rules, [record(each)], {}, {})) for each in (usual, more))
    (column,) = usual.columns
    assert column.unseen / column.n > 0.1
    assert column.reference_unseen == pytest.approx(column.unseen / column.n, abs=0.05)
    assert (quiet.bad, loud.bad) == (False, True)
    assert "expected" in loud.message


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("draw", [normal, flag(0.001), missing(0.01)], ids=["normal", "flag", "missing"])
@pytest.mark.parametrize("n", [500, 20_000])
def test_rare_events_that_stay_are_no_drift(draw: Draw, n: int, runs: int) -> None:
    assert drifted(draw, draw, n, runs) <= limit(runs)


@pytest.mark.parametrize(
    ("before", "after", "n"),
    [
        (normal, wide_tail, 5_000),
        (normal, spike, 5_000),
        (flag(0.001), flag(0.005), 10_000),
        (missing(0.01), missing(0.02), 20_000),
    ],
    ids=["5% spread three times as far", "1% at six deviations", "flag .1% to .5%", "missing 1% to 2%"],
)
def test_rare_events_that_multiply_are_drift(before: Draw, after: Draw, n: int) -> None:
    """Each moves less than 2% of the rows: no number of rows made it visible."""
    assert drifted(before, after, n, 20) >= 18


def test_what_is_tiny_stays_ok_however_many_rows_there_are() -> None:
    """A mean that moved by a hundredth of a deviation is sure with a million rows, and does not matter."""
    random = np.random.default_rng(3)
    reference = known(random.normal(size=500_000))
    found = judged(reference, random.normal(0.02, 1, 1_000_000))
    assert found.columns[0].p < 1e-6
    assert found.verdict == "ok"


def test_a_rare_event_is_told_by_its_name_and_may_be_left_alone() -> None:
    random = np.random.default_rng(4)
    reference = known(flag(0.001)(random, 10_000))
    values = flag(0.006)(random, 10_000)
    (column,) = judged(reference, values).columns
    assert column.verdict == "drift"
    assert column.effect < column.min_effect
    assert column.ratio > 3
    assert column.direction.startswith("values of 1 rose from 0.")
    assert judged(reference, values, JudgeSettings(min_ratio=None)).verdict == "ok"


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("phi", [0.5, 0.9, 0.98])
def test_neighbours_in_time_that_are_alike_are_no_drift(phi: float, runs: int) -> None:
    """Of windows of 200 rows half were drift with .9, and nearly all with .98."""
    draw, false = autoregressive(phi), 0
    for run in range(runs):
        random = np.random.default_rng([run, 5])
        reference = known(draw(random, 10_000), timed=True)
        false += is_drift(reference, draw(random, 500), 500 * MINUTE)
    assert false <= limit(runs)


def test_the_record_says_as_how_many_rows_a_window_counts() -> None:
    """Of rows with correlations phi, phi², … (1 - phi) / (1 + phi) count: one of 19."""
    random = np.random.default_rng(6)
    counted = []
    for _ in range(10):
        reference = known(autoregressive(0.9)(random, 20_000), timed=True)
        (column,) = judged(reference, autoregressive(0.9)(random, 1_000), window_ms=1_000 * MINUTE).columns
        assert column.n_effective is not None
        counted.append(column.n_effective)
    assert 1_000 / 19 * 0.6 < np.median(counted) < 1_000 / 19 * 1.7
    plain = known(normal(random, 10_000), timed=True)
    (column,) = judged(plain, normal(random, 1_000), window_ms=1_000 * MINUTE).columns
    assert column.n_effective == pytest.approx(1_000, rel=0.3)


def test_a_shift_of_what_is_alike_is_found_all_the_same() -> None:
    draw, found = autoregressive(0.9), 0
    for run in range(20):
        random = np.random.default_rng([run, 7])
        reference = known(draw(random, 20_000), timed=True)
        moved = np.asarray(draw(random, 2_000), dtype=np.float64) + 1
        found += is_drift(reference, moved, 2_000 * MINUTE)
    assert found >= 18


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e9, 1e12, 1e15])
def test_an_offset_changes_neither_spread_nor_distance(offset: float) -> None:
    """Account numbers and timestamps: a standard deviation of 1.032 was told for .994, or none at all."""
    random = np.random.default_rng(9)
    values, later = random.normal(size=10_000) * 100, random.normal(50, 100, 2_000)
    (column,) = judged(known(values + offset), later + offset).columns
    (plain,) = judged(known(values), later).columns
    seen = later + offset - offset
    assert column.std == pytest.approx(seen.std(), rel=1e-5)
    assert column.mean == pytest.approx(offset + seen.mean(), abs=1e-4 + np.spacing(abs(offset)))
    distance, expected = column.statistics["wasserstein"], plain.statistics["wasserstein"]
    assert distance.value == pytest.approx(expected.value, abs=0.02)
    assert distance.upper is not None
    ordered = np.quantile(values + offset - offset, (np.arange(2_000) + 0.5) / 2_000)
    exact = np.abs(np.sort(seen) - ordered).mean() / (values + offset - offset).std()
    assert distance.value - 0.005 <= exact <= distance.upper + 0.005


def test_quantiles_of_tied_columns_are_values_of_the_column() -> None:
    """A quarter of a flag that is set in a fifth of the rows is 0, and not .31."""
    random = np.random.default_rng(10)
    for values in (flag(0.2)(random, 5_000), random.poisson(3, 5_000).astype(np.float64)):
        (column,) = judged(known(values), values).columns
        expected = np.quantile(
            values.astype(np.float64), [0.05, 0.25, 0.5, 0.75, 0.95], method="inverted_cdf"
        )
        assert list(column.quantiles.values()) == expected.tolist()
        assert list(column.reference_quantiles.values()) == expected.tolist()


def test_no_share_is_told_in_quadrillionths() -> None:
    random = np.random.default_rng(11)
    reference = known(random.normal(size=10_000))
    (column,) = judged(reference, random.normal(-9, 0.01, 1_000)).columns
    assert "e-" not in column.direction


def steps_to_a_signal(random: np.random.Generator, phi: float, n: int, settings: SequentialSettings) -> int:
    """Of a stream without change, a row a minute, in steps of n rows; at most 400."""
    draw = autoregressive(phi)
    reference = known(draw(random, 10_000), timed=True).columns["x"]
    ranked, values = ranks(reference, n * MINUTE), pa.array(draw(random, 400 * n))
    counter = StepCounter(
        CollectParams(1, (("x", "x"),), step_ms=n * MINUTE, step_columns=("x",)),
        Reference(10_000, {"x": reference}, {}, None),
        1,
    )
    state = SequentialState()
    for part in counter.count({"x": values}, np.arange(400 * n) * MINUTE):
        step = RankStep(part.start, part.start + n * MINUTE, *part.sums["x"])
        state, _ = advance(state, settings, ranked, step)
        if state.open:
            return part.start // (n * MINUTE) + 1
    return 400


@pytest.mark.parametrize("runs", [12, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("phi", [0.5, 0.9])
def test_steps_that_are_alike_signal_no_sooner_than_was_set(phi: float, runs: int) -> None:
    """Set to 100 steps, it took two or three with .9."""
    settings = SequentialSettings(100)
    taken = [steps_to_a_signal(np.random.default_rng([run, 12]), phi, 60, settings) for run in range(runs)]
    assert np.mean(taken) > 80


@pytest.mark.parametrize("runs", [10, pytest.param(20, marks=pytest.mark.long)])
def test_with_a_least_effect_false_signals_are_rarer_and_never_more_frequent(runs: int) -> None:
    """A signal must also be large: what is set is the least mean time to a false one."""
    taken: dict[float, list[int]] = {}
    for least in (0.0, 0.02):
        settings = SequentialSettings(100, min_effect=least)
        taken[least] = [
            steps_to_a_signal(np.random.default_rng([run, 13]), 0.0, 100, settings) for run in range(runs)
        ]
    assert np.mean(taken[0.0]) > 70
    assert all(later >= sooner for later, sooner in zip(taken[0.02], taken[0.0], strict=True))
