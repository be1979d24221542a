"""Comparisons of versions, the gate, and what a job does about a canary by itself."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.helpers.releases import T0, release
from udfs.alerts.records import WindowSpan
from udfs.releases.log import Canary, ReleaseLog
from udfs.rollout.chance import errors_p, score_drift, spent
from udfs.rollout.compare import add_up, compare_window
from udfs.rollout.gate import Automatic, Evidence, Gate, GateDecision, decide, judge_gate
from udfs.rollout.records import ComparisonRecord, GateReport
from udfs.rollout.version_metrics import VersionMetrics, decode

SPAN = WindowSpan("2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z")
WINDOW = 300_000


def scores(values: NDArray[np.float64], threshold: float = 0.5) -> dict[str, pa.Array]:
    return {"prediction": pa.array(values >= threshold), "score": pa.array(values)}


def compared(
    rows: int = 2000, *, shift: float = 0.0, errors: int = 0, slower: float = 1.0, role: str = "canary"
) -> ComparisonRecord:
    draw = np.random.default_rng(7)
    metrics, times = VersionMetrics(WINDOW), np.full(rows, T0)
    own, other = draw.beta(2, 5, rows), np.clip(draw.beta(2, 5, rows) + shift, 0, 1)
    metrics.scored(1, "champion", 3, times, scores(own), rows * 1000)
    metrics.scored(2, role, 3, times, scores(other), int(rows * 1000 * slower))  # type: ignore[arg-type]
    metrics.failed(2, role, 3, times[:errors])  # type: ignore[arg-type]
    if role == "shadow":
        metrics.paired(2, 3, times, scores(own), scores(np.clip(own + shift, 0, 1)))
    data = metrics.take([])
    assert data is not None
    return compare_window("payments", "fraud", SPAN, decode(data).counts)


def test_a_window_says_how_versions_did() -> None:
    record = compared(rows=2000, errors=20)
    champion, canary = record.versions
    assert (champion.role, champion.version, champion.records, champion.share) == (
        "champion",
        1,
        2000,
        2000 / 4020,
    )
    assert (canary.errors, canary.error_rate) == (20, 20 / 2020)
    assert champion.us_per_record == pytest.approx(1.0)
    assert champion.mean_score == pytest.approx(2 / 7, abs=0.02)
    assert champion.p50 == pytest.approx(stats.beta(2, 5).median(), abs=0.02)
    (pair,) = record.pairs
    assert pair.error_rise == pytest.approx(20 / 2020)
    assert pair.agreement is None


def test_shadows_are_compared_row_by_row() -> None:
    (pair,) = compared(shift=0.1, role="shadow").pairs
    assert pair.n == 2000
    assert pair.mean_difference == pytest.approx(0.1, abs=1e-3)
    assert pair.farthest == pytest.approx(0.1)
    assert pair.agreement is not None
    assert 0.8 < pair.agreement < 0.95


def test_score_drift_is_the_distance_of_kolmogorov_and_smirnov() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.beta(2, 5, 3000), draw.beta(2, 4, 2000)
    counts = [np.histogram(v, bins=100, range=(0, 1))[0].tolist() for v in (first, second)]
    distance, p = score_drift(*counts)
    binned = [np.repeat(np.arange(100), c) for c in counts]
    expected = stats.ks_2samp(*binned, method="asymp")
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    assert p == pytest.approx(expected.pvalue, rel=0.05)
    assert score_drift([], []) == (None, None)


def test_windows_add_up() -> None:
    one, two = compared(rows=1000), compared(rows=3000, errors=30)
    total = add_up([one, two])
    assert [v.records for v in total.versions] == [4000, 4000]
    assert total.versions[1].errors == 30
    assert sum(total.versions[0].scores) == 4000
    assert total.window == SPAN


def test_a_version_is_compared_in_the_windows_in_which_it_scored() -> None:
    """Before it came, the champion saw other records, and was slower."""
    metrics, times = VersionMetrics(WINDOW), np.full(1000, T0)
    metrics.scored(1, "champion", 3, times, scores(np.full(1000, 0.9)), 50_000_000)
    alone = compare_window("payments", "fraud", SPAN, decode(metrics.take([]) or b"").counts)
    both = compared()
    (pair,) = add_up([alone, both]).pairs
    (expected,) = both.pairs
    assert (pair.score_drift, pair.score_drift_p) == (expected.score_drift, expected.score_drift_p)
    assert pair.latency_ratio == pytest.approx(expected.latency_ratio)


@pytest.mark.parametrize(
    ("record", "outcome", "reason"),
    [
        (compared(), "pass", ""),
        (compared(rows=500), "wait", "500 of 1,000 records"),
        (compared(errors=100), "fail", "error rate 4.76%, 4.76% above"),
        (compared(slower=9.0), "wait", "9.0 times the champion's time per record; this may still be chance"),
        (compared(shift=0.3), "fail", "scores are distributed otherwise"),
        (compared(rows=50, shift=0.5, errors=40), "wait", ""),
    ],
    ids=["good", "few", "errors", "slow", "drift", "too few to fail"],
)
def test_the_gate(record: ComparisonRecord, outcome: str, reason: str) -> None:
    report = judge_gate(Gate(), alone(record), 2)
    assert report.outcome == outcome
    assert reason in "; ".join(report.reasons)


def test_a_version_is_slow_only_by_many_windows() -> None:
    """A pause of the machine makes one window of an equal version slow, and never so many."""
    slow = compared(slower=9.0)
    found = [judge_gate(Gate(), Evidence(slow, slow, looks=k, timed=k, slow=k), 2) for k in range(1, 9)]
    outcomes = [report.outcome for report in found]
    assert outcomes == ["wait"] * 3 + ["fail"] * 5
    p = [stats.binom.sf(k - 1, k, 0.1) for k in (3, 4)]
    assert p[0] > 0.01 / 3 / (3 * 4)
    assert p[1] < 0.01 / 3 / (4 * 5)
    assert "9.0 times the champion's time" in found[3].reasons[0]
    paused = Evidence(slow, slow, looks=100, timed=100, slow=15)
    assert judge_gate(Gate(), paused, 2).outcome == "wait"


def test_errors_by_chance_do_not_fail_and_do_not_pass() -> None:
    """The p is scipy's, and each look has less of the error than the one before."""
    few = compared(rows=150, errors=4)
    gate = Gate(records=100, drift=None, latency=None)
    assert errors_p(4, 154, 0, 150) == pytest.approx(stats.binom.sf(3, 4, 154 / 304), rel=1e-9)
    report = judge_gate(gate, Evidence(few, few), 2)
    assert report.outcome == "wait"
    assert report.reasons == ("error rate 2.60%, 2.60% above the champion's; this may still be chance",)
    more = compared(rows=1000, errors=15)
    at_look = [judge_gate(gate, Evidence(more, more, looks=k), 2).outcome for k in (1, 1000)]
    assert at_look == ["fail", "wait"]
    assert sum(spent(0.01, look) for look in range(1, 100_000)) == pytest.approx(0.01, rel=1e-4)


