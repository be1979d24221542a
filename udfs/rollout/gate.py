"""Decides whether a canary or shadow may go on, and what a job with automatic steps does about it.

Pure functions: who asks and who writes is `udfs.flink.rollout` and `tailrace release`. The gate is asked at
each window anew, of all that is known since the version began, and its errors are of all windows together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from udfs.releases.log import ReleaseLog
from udfs.rollout.chance import errors_p, slow_p, spent
from udfs.rollout.label_tests import Labelled
from udfs.rollout.records import ComparisonRecord, GateReport, PairReport, RunningLoss, VersionReport
from udfs.rollout.sequential import LEAST_FREEDOM, log_evidence, lower_bound, upper_bound

# What looks like more than chance at one look: it fails nothing, but nothing passes either.
SUSPECT = 0.01
FEW = 100
# How the error of a rollback is divided: labels are scarce, and all that came say more than a window's.
QUALITY_PART, WINDOW_PART = 0.8, 0.05
# Where `quality` is 0 or tiny, the gate would look for differences that no number of labels shows.
LEAST_EFFECT = 1e-3
# A version that is worse by so many times `quality` is to be found with the fewest labels.
FAR_WORSE = 4


class Gate(msgspec.Struct, frozen=True):
    """What a version must keep to, beside the champion of the same time.

    It needs `records` predicted records under a release before it is judged for good. `errors`: how much
    higher its error rate may be. `latency`: its time per record to the champion's. `disagreement`: share of
    other predictions (shadows only). `difference`: mean distance of scores (shadows only). `drift`:
    Kolmogorov-Smirnov distance of the scores. `quality`: it passes once its loss (log loss, or RMSE) is shown
    to be higher by less than this part of the champion's, by `labels` records or more. None: not asked for.
    `confidence`: 1 − the share of equal versions that fail, and of worse ones that pass.
    """

    records: int = 1_000
    errors: float | None = 0.01
    latency: float | None = 3.0
    disagreement: float | None = None
    difference: float | None = None
    drift: float | None = 0.1
    quality: float | None = None
    labels: int = 500
    confidence: float = 0.99

    @property
    def error(self) -> float:
        return 1 - self.confidence

    @property
    def enough(self) -> int:
        """Records, or labels, below which nothing is said of a version."""
        return min(self.records, FEW)

    @property
    def effects(self) -> tuple[float, float]:
        """Parts of the champion's loss that are found with the fewest labels."""
        effect = max(self.quality or 0.0, LEAST_EFFECT)
        return effect, FAR_WORSE * effect


class Automatic(msgspec.Struct, frozen=True):
    """`steps` are the shares of a canary, ascending to 1; each must hold for `windows` windows in a row."""

    steps: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    windows: int = 2

    def after(self, share: float) -> float:
        """The share that comes next."""
        return next((step for step in self.steps if step > share), 1.0)


class GateDecision(msgspec.Struct, frozen=True):
    """What to do: nothing, a larger share, all of it, or back. `passes` is what to remember for next time."""

    action: Literal["none", "advance", "promote", "rollback"]
    version: int = 0
    share: float = 0.0
    reason: str = ""
    passes: int = 0


@dataclass(frozen=True)
class Evidence:
    """What is known of a version beside its champion, at the end of a window.

    `so_far`: all under the newest release; `window`: the last window alone. `looks`: windows since the
    version began, of which `timed` have times of both under the newest release; in `slow` of these it
    took longer than allowed. `labelled`: all labels since it began; `lately`: those of the window.
    """

    so_far: ComparisonRecord
    window: ComparisonRecord
    looks: int = 1
    timed: int = 0
    slow: int = 0
    labelled: Labelled | None = None
    lately: Labelled | None = None


def judge_gate(gate: Gate, found: Evidence, version: int, share: float = 1.0) -> GateReport:
    """Fails on what is shown to be worse, passes on what is shown to be no worse, and waits in between.

    `share` of the records would be the version's if it passes.
    """
    pair, report = _of(found.so_far, version)
    if pair is None or report is None:
        return GateReport(version, "wait", ("it has not scored beside a champion yet",))
    running = _running(gate, found.labelled) if found.labelled else None
    allowed = None if gate.quality is None else _allowed(gate.quality / share)

    def said(outcome: Literal["pass", "fail", "wait"], reasons: list[str]) -> GateReport:
        return GateReport(
            version, outcome, tuple(reasons), report.role, pair.champion, found.looks, report.records,
            allowed, running, pair.error_design, pair.score_design,
        )  # fmt: skip

    if failures := [*_failures(gate, found, version), *_worse(gate, found)]:
        return said("fail", failures)
    if waits := [*_waits(gate, found, report), *_unproven(gate, found.labelled, allowed, running)]:
        return said("wait", waits)
    return said("pass", [])


