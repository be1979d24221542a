"""Keys whose records are alike: a few of them prove little, however many records each has."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from tests.bench.gate import Plan, World, follow
from tests.helpers.following import NOW, add, batch, report, scorer
from udfs.alerts.records import WindowSpan
from udfs.releases.route import BUCKETS
from udfs.rollout.chance import errors_p, score_drift
from udfs.rollout.clusters import Stratum, clustered, design_effect, merged_clusters
from udfs.rollout.compare import compare_window
from udfs.rollout.gate import Evidence, Gate, judge_gate
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.losses import FINE, RecordLoss, ScoredRow, quality_of
from udfs.rollout.sequential import LEAST_FREEDOM, _as_normal, log_evidence
from udfs.rollout.version_metrics import VersionCounts

Floats = NDArray[np.float64]
Clusters = dict[int, tuple[int, int]]
SPAN = WindowSpan("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z")


def keyed(losses: Floats, keys: NDArray[np.int64]) -> Clusters:
    groups = {int(key): losses[keys == key] for key in np.unique(keys)}
    return {key: (len(group), round(group.sum() * FINE)) for key, group in groups.items()}


def told(losses: Floats, keys: NDArray[np.int64]) -> LabelSums:
    rows = [
        RecordLoss("binary", round(loss * FINE), 0, True, False, 0, key)
        for loss, key in zip(losses.tolist(), keys.tolist(), strict=True)
    ]
    return LabelSums({(0, 2, "canary", 1): quality_of(rows)})


def sandwich(losses: Floats, treated: Floats, keys: NDArray[np.int64]) -> Floats:
    """Least squares of the loss on the side, with the variances of Liang and Zeger."""
    design = np.stack([np.ones(len(losses)), treated], axis=1)
    bread = np.linalg.inv(design.T @ design)
    residuals = losses - design @ (bread @ design.T @ losses)
    scores = np.stack([(design * residuals[:, None])[keys == key].sum(axis=0) for key in np.unique(keys)])
    count = len(scores)
    found: Floats = count / (count - 1) * bread @ scores.T @ scores @ bread
    return found


def test_variances_are_those_of_a_regression_by_clusters() -> None:
    draw = np.random.default_rng(4)
    keys = draw.integers(0, 60, 3_000)
    losses = draw.gamma(1.0, 0.3, 3_000) + draw.gamma(1.0, 0.3, 60)[keys]
    own = keys < 30
    found = clustered([Stratum(keyed(losses[own], keys[own]), keyed(losses[~own], keys[~own]))], FINE)
    expected = sandwich(losses, own.astype(np.float64), keys)
    assert found.rise == pytest.approx(losses[own].mean() - losses[~own].mean(), abs=1e-9)
    assert found.rise_variance == pytest.approx(expected[1, 1], rel=1e-9)
    # Of the champion's mean alone, the correction for few clusters is of its own 30.
    assert found.base_variance == pytest.approx(expected[0, 0] * (30 / 29) / (60 / 59), rel=1e-9)
    assert found.covariance == pytest.approx(expected[0, 1], rel=1e-9)
    assert found.rise_variance > 10 * (losses[own].var() / own.sum() + losses[~own].var() / (~own).sum())
    assert found.freedom is not None
    assert 40 < found.freedom < 60


@pytest.mark.parametrize(("times", "reach"), [(120, 0.2), pytest.param(400, 0.12, marks=pytest.mark.long)])
def test_a_key_that_was_the_champions_and_is_the_canarys_now_counts_once(times: int, reach: float) -> None:
    """Key effects that are the same on both sides cancel: both releases together are no two experiments."""
    draw = np.random.default_rng(5)
    places, effects = draw.random(400), draw.normal(0, 1, 400)
    rises = []
    for _ in range(times):
        places, effects = draw.random(200), draw.normal(3, 1, 200)
        strata = []
        for share in (0.2, 0.6):
            keys = draw.integers(0, 200, 4_000)
            losses, own = effects[keys] + draw.normal(0, 0.5, 4_000), places[keys] < share
            strata.append(
                Stratum(keyed(losses[own], keys[own] % BUCKETS), keyed(losses[~own], keys[~own] % BUCKETS))
            )
        found = clustered(strata, FINE)
        rises.append((found.rise, found.rise_variance))
    seen, said = np.array(rises).T
    assert np.sqrt(said.mean()) == pytest.approx(seen.std(), rel=reach)


@pytest.mark.parametrize("freedom", [9.0, 30.0, 200.0])
def test_students_tails_become_normal_ones(freedom: float) -> None:
    for t in (-6.0, -3.5, -0.5, 0.0, 1.0, 4.0):
        expected = float(np.copysign(stats.norm.isf(stats.t.sf(abs(t), freedom)), t))
        assert _as_normal(t, freedom) == pytest.approx(expected, abs=0.02)
    assert _as_normal(4.0, None) == 4.0


def test_a_key_with_most_of_the_records_proves_nothing() -> None:
    """A whale beside a hundred small customers."""
    draw = np.random.default_rng(6)
    keys = np.where(draw.random(6_000) < 0.8, 0, draw.integers(1, 100, 6_000))
    losses = draw.gamma(1.0, 0.3, 6_000)
    own = keyed(losses + 9, keys)
    others = draw.integers(0, 200, 6_000)
    found = clustered([Stratum(own, keyed(losses, others))], FINE)
    assert found.freedom is not None
    assert found.freedom < LEAST_FREEDOM
    assert log_evidence(found, 0.0, (0.05, 0.2)) < 0


def test_the_design_effect_is_that_of_kish() -> None:
    """1 + (m - 1) times the correlation within a key."""
    draw = np.random.default_rng(7)
    keys = np.repeat(np.arange(250), 40)
    values = draw.normal(0, 1, 250)[keys] * 0.5 + draw.normal(0, np.sqrt(0.75), len(keys))
    clusters = keyed(values / 1, keys)
    unit = {key: (n, total) for key, (n, total) in clusters.items()}
    found = design_effect(unit, float(values.var()) * FINE**2)
    assert found == pytest.approx(1 + 39 * 0.25, rel=0.25)
    alone = design_effect({i: (1, i % 2) for i in range(100)}, 0.25)
    assert alone == pytest.approx(1.0, abs=0.02)


def test_few_keys_with_other_scores_and_errors_roll_nothing_back() -> None:
    """Ten keys a side: half of the canary's fail now and then, as their records always did."""
    clusters = {"champion": {}, "canary": {}}  # type: ignore[var-annotated]
    counts = {}
    for version, role, shift in ((1, "champion", 0), (2, "canary", 2)):
        for key in range(10):
            bad = 60 if key < shift + 1 else 0
            score_bin = 30 + 4 * key + 5 * shift
            clusters[role][key] = (200 - bad, bad, (200 - bad) * score_bin)
        errors = sum(bad for _, bad, _ in clusters[role].values())
        histogram = {total // n: n for n, _, total in clusters[role].values()}
        counts[0, version, role, 3] = VersionCounts(
            2_000 - errors, errors, histogram=histogram, clusters=clusters[role]
        )
    record = compare_window("payments", "fraud", SPAN, counts)  # type: ignore[arg-type]
    assert judge_gate(Gate(latency=None), Evidence(record, record), 2).outcome == "wait"
    independent = {key: msgspec.structs.replace(found, clusters={}) for key, found in counts.items()}
    record = compare_window("payments", "fraud", SPAN, independent)  # type: ignore[arg-type]
    assert judge_gate(Gate(latency=None), Evidence(record, record), 2).outcome == "fail"


def test_effective_numbers_are_those_of_fewer_records() -> None:
    assert errors_p(40, 400, 20, 400, 4.0) == pytest.approx(errors_p(10, 100, 5, 100), rel=1e-12)
    few, many = [10, 20, 30], [40, 80, 120]
    assert score_drift(many, many[::-1], 4.0) == pytest.approx(score_drift(few, few[::-1]))


def test_a_worker_says_whose_key_a_record_has(tmp_path: Path) -> None:
    """The same bucket on each worker, and for the record's errors, scores and labels."""
    for _ in range(2):
        add(tmp_path)
    log = Releases(Registry(tmp_path), "fraud", lambda: NOW)
    log.canary(2, 0.5, "customer", Activation(NOW - 1_000, lead_ms=0, past=True))
    amounts = [1.0 + i % 6 for i in range(40)]
    with scorer(tmp_path, label_key="customer") as running:
        outcomes = running.score(batch(amounts))
    assert outcomes.told is not None
    rows = [msgspec.json.decode(line, type=list[ScoredRow])[0] for line in outcomes.told]
    assert {row.role for row in rows} == {"champion", "canary"}
    for key, found in report(outcomes).counts.items():
        buckets = [row.bucket for row in rows if row.role == key[2]]
        assert {b: n for b, (n, _, _) in found.clusters.items()} == {b: buckets.count(b) for b in buckets}
    with scorer(tmp_path, label_key="customer") as other:
        again = other.score(batch(amounts[:7]))
    assert again.told is not None
    assert again.told.tolist() == outcomes.told[:7].tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 13.8)), min_size=1, max_size=40), st.data())
