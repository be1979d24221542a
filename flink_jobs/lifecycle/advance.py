"""Takes the steps that are due, one after the other, until there is nothing to do but wait.

loop = Loop(policy, "flight-delay", "flight_delay", registry, releases, compared, judge, fit)
loop.advance(now_ms)        # [Taken(step, release), …]; the last one waits

Safe to call as often as one likes, from several places: a step is written only on top of the log that it was
decided on (`Activation.after`), and nothing is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flink_jobs.lifecycle.state import Kind, Made, State, looks_of, made_by, mark, newest_end
from flink_jobs.lifecycle.steps import Policy, Step, next_step
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import DEFAULT_LEAD_MS, Activation, OvertakenError, Releases
from flink_jobs.training.reasons import Reasons
from udfs.errors import ModelError
from udfs.releases.log import BEGINNING, ReleaseLog, ReleaseRecord
from udfs.rollout.records import ComparisonRecord


@dataclass(frozen=True)
class Taken:
    """A step, with the release that it wrote, or the version that a training registered."""

    step: Step
    release: int | None = None
    trained: int | None = None


Compared = Callable[[], Sequence[ComparisonRecord]]
"""Reads all comparisons of the job."""
Judge = Callable[[int], Reasons]
"""Reads what speaks for or against a training; is given the champion."""
Fit = Callable[[Reasons, int, int], int]
"""Trains: is given the reasons, the champion, and the entry that `retrained_for.release` must name."""
Usable = Callable[[int], str | None]
"""Why a version cannot be used, None if it can."""


@dataclass(frozen=True)
class Loop:
    """The life of one model, as one job's policy has it."""

    policy: Policy
    job: str
    model: str
    registry: Registry
    releases: Releases
    compared: Compared
    judge: Judge
    fit: Fit
    usable: Usable = lambda _: None
    lead_ms: int = DEFAULT_LEAD_MS

    def advance(self, clock: Callable[[], int], *, dry_run: bool = False) -> list[Taken]:
        """All steps that are due, the last of which waits; with `dry_run` only the first, which is not taken.

        Raises InputError without a champion, or for a log that is not true.
        """
        taken: list[Taken] = []
        while True:
            state, reasons = self.state()
            step = self._with_usable(next_step(self.policy, state, clock()))
            if step.kind == "wait" or dry_run:
                return [*taken, Taken(step)]
            try:
                taken.append(self._take(step, state, reasons))
            except OvertakenError:
                continue

    def state(self) -> tuple[State, Reasons]:
        """As it is now. While a version is on its way nobody asks for reasons, nor stumbles over them."""
        log, compared = self._log(), self.compared()
        state = State(log, self._made(), looks_of(compared), newest_end(compared))
        if state.is_busy:
            return state, Reasons()
        reasons = self.judge(log.last.champion)
        why = reasons.reason if reasons.retrain else None
        return replace(state, why=why, quiet=reasons.reason), reasons

    def _log(self) -> ReleaseLog:
        log = self.releases.log()
        if log is None:
            raise ModelError(f"model {self.model} has no champion")
        return log

    def _made(self) -> tuple[Made, ...]:
        found = []
        for version in self.registry.versions(self.model):
            manifest = self.registry.manifest(self.model, version)
            if made := made_by(version, manifest.training, manifest.created_at):
                found.append(made)
        return tuple(found)

    def _with_usable(self, step: Step) -> Step:
        """A version that cannot be loaded is dropped; before it scores it waits for a person."""
        if step.kind not in ("shadow", "canary", "promote") or step.version is None:
            return step
        why = self.usable(step.version)
        if why is None:
            return step
        kind: Kind = "wait" if step.kind == "shadow" else "drop"
        return Step(kind, f"version {step.version} cannot be used: {why}", step.version)

    def _take(self, step: Step, state: State, reasons: Reasons) -> Taken:
        last = state.log.last
        if step.kind == "fit":
            begun = state.attempts[-1].release
            return Taken(step, trained=self.fit(reasons, last.champion, begun))
        return Taken(step, self._write(step, state).number)

    def _write(self, step: Step, state: State) -> ReleaseRecord:
        last, version = state.log.last, step.version
        moment = self._moment(step, state)
        if step.kind in ("train", "give_up") or version is None:
            return self.releases.confirm(moment)
        if step.kind == "shadow":
            return self.releases.shadow((*last.shadows, version), moment)
        if step.kind == "canary" and (canary := self.policy.canary):
            return self.releases.canary(version, canary.share, canary.key, moment)
        if step.kind == "promote":
            return self.releases.promote(version, moment)
        if last.canary:
            return self.releases.rollback(moment)
        return self.releases.shadow(tuple(v for v in last.shadows if v != version), moment)

    def _moment(self, step: Step, state: State) -> Activation:
        """Never before that of the newest release, which it builds upon: a clock may have gone back."""
        newest = state.log.records[-1]
        floor = newest.at_ms if newest.at_ms != BEGINNING else None
        return Activation(
            floor_ms=floor,
            lead_ms=self.lead_ms,
            reason=step.reason,
            by=mark(self.job, step.kind),
            after=newest.number,
        )
