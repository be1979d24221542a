"""What is known when the next step is decided: the release log, versions, the gate's words, why to train.

All that the loop remembers is in the release log and in the manifests, so that it can be killed anywhere. Its
entries say `job NAME, lifecycle: STEP` in `by`. A training that begins is an entry, too, which changes
nothing (`confirm`); the version that comes of it names the entry (`training.retrained_for.release`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from udfs.releases.log import BEGINNING, ReleaseLog, ReleaseRecord
from udfs.rollout.events import Role
from udfs.rollout.records import ComparisonRecord, Outcome
from udfs.times import parse_time

Kind = Literal["wait", "train", "fit", "give_up", "shadow", "canary", "promote", "drop"]
_MARK = re.compile(r"job .*, lifecycle: ([a-z_]+)\Z", re.DOTALL)


def mark(job: str, kind: Kind) -> str:
    """Who wrote an entry of the release log: this job's loop."""
    return f"job {job}, lifecycle: {kind}"


@dataclass(frozen=True)
class Made:
    """A version that the loop trained. `release` is the entry with which its training began."""

    version: int
    release: int
    created_ms: int


@dataclass(frozen=True)
class Look:
    """What the gate said of a version at the end of a window of comparisons."""

    version: int
    role: Role
    start_ms: int
    end_ms: int
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """A training from its entry to its version, to when it was given up, or still open (`end_ms` None)."""

    release: int
    begin_ms: int
    end_ms: int | None

    def took(self, now_ms: int) -> int:
        """Milliseconds so far; a clock that went back takes nothing away."""
        return max((now_ms if self.end_ms is None else self.end_ms) - self.begin_ms, 0)


@dataclass(frozen=True)
class Stage:
    """A version that scores beside the champion, in which role, since when in event time."""

    version: int
    role: Role
    since_ms: int


@dataclass(frozen=True)
class State:
    """`why` is the reason to train, None without; `quiet` is why not. `until_ms`: end of the last window."""

    log: ReleaseLog
    made: tuple[Made, ...] = ()
    looks: tuple[Look, ...] = ()
    until_ms: int | None = None
    why: str | None = None
    quiet: str = ""

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """All trainings of the loop, the oldest first."""
        ended = {made.release: made.created_ms for made in reversed(self.made)}
        begun: list[ReleaseRecord] = []
        for record in self.log.records:
            if (kind := _kind(record)) == "train":
                begun.append(record)
            elif kind == "give_up" and begun:
                ended.setdefault(begun[-1].number, parse_time(record.written_at))
        return tuple(Attempt(r.number, parse_time(r.written_at), ended.get(r.number)) for r in begun)

    @cached_property
    def tried(self) -> frozenset[int]:
        """All versions that the log has ever named: what was dropped is not tried again."""
        named = {version for record in self.log.records for version in record.versions}
        return frozenset(named | self.log.withdrawn)

    @cached_property
    def candidates(self) -> tuple[Made, ...]:
        """Of each training the first version that came of it; two machines may have run it."""
        firsts: dict[int, Made] = {}
        for made in self.made:
            firsts.setdefault(made.release, made)
        return tuple(firsts.values())

    @cached_property
    def stage(self) -> Stage | None:
        """The loop's version that is canary or shadow now; None where there is none."""
        own = {made.version for made in self.candidates}
        last = self.log.last
        if last.canary:
            found = last.canary.version
            return Stage(found, "canary", self._since(found, "canary")) if found in own else None
        shadows = [version for version in last.shadows if version in own]
        return Stage(shadows[-1], "shadow", self._since(shadows[-1], "shadow")) if shadows else None

    @cached_property
    def untried(self) -> Made | None:
        """The newest version of the loop that has not been tried, unless a later one is champion."""
        left = [m for m in self.candidates if m.version not in self.tried]
        newest = max(left, key=lambda made: made.version, default=None)
        return newest if newest and newest.version > self.log.last.champion else None

    @property
    def is_busy(self) -> bool:
        """Whether there is a version on its way, so that no training would begin."""
        return bool(self.stage or self.log.last.canary or self.untried)

    def _since(self, version: int, role: Role) -> int:
        since = BEGINNING
        for record in reversed(self.log.records):
            if record.number in self.log.waiting:
                continue
            canary = record.canary.version if record.canary else None
            if version not in (record.shadows if role == "shadow" else (canary,)):
                break
            since = record.at_ms
        return since


def _kind(record: ReleaseRecord) -> str | None:
    """Of an entry that changes nothing, which step of a loop it was."""
    found = _MARK.match(record.by) if record.action == "confirm" else None
    return found[1] if found else None


def looks_of(records: Iterable[ComparisonRecord]) -> tuple[Look, ...]:
    """What the gate said in each window, by its start; of one that is there twice the later record holds."""
    found: dict[tuple[int, int, Role], Look] = {}
    for record in records:
        gate = record.gate
        if gate is None or gate.role is None:
            continue
        start, end = parse_time(record.window.start), parse_time(record.window.end)
        look = Look(gate.version, gate.role, start, end, gate.outcome, gate.reasons)
        found[start, gate.version, gate.role] = look
    return tuple(sorted(found.values(), key=lambda look: look.start_ms))


def newest_end(records: Sequence[ComparisonRecord]) -> int | None:
    """The end of the last window, whoever scored in it."""
    return max((parse_time(record.window.end) for record in records), default=None)


def made_by(version: int, training: Mapping[str, Any], created_at: str) -> Made | None:
    """From a manifest; None of a version that the loop did not train."""
    why = training.get("retrained_for")
    release = why.get("release") if isinstance(why, dict) else None
    return Made(version, release, parse_time(created_at)) if isinstance(release, int) else None
