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
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
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

    `labels` are those that came so far to predictions under that release, encoded.
    """

    release: int = 0
    passes: int = 0
    opened: dict[str, AlertRecord] = {}
    labels: bytes = b""


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
        comparison = None
        events, passes = list(report.events), state.passes
        seen = newest = max([state.release, *(key[3] for key in report.counts), *(e.release for e in events)])
        known = state.labels if newest == state.release else b""
        if report.counts or labels:
            comparison = compare_window(params.job, params.model, span, report.counts, labels)
            judged, known = self._with_known(comparison, report, known, newest, labels)
            gate = _gate(params.gate, judged)
            decision, newest, passes = self._decide(gate, start, state, newest)
            if decision and decision.action != "none":
                written = self._write(decision, newest, iso(start))
                if written and decision.action == "rollback":
                    events.append(Event("rolled_back", decision.version, written.number, decision.reason))
                newest = written.number if written else newest
                comparison = msgspec.structs.replace(comparison, action=_said(decision) if written else None)
            comparison = msgspec.structs.replace(comparison, gate=gate)
        opened, alerts = alerts_of(state.opened, events, span, params.job, params.model, newest)
        return ComparedWindow(
            comparison, alerts, ControllerState(newest, passes, opened, known if newest == seen else b"")
        )

    def _with_known(
        self,
        comparison: ComparisonRecord,
        report: MetricsReport,
        before: bytes,
        newest: int,
        labels: LabelSums | None,
    ) -> tuple[ComparisonRecord, bytes]:
        """The window with all labels to the newest release so far: few come in one window."""
        known = decode_labels(before) if before else LabelSums()
        if labels:
            known.add(labels.since(newest))
        if not known.qualities:
            return comparison, b""
        params = self._params
        judged = compare_window(params.job, params.model, comparison.window, report.counts, known)
        return judged, encode_labels(known)

    def _decide(
        self, gate: GateReport | None, start: int, state: ControllerState, newest: int
    ) -> tuple[GateDecision | None, int, int]:
        """The decision, the number of the newest release, and the passes to remember."""
        automatic = self._params.automatic
        if automatic is None or not self._live:
            return None, newest, 0
        try:
            releases = read_log(self._params.folder)
        except ModelError as error:
            log.error("release_log_unreadable", error=str(error))
            return None, newest, state.passes
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


def _gate(gate: Gate, comparison: ComparisonRecord) -> GateReport | None:
    """The canary is judged, or else the one shadow."""
    canaries = [pair.version for pair in comparison.pairs if pair.role == "canary"]
    shadows = [pair.version for pair in comparison.pairs if pair.role == "shadow"]
    chosen = canaries or shadows
    return judge_gate(gate, comparison, chosen[-1]) if chosen else None


def _said(decision: GateDecision) -> str:
    share = f" to {decision.share:.0%}" if decision.action == "advance" else ""
    return f"{decision.action}{share}: {decision.reason}"