def _of(record: ComparisonRecord, version: int) -> tuple[PairReport | None, VersionReport | None]:
    pair = next((pair for pair in record.pairs if pair.version == version), None)
    report = next((r for r in record.versions if r.version == version and r.role != "champion"), None)
    return pair, report


class _Suspicion(NamedTuple):
    """What is above its limit, how often chance alone makes it so, and the p below which it counts."""

    why: str
    p: float
    counts_below: float


def _allowed(part: float) -> float:
    return min(part, 1e3)


def _failures(gate: Gate, found: Evidence, version: int) -> list[str]:
    """What is worse than allowed, and more than chance: in all records, or in those of this window."""
    asked = [name for name in ("errors", "latency", "drift") if getattr(gate, name) is not None]
    error = gate.error * (1 - QUALITY_PART if gate.quality is not None else 1.0) / max(len(asked), 1)
    # Two tests at each look.
    chance = spent(error, found.looks) / 2
    failures = _over_limits(gate, found, version)
    for record in (found.so_far, found.window):
        shown = [each.why for each in _suspicions(gate, record, version) if each.p < chance]
        if shown:
            failures += shown
            break
    if (slow := _slow(gate, found, version)) and slow_p(found.slow, found.timed) < 2 * chance:
        failures.append(slow)
    return failures


def _over_limits(gate: Gate, found: Evidence, version: int) -> list[str]:
    """Limits on what was seen: no sample of anything, so that chance has no part in it."""
    pair, report = _of(found.so_far, version)
    if pair is None or report is None or report.records + report.errors < gate.enough:
        return []
    failures = []
    if (
        gate.disagreement is not None
        and pair.agreement is not None
        and 1 - pair.agreement > gate.disagreement
    ):
        failures.append(f"{1 - pair.agreement:.2%} other predictions than the champion")
    if gate.difference is not None and (pair.mean_distance or 0.0) > gate.difference:
        failures.append(f"scores {pair.mean_distance:.3f} apart in the mean")
    return failures


def _suspicions(gate: Gate, record: ComparisonRecord, version: int) -> list[_Suspicion]:
    pair, report = _of(record, version)
    if pair is None or report is None or report.records + report.errors < gate.enough:
        return []
    found = []
    if gate.errors is not None and pair.error_rise > gate.errors:
        why = f"error rate {report.error_rate:.2%}, {pair.error_rise:.2%} above the champion's"
        found.append(_Suspicion(why, _errors_p(record, pair, report), 2.0))
    if gate.drift is not None and pair.score_drift is not None and pair.score_drift > gate.drift:
        why = f"scores are distributed otherwise: distance {pair.score_drift:.3f}"
        # Distances of few records are large by chance.
        found.append(_Suspicion(why, pair.score_drift_p or 0.0, SUSPECT))
    return found


def _errors_p(record: ComparisonRecord, pair: PairReport, report: VersionReport) -> float:
    champions = [r for r in record.versions if (r.role, r.version) == ("champion", pair.champion)]
    errors, records = sum(r.errors for r in champions), sum(r.records for r in champions)
    return errors_p(
        report.errors, report.errors + report.records, errors, errors + records, pair.error_design
    )


def _slow(gate: Gate, found: Evidence, version: int) -> str | None:
    """By its times under the newest release, all together."""
    pair, _ = _of(found.so_far, version)
    if gate.latency is None or pair is None or (pair.latency_ratio or 0.0) <= gate.latency:
        return None
    return f"{pair.latency_ratio:.1f} times the champion's time per record"


def _worse(gate: Gate, found: Evidence) -> list[str]:
    """By more than allowed, and more than chance: by all labels, or by those of this window."""
    if gate.quality is None:
        return []
    error = gate.error * QUALITY_PART
    errors = (
        (found.labelled, error * (1 - WINDOW_PART)),
        (found.lately, spent(error, found.looks) * WINDOW_PART),
    )
    for labelled, chance in errors:
        if labelled is None or labelled.estimate.part <= _on_squares(gate.quality, labelled):
            continue
        effects = _effects(gate, labelled)
        if log_evidence(labelled.estimate, 0.0, effects, sought=effects[1]) >= -math.log(chance):
            return [_said_worse(labelled, 1 - gate.error)]
    return []


