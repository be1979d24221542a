"""Decides the next step of a model's life: a pure function of policy, state and clock.

step = next_step(policy, state, now_ms())
step.kind, step.version, step.reason      # "train", None, "in 2 of the last 3 windows the output drifted …"

Each step is one entry of the release log, or the version that a training makes; so whoever is killed between
two of them, and whoever comes second, decides on what is there.
"""

from __future__ import annotations

from dataclasses import dataclass

from flink_jobs.lifecycle.state import Kind, Look, Stage, State
from flink_jobs.spec.scalars import format_duration
from udfs.times import iso, parse_time

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


@dataclass(frozen=True)
class StageRules:
    """So many windows at least, and so long at most, in event time."""

    windows: int = 3
    at_most_ms: int = 14 * DAY_MS


@dataclass(frozen=True)
class CanaryRules(StageRules):
    """The share, and the key whose values are divided. `automatic`: the job takes the canary on by itself."""

    share: float = 0.1
    key: str = ""
    automatic: bool = False


@dataclass(frozen=True)
class Policy:
    """Trainings in 7 days and what they may take; stages; times (from, to) in which nothing begins.

    Without `canary` a version that passes as a shadow is champion.
    """

    per_week: int = 1
    budget_ms: int = 7_200_000
    shadow: StageRules = StageRules()
    canary: CanaryRules | None = None
    freeze: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Step:
    """What to do, with which version, and why. `wait`: nothing, for now."""

    kind: Kind
    reason: str
    version: int | None = None


def next_step(policy: Policy, state: State, now_ms: int) -> Step:
    """One step; `wait` when there is nothing to do."""
    newest = state.log.records[-1]
    if newest.number in state.log.waiting:
        return Step("wait", f"release {newest.number} waits for approval")
    if now_ms < parse_time(newest.written_at):
        return Step("wait", f"the clock is behind release {newest.number}, of {newest.written_at}")
    step = _wanted(policy, state, now_ms)
    end = max((end for start, end in policy.freeze if start <= now_ms < end), default=None)
    if end is not None and step.kind not in ("wait", "drop", "give_up"):
        what = step.kind if step.version is None else f"{step.kind} version {step.version}"
        return Step("wait", f"frozen until {iso(end)}: {what}, as {step.reason}", step.version)
    return step


def _wanted(policy: Policy, state: State, now_ms: int) -> Step:
    if state.stage:
        return _judged(policy, state, state.stage)
    if canary := state.log.last.canary:
        return Step("wait", f"version {canary.version} is a canary that others began", canary.version)
    if made := state.untried:
        return Step("shadow", f"trained for release {made.release}", made.version)
    return _training(policy, state, now_ms)


def _training(policy: Policy, state: State, now_ms: int) -> Step:
    """Goes on with a training that was begun; begins one where that is wanted and allowed."""
    week = [each for each in state.attempts if each.begin_ms > now_ms - WEEK_MS or each.end_ms is None]
    spent = sum(each.took(now_ms) for each in week)
    if any(each.end_ms is None for each in week):
        if spent >= policy.budget_ms:
            return Step(
                "give_up", f"not done within the budget of {format_duration(policy.budget_ms)} in 7 days"
            )
        return Step("fit", "a training was begun")
    if state.why is None:
        return Step("wait", state.quiet)
    if len(week) >= policy.per_week:
        free = iso(sorted(each.begin_ms for each in week)[-policy.per_week] + WEEK_MS)
        began = f"{len(week)} training{'s' if len(week) > 1 else ''} began in the last 7 days"
        return Step("wait", f"{began}, the next may at {free}: {state.why}")
    if spent >= policy.budget_ms:
        return Step(
            "wait", f"the budget of {format_duration(policy.budget_ms)} in 7 days is spent: {state.why}"
        )
    return Step("train", state.why)


def _judged(policy: Policy, state: State, stage: Stage) -> Step:
    """Worse at any look: dropped. No worse at the last: on. Neither in time: dropped, too."""
    canary = stage.role == "canary"
    rules: StageRules = (policy.canary or CanaryRules()) if canary else policy.shadow
    looks = [
        look
        for look in state.looks
        if (look.version, look.role) == (stage.version, stage.role) and look.start_ms >= stage.since_ms
    ]
    as_what = f"as {stage.role}"
    if failed := next((look for look in looks if look.outcome == "fail"), None):
        return Step("drop", f"{as_what}, the gate failed it: {_said(failed)}", stage.version)
    passed = bool(looks) and looks[-1].outcome == "pass" and len(looks) >= rules.windows
    if passed and not (policy.canary and policy.canary.automatic and canary):
        return _onward(policy, stage, f"{as_what}, it passed the gate after {len(looks)} windows")
    if _is_over(state, stage, rules):
        why = _said(looks[-1]) if looks else "it scored in no window"
        return Step(
            "drop",
            f"{as_what}, it has not passed in {format_duration(rules.at_most_ms)}: {why}",
            stage.version,
        )
    why = f"; {_said(looks[-1])}" if looks and looks[-1].reasons else ""
    seen = f"{len(looks)} of {rules.windows}" if len(looks) < rules.windows else f"{len(looks)}"
    return Step("wait", f"version {stage.version} {as_what}: {seen} windows{why}", stage.version)


def _onward(policy: Policy, stage: Stage, reason: str) -> Step:
    if stage.role == "shadow" and policy.canary:
        return Step("canary", reason, stage.version)
    return Step("promote", reason, stage.version)


def _is_over(state: State, stage: Stage, rules: StageRules) -> bool:
    """By the windows' own time: while a job stands still nothing is over."""
    return state.until_ms is not None and state.until_ms >= stage.since_ms + rules.at_most_ms


def _said(look: Look) -> str:
    return "; ".join(look.reasons) or look.outcome
