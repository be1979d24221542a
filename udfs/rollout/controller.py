"""Turns a closed window into a comparison of versions, a verdict, and maybe a release.

Reads and writes the release log only where the job steers by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from udfs.alerts.records import AlertRecord, Closed, WindowSpan
from udfs.errors import ModelError
from udfs.releases.files import append, read_log
from udfs.releases.log import ReleaseLog, ReleaseRecord
from udfs.releases.steps import ReleaseStep, canaried, promoted, rolled_back
from udfs.rollout.alerts import alerts_of
from udfs.rollout.compare import compare_window
from udfs.rollout.events import Event
from udfs.rollout.gate import Automatic, Gate, GateDecision, decide, judge_gate
from udfs.rollout.known import Known, is_about, look, now_known
from udfs.rollout.labels import LabelSums
from udfs.rollout.records import ComparisonRecord, GateReport
from udfs.rollout.version_metrics import MetricsReport
from udfs.store import open_store
from udfs.times import iso

log = structlog.get_logger(__name__)


class RolloutControllerParams(msgspec.Struct, frozen=True):
    """`folder` is the model's, with its release log. Without `automatic` nothing is written to it."""

    job: str
    model: str
    folder: str
    window_ms: int
    lead_ms: int
    idle_ms: int = 60_000
    gate: Gate = Gate()
    automatic: Automatic | None = None


class ControllerState(msgspec.Struct, frozen=True):
    """What a window leaves to the next: passes in a row under `release`, and the alerts that are open.

    `known` is what the gate knows of the version that may be promoted.
    """

    release: int = 0
    passes: int = 0
    opened: dict[str, AlertRecord] = {}
    known: Known | None = None


@dataclass(frozen=True)
class ComparedWindow:
    """What a window's end brings."""

    comparison: ComparisonRecord | None
    alerts: list[AlertRecord]
    state: ControllerState


class RolloutController:
    """`wall_ms` gives the time of day. A job on history (`live` false) decides nothing."""

    def __init__(self, params: RolloutControllerParams, wall_ms: Callable[[], int], *, live: bool) -> None:
        self._params, self._wall_ms, self._live = params, wall_ms, live

    def close(
        self,
        report: MetricsReport,
        start: int,
        state: ControllerState,
        closed: Closed,
        labels: LabelSums | None = None,
    ) -> ComparedWindow:
        """`report` is all of the window that begins at `start` (ms); `labels` are those that came in it."""
        params = self._params
        span = WindowSpan(iso(start), iso(start + params.window_ms), closed)
        comparison, known = None, state.known
        events, passes = list(report.events), state.passes
        newest = max([state.release, *(key[3] for key in report.counts), *(e.release for e in events)])
        if report.counts or labels:
            comparison = compare_window(params.job, params.model, span, report.counts, labels)
            releases = self._releases()
            gate, known = self._judge(comparison, report, labels, state.known, newest, releases)
            decision, newest, passes = self._decide(gate, start, state, newest, releases)
            if decision and decision.action != "none":
                written = self._write(decision, newest, iso(start))
                if written and decision.action == "rollback":
                    events.append(Event("rolled_back", decision.version, written.number, decision.reason))
                    known = None
                newest = written.number if written else newest
                comparison = msgspec.structs.replace(comparison, action=_said(decision) if written else None)
            comparison = msgspec.structs.replace(comparison, gate=gate)
        opened, alerts = alerts_of(state.opened, events, span, params.job, params.model, newest)
        return ComparedWindow(comparison, alerts, ControllerState(newest, passes, opened, known))

    def _judge(
        self,
        comparison: ComparisonRecord,
        report: MetricsReport,
        labels: LabelSums | None,
        before: Known | None,
        newest: int,
        releases: ReleaseLog | None,
    ) -> tuple[GateReport | None, Known | None]:
        """By all that is known of the version that may be promoted, this window included."""
        about = now_known(before, report.counts, labels, newest)
        if about is None or not is_about(about, report.counts, labels):
            return None, about
        evidence, known = look(about, self._params.gate, comparison, report, labels)
        return judge_gate(self._params.gate, evidence, known.version, self._next_share(releases)), known

    def _next_share(self, releases: ReleaseLog | None) -> float:
        automatic = self._params.automatic
        canary = releases.records[-1].canary if releases else None
        return automatic.after(canary.share) if automatic and canary else 1.0

    def _releases(self) -> ReleaseLog | None:
        """None where the job does not steer, and while the log cannot be read."""
        if self._params.automatic is None or not self._live:
            return None
        try:
            return read_log(self._params.folder)
        except ModelError as error:
            log.error("release_log_unreadable", error=str(error))
            return None

    def _decide(
        self,
        gate: GateReport | None,
        start: int,
        state: ControllerState,
        newest: int,
        releases: ReleaseLog | None,
    ) -> tuple[GateDecision | None, int, int]:
        """The decision, the number of the newest release, and the passes to remember."""
        automatic = self._params.automatic
        if automatic is None or releases is None:
            return None, newest, state.passes if automatic and self._live else 0
        number = releases.records[-1].number
        passes = state.passes if number == state.release else 0
        decision = decide(automatic, releases, gate, start, passes)
        return decision, number, decision.passes

    def _write(self, decision: GateDecision, after: int, window: str) -> ReleaseRecord | None:
        """Only if nobody wrote since it was decided: a replay, or a person, may have been first."""
        try:
            return append(
                self._params.folder, lambda releases: self._record(decision, after, releases, window)
            )
        except ModelError as error:
            log.error("release_not_written", error=str(error))
            return None

    def _record(
        self, decision: GateDecision, after: int, releases: ReleaseLog | None, window: str
    ) -> ReleaseRecord | None:
        if releases is None or releases.records[-1].number != after:
            return None
        now = self._wall_ms()
        newest = releases.records[-1]
        by = f"job {self._params.job}, window {window}"
        # The lead begins when workers can see the release, which in an object store takes some seconds.
        at = now + self._params.lead_ms + round(open_store(self._params.folder).delay * 1000)
        step = ReleaseStep(at, now, self._params.lead_ms, decision.reason, by, newest.digests)
        if decision.action == "promote":
            return promoted(releases, decision.version, step)
        if decision.action == "rollback":
            return rolled_back(releases, step)
        return canaried(releases, decision.version, decision.share, None, step)


def _said(decision: GateDecision) -> str:
    share = f" to {decision.share:.0%}" if decision.action == "advance" else ""
    return f"{decision.action}{share}: {decision.reason}"
