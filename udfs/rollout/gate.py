"""Decides whether a canary or shadow may go on, and what a job with automatic steps does about it.

Pure functions: who asks and who writes is `udfs.flink.rollout` and `tailrace release`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.releases.log import ReleaseLog
from udfs.rollout.records import ComparisonRecord, GateReport, PairReport, QualityPair, VersionReport

SURE = 0.01
FEW_LABELS = 100


class Gate(msgspec.Struct, frozen=True):
    """What a version must keep to, beside the champion of the same time.

    It needs `records` predicted records before it is judged for good. `errors`: how much higher its error
    rate may be. `latency`: its time per record to the champion's. `disagreement`: share of other predictions
    (shadows only). `difference`: mean distance of scores (shadows only). `drift`: Kolmogorov-Smirnov distance
    of the scores. `quality`: by what part of the champion's its loss (log loss, or RMSE) may be higher, once
    `labels` records of it have theirs. None: not asked for.
    """

    records: int = 1_000
    errors: float | None = 0.01
    latency: float | None = 3.0
    disagreement: float | None = None
    difference: float | None = None
    drift: float | None = 0.1
    quality: float | None = None
    labels: int = 500


class Automatic(msgspec.Struct, frozen=True):
    """`steps` are the shares of a canary, ascending to 1; each must hold for `windows` windows in a row."""

    steps: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    windows: int = 2


class GateDecision(msgspec.Struct, frozen=True):
    """What to do: nothing, a larger share, all of it, or back. `passes` is what to remember for next time."""

    action: Literal["none", "advance", "promote", "rollback"]
    version: int = 0
    share: float = 0.0
    reason: str = ""
    passes: int = 0


def judge_gate(gate: Gate, record: ComparisonRecord, version: int) -> GateReport:
    """Fails on the first thing that is worse than allowed; waits for more records before it passes."""
    pair = next((pair for pair in record.pairs if pair.version == version), None)
    report = next((r for r in record.versions if r.version == version and r.role != "champion"), None)
    if pair is None or report is None:
        return GateReport(version, "wait", ("it has not scored beside a champion yet",))
    if failures := [*_failures(gate, pair, report), *_worse(gate, pair.labels)]:
        return GateReport(version, "fail", tuple(failures))
    if waits := _waits(gate, pair, report):
        return GateReport(version, "wait", waits)
    return GateReport(version, "pass", ())


def _waits(gate: Gate, pair: PairReport, report: VersionReport) -> tuple[str, ...]:
    waits = []
    if report.records < gate.records:
        waits.append(f"{report.records:,} of {gate.records:,} records")
    if gate.quality is not None:
        # A champion of which few labels are known is no measure either.
        labelled = min(pair.labels.n, pair.labels.champion_n) if pair.labels else 0
        if labelled < gate.labels:
            waits.append(f"{labelled:,} of {gate.labels:,} labels")
    return tuple(waits)


def _failures(gate: Gate, pair: PairReport, report: VersionReport) -> list[str]:
    seen = report.records + report.errors
    if seen < min(gate.records, 100):
        return []
    failures = []
    if gate.errors is not None and pair.error_rise > gate.errors:
        failures.append(f"error rate {report.error_rate:.2%}, {pair.error_rise:.2%} above the champion's")
    if gate.latency is not None and (pair.latency_ratio or 0.0) > gate.latency:
        failures.append(f"{pair.latency_ratio:.1f} times the champion's time per record")
    if (
        gate.disagreement is not None
        and pair.agreement is not None
        and 1 - pair.agreement > gate.disagreement
    ):
        failures.append(f"{1 - pair.agreement:.2%} other predictions than the champion")
    if gate.difference is not None and (pair.mean_distance or 0.0) > gate.difference:
        failures.append(f"scores {pair.mean_distance:.3f} apart in the mean")
    if gate.drift is not None and _drifted(gate.drift, pair):
        failures.append(f"scores are distributed otherwise: distance {pair.score_drift:.3f}")
    return failures


def _worse(gate: Gate, pair: QualityPair | None) -> list[str]:
    """By more than allowed, and by more than chance, once there are enough for the normal law to hold."""
    if gate.quality is None or pair is None or pair.p is None:
        return []
    if min(pair.n, pair.champion_n) < min(gate.labels, FEW_LABELS):
        return []
    if pair.difference <= gate.quality * pair.champion_loss or pair.p >= SURE:
        return []
    name = "RMSE" if pair.measure == "rmse" else "log loss"
    return [
        f"quality: {name} {pair.loss:.4g} on {pair.n:,} labels, the champion's {pair.champion_loss:.4g} "
        f"(p {pair.p:.1g})"
    ]


def _drifted(allowed: float, pair: PairReport) -> bool:
    """Large, and more than chance: a small canary differs by some distance always."""
    if pair.score_drift is None or pair.score_drift_p is None:
        return False
    return pair.score_drift > allowed and pair.score_drift_p < SURE


def decide(
    automatic: Automatic, log: ReleaseLog, report: GateReport | None, window_start_ms: int, passes: int
) -> GateDecision:
    """After a window: only one that began when the newest release was in force already says something."""
    newest = log.records[-1]
    if newest.canary is None or report is None or report.version != newest.canary.version:
        return GateDecision("none")
    if window_start_ms < newest.at_ms:
        return GateDecision("none", passes=passes)
    version, share = newest.canary.version, newest.canary.share
    if report.outcome == "fail":
        return GateDecision("rollback", version, reason="; ".join(report.reasons))
    if report.outcome == "wait":
        return GateDecision("none", passes=passes)
    if passes + 1 < automatic.windows:
        return GateDecision("none", passes=passes + 1)
    larger = next((step for step in automatic.steps if step > share), 1.0)
    reason = f"{automatic.windows} windows passed at {share:.0%}"
    return GateDecision("promote" if larger >= 1 else "advance", version, larger, reason)
