"""A job that moves a canary by itself: real log, windows as workers report them."""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from tests.helpers import models
from tests.helpers.following import INPUTS, add
from udfs.rollout.controller import (
    ComparedWindow,
    ControllerState,
    RolloutController,
    RolloutControllerParams,
)
from udfs.rollout.events import Event, Role
from udfs.rollout.gate import Automatic, Gate
from udfs.rollout.known import Known, now_known
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.losses import ScoredRow, measured, quality_of
from udfs.rollout.version_metrics import MetricsReport, VersionMetrics, decode, encode
from udfs.store import objects as object_store

WINDOW = 60_000
T0 = 1_767_225_600_000


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    for _ in range(2):
        add(tmp_path)
    log = Releases(Registry(tmp_path), "fraud", lambda: T0)
    log.canary(2, 0.01, "customer", Activation(T0, lead_ms=0, past=True))
    return log


def controller(
    folder: Path | str, *, live: bool = True, quality: float | None = None, records: int = 100
) -> RolloutController:
    params = RolloutControllerParams(
        job="payments",
        model="fraud",
        folder=str(folder),
        window_ms=WINDOW,
        lead_ms=2_000,
        gate=Gate(records=records, latency=None, quality=quality),
        automatic=Automatic((0.01, 0.5, 1.0), 2),
    )
    return RolloutController(params, lambda: T0 + 10 * WINDOW, live=live)


def window(start: int, release: int, errors: int = 0) -> MetricsReport:
    metrics, times = VersionMetrics(WINDOW), np.full(500, start)
    scores = {"prediction": pa.array([True] * 500), "score": pa.array(np.linspace(0.1, 0.9, 500))}
    metrics.scored(1, "champion", release, times, scores, 500_000)
    metrics.scored(2, "canary", release, times, scores, 500_000)
    if errors:
        metrics.failed(2, "canary", release, times[:errors])
    data = metrics.take([])
    assert data is not None
    return decode(data)


def close(
    job: RolloutController, minute: int, release: int, state: ControllerState, errors: int = 0
) -> ComparedWindow:
    start = T0 + minute * WINDOW
    return job.close(window(start, release, errors), start, state, "watermark")


def said(releases: Releases) -> list[tuple[str, int, float | None]]:
    log = releases.log()
    assert log is not None
    return [(r.action, r.champion, r.canary.share if r.canary else None) for r in log.records]


def test_a_canary_that_passes_goes_all_the_way(tmp_path: Path, releases: Releases) -> None:
    actions: list[str | None] = []
    job, state = controller(tmp_path / "fraud"), ControllerState()
    for minute, release in enumerate([2, 2, 3, 3]):
        # The moments that the job writes lie at its own time of day, ten minutes on.
        later = minute if release == 2 else minute + 12
        result = close(job, later, release, state)
        assert result.comparison is not None
        state, actions = result.state, [*actions, result.comparison.action]
    assert said(releases) == [
        ("promote", 1, None),
        ("canary", 1, 0.01),
        ("canary", 1, 0.5),
        ("promote", 2, None),
    ]
    log = releases.log()
    assert log is not None
    assert log.records[2].reason == "2 windows passed at 1%"
    assert log.records[2].by == "job payments, window 2026-01-01T00:01:00.000Z"
    assert log.records[2].at_ms == T0 + 10 * WINDOW + 2_000
    assert actions == [
        None,
        "advance to 50%: 2 windows passed at 1%",
        None,
        "promote: 2 windows passed at 50%",
    ]