def test_what_goes_wrong_late_is_seen_in_its_window() -> None:
    """After days without an error, all of a version's records fail."""
    good, bad = compared(rows=1_000_000), compared(rows=200, errors=100)
    assert judge_gate(Gate(latency=None), Evidence(good, bad, looks=288), 2).outcome == "fail"
    assert judge_gate(Gate(latency=None), Evidence(good, good, looks=288), 2).outcome == "pass"


def test_the_gate_looks_at_shadows_record_by_record() -> None:
    gate = Gate(drift=None, disagreement=0.05, difference=0.05)
    report = judge_gate(gate, alone(compared(shift=0.1, role="shadow")), 2)
    assert report.outcome == "fail"
    assert len(report.reasons) == 2
    assert judge_gate(gate, alone(compared(role="shadow")), 2).outcome == "pass"


def alone(record: ComparisonRecord) -> Evidence:
    return Evidence(record, record)


def log_with_canary(share: float, at: int = 0) -> ReleaseLog:
    return ReleaseLog([release(1, 1), release(2, 1, at, canary=Canary(version=2, share=share, key="k"))])


PASS, FAIL, WAIT = GateReport(2, "pass", ()), GateReport(2, "fail", ("errors",)), GateReport(2, "wait", ())


def test_a_canary_goes_up_step_by_step() -> None:
    automatic = Automatic((0.01, 0.1, 0.5, 1.0), 2)
    assert decide(automatic, log_with_canary(0.01), PASS, T0, 0) == GateDecision("none", passes=1)
    found = decide(automatic, log_with_canary(0.01), PASS, T0, 1)
    assert (found.action, found.version, found.share) == ("advance", 2, 0.1)
    assert decide(automatic, log_with_canary(0.1), PASS, T0, 1).share == 0.5
    assert decide(automatic, log_with_canary(0.5), PASS, T0, 1).action == "promote"
    assert decide(automatic, log_with_canary(0.05), PASS, T0, 1).share == 0.1


def test_a_canary_that_fails_goes_back_at_once_and_says_why() -> None:
    found = decide(Automatic(), log_with_canary(0.5), FAIL, T0, 1)
    assert (found.action, found.version, found.reason) == ("rollback", 2, "errors")


def test_windows_from_before_the_release_and_few_records_decide_nothing() -> None:
    assert decide(Automatic(), log_with_canary(0.1, at=1), FAIL, T0, 1) == GateDecision("none", passes=1)
    assert decide(Automatic(), log_with_canary(0.1), WAIT, T0, 1) == GateDecision("none", passes=1)
    assert decide(Automatic(), ReleaseLog([release(1, 1)]), PASS, T0, 1) == GateDecision("none")