def _said_worse(labelled: Labelled, confidence: float) -> str:
    name, loss, champion = _losses(labelled)
    return (
        f"quality: {name} {loss:.4g} on {labelled.n:,} labels, the champion's {champion:.4g} "
        f"(worse with {confidence:.4g} confidence)"
    )


def _losses(labelled: Labelled) -> tuple[str, float, float]:
    found = labelled.estimate
    loss, champion = found.base + found.rise, found.base
    if labelled.kind == "regression":
        return "RMSE", math.sqrt(max(loss, 0.0)), math.sqrt(champion)
    return "log loss", loss, champion


def _on_squares(part: float, labelled: Labelled) -> float:
    """A part of an RMSE as one of the mean squared error."""
    return (1 + part) ** 2 - 1 if labelled.kind == "regression" else part


def _on_roots(part: float, labelled: Labelled) -> float:
    return math.sqrt(1 + part) - 1 if labelled.kind == "regression" else part


def _effects(gate: Gate, labelled: Labelled) -> list[float]:
    return [_on_squares(effect, labelled) for effect in gate.effects]


def _waits(gate: Gate, found: Evidence, report: VersionReport) -> list[str]:
    waits = []
    if report.records < gate.records:
        waits.append(f"{report.records:,} of {gate.records:,} records")
    for each in _suspicions(gate, found.so_far, report.version):
        if each.p < each.counts_below:
            waits.append(f"{each.why}; this may still be chance")
    if slow := _slow(gate, found, report.version):
        waits.append(f"{slow}; this may still be chance")
    return waits


def _unproven(
    gate: Gate, labelled: Labelled | None, allowed: float | None, running: RunningLoss | None
) -> list[str]:
    """What is missing until the loss is shown to be higher by less than allowed."""
    if allowed is None:
        return []
    # A champion of which few labels are known is no measure either.
    known = min(labelled.n, labelled.champion_n) if labelled else 0
    if labelled is None or running is None or known < gate.labels:
        return [f"{known:,} of {gate.labels:,} labels"]
    if (groups := labelled.estimate.freedom) is not None and groups < LEAST_FREEDOM:
        return [
            f"labels of too few keys: they count as {groups + 1:.0f}, and must as {LEAST_FREEDOM + 1:.0f}"
        ]
    effects = _effects(gate, labelled)
    evidence = log_evidence(
        labelled.estimate, _on_squares(allowed, labelled), effects, better=True, sought=effects[0]
    )
    if evidence >= -math.log(gate.error):
        return []
    high = "anything" if running.high is None else f"{running.high:+.1%}"
    name = _losses(labelled)[0]
    return [f"{name} may be up to {high} of the champion's, by {known:,} labels; allowed {allowed:+.1%}"]


def _running(gate: Gate, labelled: Labelled) -> RunningLoss:
    _, loss, champion = _losses(labelled)
    effects, error = _effects(gate, labelled), gate.error * QUALITY_PART * (1 - WINDOW_PART)
    high = upper_bound(labelled.estimate, effects, gate.error, effects[0])
    return RunningLoss(
        measure="rmse" if labelled.kind == "regression" else "log_loss",
        n=labelled.n,
        champion_n=labelled.champion_n,
        paired=labelled.paired,
        loss=loss,
        champion_loss=champion,
        part=_on_roots(max(labelled.estimate.part, -1.0), labelled),
        low=_on_roots(lower_bound(labelled.estimate, effects, error, effects[1]), labelled),
        high=None if high is None else _on_roots(high, labelled),
        estimate=labelled.estimate,
    )


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
    larger = automatic.after(share)
    reason = f"{automatic.windows} windows passed at {share:.0%}{_shown(report)}"
    return GateDecision("promote" if larger >= 1 else "advance", version, larger, reason)


def _shown(report: GateReport) -> str:
    found = report.quality
    if found is None or found.low is None or found.high is None:
        return ""
    name = "RMSE" if found.measure == "rmse" else "log loss"
    return f"; {name} {found.low:+.1%} to {found.high:+.1%} of the champion's, by {found.n:,} labels"
