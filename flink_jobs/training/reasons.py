"""All that speaks for or against a training: drift of the champion's records, and its quality.

found = reasons_for(registry, "flight_delay", 1, drift=Asked("flight-delay.drift", RetrainRule(), read))
found.retrain, found.reason, found.until
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.training.decide import RetrainDecision, RetrainRule, decide
from flink_jobs.training.decide_quality import QualityDecision, QualityRule, decide_quality
from flink_jobs.training.splits import parse_time
from udfs.drift.records import DriftRecord
from udfs.errors import ModelError
from udfs.model.manifest import PROFILE_FILE
from udfs.quality.records import QualityRecord
from udfs.store import open_store

Record = TypeVar("Record", DriftRecord, QualityRecord)
Rule = TypeVar("Rule", RetrainRule, QualityRule)


@dataclass(frozen=True)
class Asked(Generic[Record, Rule]):
    """Where records are from, by which rule to decide on them, and of which job, if there are several."""

    source: str
    rule: Rule
    read: Callable[[], Sequence[Record]]
    job: str | None = None


AskedDrift = Asked[DriftRecord, RetrainRule]
AskedQuality = Asked[QualityRecord, QualityRule]


@dataclass(frozen=True)
class Reasons:
    """What each of those that were asked says; one of them is enough."""

    drift: RetrainDecision | None = None
    quality: QualityDecision | None = None

    @property
    def retrain(self) -> bool:
        return any(each.retrain for each in self._asked)

    @property
    def reason(self) -> str:
        """Of those that want a training, or else of all."""
        wanted = [each.reason for each in self._asked if each.retrain]
        return "; ".join(wanted or [each.reason for each in self._asked])

    @property
    def until(self) -> str | None:
        """The end of the last window that counted."""
        times = [each.until for each in self._asked if each.until]
        return max(times, key=lambda text: parse_time(text, "until"), default=None)

    @property
    def known(self) -> int:
        """How many windows of drift the newest version had seen."""
        return self.drift.known if self.drift else 0

    @property
    def _asked(self) -> list[RetrainDecision | QualityDecision]:
        return [each for each in (self.quality, self.drift) if each]

    def record(self) -> dict[str, Any]:
        """For the manifest and for programs."""
        drift = self.drift.record() if self.drift else {"windows": []}
        quality = self.quality.record() if self.quality else None
        return {**drift, "reason": self.reason, "until": self.until, "quality": quality}


def reasons_for(
    registry: Registry,
    name: str,
    version: int,
    drift: AskedDrift | None = None,
    quality: AskedQuality | None = None,
) -> Reasons:
    """Decides about a version that is champion, on the records as they are now.

    Raises InputError where there is no profile, reference or record to decide by.
    """
    after = known_until(registry, name)
    of_drift = of_quality = None
    if drift:
        importance = importance_of(registry, name, version)
        records = chosen(drift, name)
        of_drift = decide(records, drift.rule, version=version, importance=importance, after=after)
    if quality:
        tested = registry.manifest(name, version).metrics
        found = chosen(quality, name)
        of_quality = decide_quality(found, quality.rule, version=version, tested=tested, after=after)
    return Reasons(of_drift, of_quality)


def chosen(asked: Asked[Record, Rule], model: str) -> list[Record]:
    """The records of the model, and of the job if one is named."""
    found = [record for record in asked.read() if record.model == model]
    if asked.job is None:
        return found
    jobs = sorted({record.job for record in found})
    if asked.job not in jobs:
        known = ", ".join(jobs) or "none"
        raise InputError(f"the job must be one of {asked.source} ({known}); got {asked.job!r}")
    return [record for record in found if record.job == asked.job]


def importance_of(registry: Registry, name: str, version: int) -> dict[str, float]:
    """The inputs' importance as the version's reference profile has it; it sums to 1."""
    place = registry.location(name, version)
    try:
        profile: dict[str, Any] = json.loads(open_store(place).read(PROFILE_FILE))
    except (OSError, ValueError, ModelError) as error:
        raise InputError(f"{name} version {version} must have a reference profile; {error}") from None
    found: dict[str, float] = profile.get("importance", {})
    return found


def known_until(registry: Registry, name: str) -> datetime | None:
    """How far in event time the newest version has seen: its data, or the windows it was trained for."""
    training = registry.manifest(name, registry.versions(name)[-1]).training
    times = [training.get("last_event"), training.get("retrained_for", {}).get("until")]
    return max((parse_time(text, "the newest version's time") for text in times if text), default=None)
