"""What the loop does next: adversaries are the gate, budgets, freezes, people, clocks that go back."""

from __future__ import annotations

from typing import Any

import pytest

from flink_jobs.lifecycle.state import Look, Made, State, made_by, mark
from flink_jobs.lifecycle.steps import DAY_MS, CanaryRules, Policy, StageRules, Step, next_step
from udfs.releases.log import BEGINNING, Canary, ReleaseLog, ReleaseRecord
from udfs.rollout.events import Role
from udfs.rollout.records import Outcome
from udfs.times import iso, parse_time

START = parse_time("2026-03-01T00:00:00Z")
POLICY = Policy(shadow=StageRules(2, 10 * DAY_MS), canary=CanaryRules(2, 5 * DAY_MS, share=0.2, key="card"))
WHY = "the score drifted"


class Story:
    """A release log that is written day by day."""

    def __init__(self) -> None:
        self.records = [ReleaseRecord(number=1, champion=1, written_at=iso(START))]
        self.made: list[Made] = []
        self.looks: list[Look] = []

    def wrote(self, day: float, action: Any, kind: Any = None, **changes: Any) -> Story:
        last = self.records[-1]
        time = iso(START + round(day * DAY_MS))
        kept = {"champion": last.champion, "canary": last.canary, "shadows": last.shadows, **changes}
        number = len(self.records) + 1
        by = mark("cards", kind) if kind else "ada"
        self.records.append(
            ReleaseRecord(number=number, action=action, written_at=time, at=time, by=by, **kept)
        )
        return self

    def trained(self, day: float, version: int, release: int) -> Story:
        self.made.append(Made(version, release, START + round(day * DAY_MS)))
        return self

    def looked(self, day: int, version: int, role: Role, *outcomes: Outcome) -> Story:
        for place, outcome in enumerate(outcomes):
            start = START + (day + place) * DAY_MS
            reasons = () if outcome == "pass" else (f"{outcome} of day {day + place}",)
            self.looks.append(Look(version, role, start, start + DAY_MS, outcome, reasons))
        return self

    def then(self, day: float, policy: Policy = POLICY, why: str | None = WHY, **more: Any) -> Step:
        until = max((look.end_ms for look in self.looks), default=None)
        given = {"until_ms": until, "why": why, "quiet": "all is well", **more}
        waiting = given.pop("waiting", frozenset())
        state = State(ReleaseLog(self.records, waiting), tuple(self.made), tuple(self.looks), **given)
        return next_step(policy, state, START + round(day * DAY_MS))


def waits(count: int) -> list[Outcome]:
    return ["wait"] * count


def passes(count: int) -> list[Outcome]:
    return ["pass"] * count


def trained() -> Story:
    return Story().wrote(1, "confirm", "train").trained(1.01, 2, release=2)


def shadowing() -> Story:
    return trained().wrote(1.1, "shadow", "shadow", shadows=(2,))


def in_canary() -> Story:
    story = shadowing().looked(2, 2, "shadow", "wait", "pass")
    return story.wrote(4, "canary", "canary", shadows=(), canary=Canary(version=2, share=0.2, key="card"))


def test_the_whole_way_to_champion() -> None:
    assert Story().then(1, why=None) == Step("wait", "all is well")
    assert Story().then(1) == Step("train", WHY)
    assert Story().wrote(1, "confirm", "train").then(1).kind == "fit"
    assert trained().then(1.02) == Step("shadow", "trained for release 2", 2)
    step = shadowing().looked(2, 2, "shadow", "pass").then(3)
    assert step == Step("wait", "version 2 as shadow: 1 of 2 windows", 2)
    step = shadowing().looked(2, 2, "shadow", "wait", "pass").then(4)
    assert step == Step("canary", "as shadow, it passed the gate after 2 windows", 2)
    step = in_canary().looked(4, 2, "canary", "pass", "pass").then(6)
    assert step == Step("promote", "as canary, it passed the gate after 2 windows", 2)
    promoted = in_canary().wrote(6, "promote", "promote", champion=2, canary=None)
    assert promoted.then(6, why=None) == Step("wait", "all is well")


def test_without_a_canary_the_shadow_becomes_champion() -> None:
    story = shadowing().looked(2, 2, "shadow", "pass", "pass")
    assert story.then(4, Policy(shadow=StageRules(2))).kind == "promote"


def test_what_the_gate_failed_once_is_dropped_even_if_it_passes_later() -> None:
    """The gate's error is of all windows together: each of its failures counts."""
    step = shadowing().looked(2, 2, "shadow", "fail", "pass", "pass").then(5)
    assert step == Step("drop", "as shadow, the gate failed it: fail of day 2", 2)
    assert in_canary().looked(4, 2, "canary", "pass", "fail").then(6).kind == "drop"


def test_what_proves_nothing_in_time_is_dropped_and_time_is_that_of_windows() -> None:
    story = shadowing().looked(2, 2, "shadow", *waits(9))
    assert story.then(40).kind == "wait"
    story.looked(11, 2, "shadow", "wait")
    assert story.then(12) == Step("drop", "as shadow, it has not passed in 10d: wait of day 11", 2)
    never = shadowing().looked(2, 9, "shadow", *passes(10))
    assert never.then(12) == Step("drop", "as shadow, it has not passed in 10d: it scored in no window", 2)


def test_windows_from_before_a_release_say_nothing_of_it() -> None:
    """A canary is not judged by what it did as a shadow, nor by a window that began before."""
    assert in_canary().then(5).reason == "version 2 as canary: 0 of 2 windows"
    assert in_canary().looked(3, 2, "canary", "fail").then(5).kind == "wait"