def test_sums_by_key_are_the_same_in_any_order_and_after_a_restart(
    items: list[tuple[int, float]], data: st.DataObject
) -> None:
    def of(pairs: list[tuple[int, float]]) -> LabelSums:
        return told(np.array([loss for _, loss in pairs]), np.array([key for key, _ in pairs]))

    whole = of(items)
    shuffled = data.draw(st.permutations(items))
    cut = data.draw(st.integers(1, len(items)))
    total = LabelSums()
    for piece in (shuffled[cut:], shuffled[:cut]):
        if piece:
            total = decode_labels(encode_labels(total))
            total.add(of(piece))
    assert encode_labels(total) == encode_labels(whole)


def test_state_from_before_keys_were_known_is_read() -> None:
    """Its labels are there, and count for a canary no more once there are labels with keys."""
    quality = b'["binary",[300,90000000000000,30000000000000],0,200,{},{},[0,0,0],[0,0,0],0]'
    sums = decode_labels(b'[[[0,2,"canary",1,' + quality + b"]],{}]")
    assert sums.qualities[0, 2, "canary", 1].clusters == {}
    draw = np.random.default_rng(3)
    losses, keys = draw.gamma(1.0, 0.3, 400), draw.integers(0, 200, 400)
    sums.add(told(losses, keys))
    champion = told(losses, keys).qualities[0, 2, "canary", 1]
    sums.qualities[0, 1, "champion", 1] = champion
    found = labelled(sums, 2, "canary", 1, 100)
    assert found is not None
    assert (sums.qualities[0, 2, "canary", 1].loss.n, found.n) == (700, 400)
    assert merged_clusters({}, {1: (1, 2)}) == {1: (1, 2)}


@pytest.mark.parametrize("runs", [5, pytest.param(100, marks=pytest.mark.long)])
def test_equal_canaries_of_few_keys_stay(runs: int) -> None:
    """Where keys differ in how hard they are. Before keys counted, 30 of 100 were rolled back."""
    world, random = World(5), np.random.default_rng(6)
    champion, equal, worse = world.version(0), world.version(1), world.version(2, 0.2)
    for keys in (50, 200):
        same = [follow(Plan("", 0.0, keys=keys), champion, equal, random, 40) for _ in range(runs)]
        assert sum(run.failed is not None for run in same) <= runs // 50
    bad = [follow(Plan("", 0.2, keys=5_000), champion, worse, random, 40) for _ in range(2)]
    assert all(run.failed and run.passed is None for run in bad)
