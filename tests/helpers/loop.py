"""A model's loop in a world that is made up: the same on each day, whoever asks, and however often."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flink_jobs.lifecycle.advance import Loop, Taken
from flink_jobs.lifecycle.steps import CanaryRules, Policy, StageRules
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases, Signing
from flink_jobs.training.decide import JudgedWindow, RetrainDecision
from flink_jobs.training.reasons import Reasons
from tests.helpers.registered import write
from udfs.alerts.records import WindowSpan
from udfs.releases.chain import ANY_RELEASER, ReleaseTrust
from udfs.releases.log import BEGINNING
from udfs.rollout.records import ComparisonRecord, GateReport, Outcome
from udfs.times import iso, parse_time

DAY_MS = 86_400_000
START = parse_time("2026-03-01T00:00:00Z")
DAYS = 23
# Champions are found bad on these days; the version of the training that began with this entry fails.
BAD_DAYS = frozenset({1, 2, 10, 11, 12, 13, 14, 20})
FAILS = 6
POLICY = Policy(shadow=StageRules(2), canary=CanaryRules(2, share=0.2, key="card"))


def begin(root: Path, signing: Signing | None = None) -> None:
    """Version 1 is champion from the beginning."""
    registry = _registry(root, 0)
    write(registry, "cards")
    releases = Releases(registry, "cards", lambda: START, signing=signing)
    releases.promote(1, Activation(BEGINNING, past=True, by="ada"))


def loop(root: Path, day: int, signing: Signing | None = None, trust: ReleaseTrust = ANY_RELEASER) -> Loop:
    """As it is on that day."""
    registry = _registry(root, day)
    releases = Releases(registry, "cards", lambda: START + day * DAY_MS, signing=signing, trust=trust)

    def compared() -> list[ComparisonRecord]:
        return _comparisons(registry, releases, day)

    def judge(champion: int) -> Reasons:
        return _reasons(day)

    def fit(reasons: Reasons, champion: int, release: int) -> int:
        why = {"release": release, **reasons.record()}
        return write(registry, "cards", training={"retrained_for": why}).version

    return Loop(POLICY, "payments", "cards", registry, releases, compared, judge, fit)


def live(root: Path, days: int = DAYS) -> list[Taken]:
    """A scheduler that asks each day."""
    return [
        taken
        for day in range(days)
        for taken in loop(root, day).advance(lambda day=day: START + day * DAY_MS)  # type: ignore[misc]
    ]


def written(root: Path) -> dict[str, bytes]:
    """All that the loop keeps: releases, and manifests of versions."""
    files = [*root.glob("cards/releases/*.json"), *root.glob("cards/versions/*/manifest.json")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def _registry(root: Path, day: int) -> Registry:
    return Registry(root, lambda: datetime.fromtimestamp(START / 1000 + day * 86_400, UTC))


def _reasons(day: int) -> Reasons:
    window = JudgedWindow(iso(START + (day - 1) * DAY_MS), iso(START + day * DAY_MS), ("score",), 0.0)
    return Reasons(RetrainDecision(day in BAD_DAYS, f"the score of day {day}", (window,), 0))


def _comparisons(registry: Registry, releases: Releases, day: int) -> list[ComparisonRecord]:
    """A window a day, of whoever scored beside the champion when it began."""
    log, found = releases.log(), []
    assert log is not None
    for past in range(day):
        start = START + past * DAY_MS
        state = log.state(log.place_at(start))
        gate = None
        if state.canary:
            gate = GateReport(state.canary.version, "pass", (), "canary", state.champion)
        elif state.shadows:
            version = state.shadows[-1]
            why = registry.manifest("cards", version).training["retrained_for"]
            outcome: Outcome = "fail" if why["release"] == FAILS else "pass"
            gate = GateReport(version, outcome, (f"as told on day {past}",), "shadow", state.champion)
        span = WindowSpan(iso(start), iso(start + DAY_MS))
        found.append(
            ComparisonRecord(job="payments", model="cards", window=span, versions=(), pairs=(), gate=gate)
        )
    return found