def test_a_dropped_version_is_never_tried_again() -> None:
    story = shadowing().wrote(5, "shadow", "drop", shadows=())
    assert story.then(5, why=None).kind == "wait"
    assert story.then(5.5).kind == "wait"
    assert story.then(9) == Step("train", WHY)
    # Nor one that a person ended, rolled back, or stopped.
    assert in_canary().wrote(5, "rollback", champion=1, canary=None).then(5, why=None).kind == "wait"
    assert in_canary().wrote(5, "withdraw", withdraw=2, canary=None).then(5, why=None).kind == "wait"


def test_killed_after_the_version_was_registered() -> None:
    """The version names the entry it is of: it is not trained twice, also not a week later."""
    assert trained().then(1.02).kind == "shadow"
    assert trained().then(30).kind == "shadow"


def test_two_machines_trained_the_same() -> None:
    story = shadowing().trained(1.2, 3, release=2)
    assert story.then(2, why=None).version == 2
    dropped = story.wrote(5, "shadow", "drop", shadows=())
    assert dropped.then(5, why=None) == Step("wait", "all is well")


def test_so_many_trainings_a_week() -> None:
    story = shadowing().wrote(2, "shadow", "drop", shadows=())
    step = story.then(3)
    assert step == Step(
        "wait", "1 training began in the last 7 days, the next may at 2026-03-09T00:00:00.000Z: " + WHY
    )
    assert story.then(8).kind == "train"
    assert story.then(3, Policy(per_week=2)).kind == "train"


def test_the_budget() -> None:
    """A training that crashes and crashes is given up, and counts."""
    begun = Story().wrote(1, "confirm", "train")
    policy = Policy(per_week=2, budget_ms=3_600_000)
    assert begun.then(1.02, policy).kind == "fit"
    step = begun.then(1.05, policy)
    assert step == Step("give_up", "not done within the budget of 1h in 7 days")
    given_up = begun.wrote(1.05, "confirm", "give_up")
    assert given_up.then(1.06, policy) == Step("wait", f"the budget of 1h in 7 days is spent: {WHY}")
    assert given_up.then(8.01, policy).kind == "train"
    # What a training took that is done.
    done = trained()
    done.wrote(2, "shadow", "shadow", shadows=(2,)).wrote(3, "shadow", "drop", shadows=())
    assert done.then(4, Policy(per_week=9, budget_ms=14 * 60_000)).reason.startswith("the budget of 14m")
    assert done.then(4, Policy(per_week=9, budget_ms=15 * 60_000)).kind == "train"


def test_a_freeze_stops_all_but_dropping() -> None:
    policy = Policy(shadow=StageRules(2, 10 * DAY_MS), freeze=((START + DAY_MS, START + 9 * DAY_MS), (0, 1)))
    end = iso(START + 9 * DAY_MS)
    assert Story().then(1, policy) == Step("wait", f"frozen until {end}: train, as {WHY}")
    assert Story().then(0.5, policy).kind == Story().then(9, policy).kind == "train"
    assert (
        trained().then(2, policy).reason == f"frozen until {end}: shadow version 2, as trained for release 2"
    )
    assert shadowing().looked(2, 2, "shadow", "pass", "pass").then(4, policy).kind == "wait"
    assert shadowing().looked(2, 2, "shadow", "fail").then(4, policy).kind == "drop"


def test_a_clock_that_went_back_decides_nothing() -> None:
    step = shadowing().looked(2, 2, "shadow", "pass", "pass").then(0.5)
    assert step.kind == "wait"
    assert step.reason.startswith("the clock is behind release 3, of 2026-03-02T02:24:00.000Z")


def test_people_come_first() -> None:
    """A canary of somebody else, and a release that still wants an approval."""
    theirs = trained().wrote(2, "canary", canary=Canary(version=7, share=0.1, key="card"))
    assert theirs.then(3) == Step("wait", "version 7 is a canary that others began", 7)
    waits = shadowing().looked(2, 2, "shadow", "pass", "pass").then(4, waiting=frozenset({3}))
    assert waits == Step("wait", "release 3 waits for approval")
    later = trained().wrote(2, "promote", champion=5)
    assert later.then(2.5, why=None) == Step("wait", "all is well")


def test_shadows_of_people_are_not_the_loops() -> None:
    story = Story().wrote(1, "shadow", shadows=(9,)).looked(2, 9, "shadow", "fail")
    assert story.then(3) == Step("train", WHY)


def test_a_job_that_takes_its_canary_on_by_itself_is_only_watched() -> None:
    automatic = Policy(canary=CanaryRules(1, 5 * DAY_MS, key="card", automatic=True))
    story = in_canary().looked(4, 2, "canary", "pass")
    assert story.then(5, automatic).kind == "wait"
    story.wrote(5, "canary", canary=Canary(version=2, share=0.5, key="card")).looked(5, 2, "canary", "pass")
    assert story.then(6, automatic).reason == "version 2 as canary: 2 windows"
    assert story.wrote(6, "rollback", canary=None).then(6, automatic, why=None).kind == "wait"


@pytest.mark.parametrize("by", ["ada", "job cards, lifecycle: train now", "lifecycle: train"])
def test_only_the_loop_begins_trainings(by: str) -> None:
    story = Story().wrote(1, "confirm")
    story.records[-1] = ReleaseRecord(
        number=2, champion=1, action="confirm", written_at=iso(START), by=by, at=iso(START)
    )
    assert story.then(2) == Step("train", WHY)


def test_versions_of_others_are_not_the_loops() -> None:
    assert made_by(2, {}, iso(START)) is None
    assert made_by(2, {"retrained_for": {"until": "x"}}, iso(START)) is None
    assert made_by(2, {"retrained_for": {"release": 4}}, iso(START)) == Made(2, 4, START)
    assert State(ReleaseLog(Story().records)).stage is None
    assert BEGINNING < START