def test_a_canary_that_fails_is_rolled_back_once_with_an_alert(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud")
    result = close(job, 0, 2, ControllerState(), errors=100)
    assert said(releases)[-1] == ("rollback", 1, None)
    (alert,) = result.alerts
    assert (alert.rule, alert.state, alert.severity) == ("canary-rolled-back", "firing", "critical")
    assert "error rate 16.67%" in alert.message
    close(job, 0, 2, ControllerState(), errors=100)  # the same again, as after a restart
    assert len(said(releases)) == 3


def test_a_job_leaves_time_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers see a release only when the election of its writer is over."""
    monkeypatch.setattr(object_store, "SETTLE_SECONDS", 0.05)
    registry = Registry(f"memory://{uuid.uuid4().hex}/models")
    for _ in range(2):
        models.register(registry, "fraud", LogisticRegression(), INPUTS, [False] * 3 + [True] * 3, "binary")
    registry.promote("fraud", 1)
    log = Releases(registry, "fraud", lambda: T0)
    log.canary(2, 0.01, "customer", Activation(T0, lead_ms=0, past=True))
    close(controller(registry.model_location("fraud")), 0, 2, ControllerState(), errors=100)
    records = log.log()
    assert records is not None
    assert records.records[-1].action == "rollback"
    assert records.records[-1].at_ms == T0 + 10 * WINDOW + 2_000 + 150


def test_a_person_who_was_first_is_not_overruled(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud")
    state = close(job, 0, 2, ControllerState()).state
    releases.rollback(Activation(T0 + WINDOW, lead_ms=0, past=True))
    close(job, 1, 2, state)
    assert said(releases)[-1] == ("rollback", 1, None)


def test_a_job_on_history_only_compares(tmp_path: Path, releases: Releases) -> None:
    result = close(controller(tmp_path / "fraud", live=False), 0, 2, ControllerState(), errors=100)
    assert result.comparison is not None
    assert result.comparison.gate is not None
    assert result.comparison.gate.outcome == "fail"
    assert len(said(releases)) == 2


def test_an_alert_is_open_until_a_later_release(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud")
    refused = MetricsReport(events=[Event("version_refused", 2, 2, "its golden rows differ")])
    first = job.close(refused, T0, ControllerState(), "early")
    again = job.close(refused, T0, first.state, "early")
    assert ([a.state for a in first.alerts], again.alerts) == (["firing"], [])
    releases.rollback(Activation(T0, lead_ms=0, past=True))
    over = close(job, 1, 3, again.state)
    assert [(a.rule, a.state) for a in over.alerts] == [("version-refused", "resolved")]


def test_a_refused_log_is_an_alert_until_it_can_be_followed_again(tmp_path: Path, releases: Releases) -> None:
    """Who stands before the registry hoped that nobody reads the workers' logs."""
    job = controller(tmp_path / "fraud")
    refused = MetricsReport(events=[Event("log_refused", 0, 2, "release 3 is not signed")])
    first = job.close(refused, T0, ControllerState(), "early")
    (alert,) = first.alerts
    assert (alert.id, alert.severity) == ("release-log-refused/0", "critical")
    assert alert.message == "the release log is followed up to release 2: release 3 is not signed"
    releases.rollback(Activation(T0, lead_ms=0, past=True))
    assert [each.state for each in close(job, 1, 3, first.state).alerts] == ["resolved"]


def told(worse: bool, release: int, labels: int = 300) -> LabelSums:
    """Labels to what both versions said: the canary is as good as the champion, or says the opposite."""
    losses = {1: [0.8, 0.7, 0.9, 0.4], 2: [0.2, 0.3, 0.1, 0.6] if worse else [0.7, 0.8, 0.9, 0.4]}
    roles: dict[int, Role] = {1: "champion", 2: "canary"}
    found = LabelSums()
    for version, scores in losses.items():
        said = [
            ScoredRow(version, roles[version], release, "binary", (False, True), s >= 0.5, s)
            for s in scores * (labels // 4)
        ]
        rows = [row for one in said if (row := measured(one, True))]
        found.qualities[0, version, roles[version], release] = quality_of(rows)
    return found


def labelled(
    job: RolloutController, minute: int, state: ControllerState, labels: LabelSums | None
) -> ComparedWindow:
    start = T0 + minute * WINDOW
    return job.close(window(start, 2), start, state, "watermark", labels)


def test_a_canary_waits_for_labels_over_windows(tmp_path: Path, releases: Releases) -> None:
    """Labels to what it said before it was the canary do not count."""
    job, state, outcomes = controller(tmp_path / "fraud", quality=0.2), ControllerState(), []
    for minute, labels in enumerate([None, told(False, 2), told(False, 1), told(False, 2)]):
        result = labelled(job, minute, state, labels)
        assert result.comparison is not None
        assert result.comparison.gate is not None
        state = result.state
        outcomes.append((result.comparison.gate.outcome, *result.comparison.gate.reasons))
    assert outcomes == [
        ("wait", "0 of 500 labels"),
        ("wait", "300 of 500 labels"),
        ("wait", "300 of 500 labels"),
        ("pass",),
    ]


def test_a_canary_that_is_worse_on_labels_is_rolled_back(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud", quality=0.05)
    first = labelled(job, 0, ControllerState(), told(True, 2, labels=80))
    assert len(said(releases)) == 2
    second = labelled(job, 1, first.state, told(True, 2, labels=80))
    assert said(releases)[-1] == ("rollback", 1, None)
    (alert,) = second.alerts
    assert "quality: log loss 1.407 on 160 labels, the champion's 0.4" in alert.message
    assert second.state.known is None


def test_labels_alone_roll_a_canary_back_too(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud", quality=0.05)
    job.close(MetricsReport(), T0, ControllerState(2), "idle", told(True, 2))
    assert said(releases)[-1] == ("rollback", 1, None)


def split(report: MetricsReport) -> MetricsReport:
    """As Flink's state keeps a report."""
    return decode(encode(report))


def test_records_count_over_windows_and_a_step_begins_anew(tmp_path: Path, releases: Releases) -> None:
    """A window has 500; the default of a thousand was never reached."""
    job, state, outcomes = controller(tmp_path / "fraud", records=1_200), ControllerState(), []
    for minute, release in [(0, 2), (1, 2), (2, 2), (3, 2), (14, 3)]:
        result = close(job, minute, release, state)
        assert result.comparison is not None
        assert result.comparison.gate is not None
        state = result.state
        outcomes.append((result.comparison.gate.outcome, *result.comparison.gate.reasons))
    assert outcomes == [
        ("wait", "500 of 1,200 records"),
        ("wait", "1,000 of 1,200 records"),
        ("pass",),
        ("pass",),
        ("wait", "500 of 1,200 records"),
    ]
    assert state.known is not None
    assert (state.known.since, state.known.release, state.known.looks) == (2, 3, 5)


def test_labels_count_over_steps_and_a_restart_changes_no_byte(tmp_path: Path, releases: Releases) -> None:
    job = controller(tmp_path / "fraud", quality=0.2)
    whole, restarted, written = ControllerState(), ControllerState(), []
    for minute, release in [(0, 2), (11, 3), (12, 3)]:
        start = T0 + minute * WINDOW
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(restarted), type=ControllerState)
        report, labels = window(start, release), told(False, release)
        if minute == 0:
            releases.canary(2, 0.5, "customer", Activation(T0 + WINDOW, lead_ms=0, past=True))
        one = job.close(report, start, whole, "watermark", labels)
        other = job.close(split(report), start, again, "watermark", decode_labels(encode_labels(labels)))
        whole, restarted = one.state, other.state
        assert one.state.known == other.state.known
        written.append(one.comparison)
    gates = [record.gate for record in written if record and record.gate]
    assert [gate.quality.n for gate in gates if gate.quality] == [300, 600, 900]
    assert [gate.champion for gate in gates] == [1, 1, 1]


def test_another_champion_or_canary_begins_anew(tmp_path: Path, releases: Releases) -> None:
    known = now_known(None, window(T0, 2).counts, None, 2)
    assert known == Known(2, "canary", 1, 2, 2)
    assert now_known(known, {}, None, 3) == known
    later = {(key[0], key[1] + 1, key[2], 3): found for key, found in window(T0, 2).counts.items()}
    assert now_known(known, later, None, 3) == Known(3, "canary", 2, 3, 3)
    champion = {key: found for key, found in window(T0, 2).counts.items() if key[2] == "champion"}
    assert now_known(known, champion, None, 2) == known
    assert now_known(None, champion, None, 2) is None
