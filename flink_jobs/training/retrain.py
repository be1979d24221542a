"""Training again if drift says so: what a scheduler calls, as often as it likes.

outcome = retrain_if_drifted(trainer, registry, records, Retraining("flight-delay.drift"), settings, show)
outcome.manifest      # None when there was nothing to do
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import ComputeFeatures, features_on_flink
from flink_jobs.training.decide import RetrainDecision, RetrainRule, decide
from flink_jobs.training.run import TrainingSettings, train
from flink_jobs.training.show import Show
from flink_jobs.training.splits import parse_time
from flink_jobs.training.version import champion
from udfs.drift.records import DriftRecord
from udfs.errors import ModelError
from udfs.model.manifest import PROFILE_FILE, Manifest
from udfs.store import open_store


@dataclass(frozen=True)
class Retraining:
    """Where the drift records are from, by which rule to decide, and of which job to look at."""

    source: str
    rule: RetrainRule = field(default_factory=RetrainRule)
    job: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class RetrainOutcome:
    """What was decided about the champion, and the version that was trained, if one was."""

    decision: RetrainDecision
    champion: int
    manifest: Manifest | None


def retrain_if_drifted(
    trainer: Trainer,
    registry: Registry,
    read: Callable[[], Sequence[DriftRecord]],
    retraining: Retraining,
    settings: TrainingSettings,
    show: Show,
    features: ComputeFeatures = features_on_flink,
) -> RetrainOutcome:
    """Decides, and trains where that is the decision. The records are read when it is this one's turn."""
    version = champion(registry, trainer.name)
    if version is None:
        raise InputError(f"model {trainer.name} must have a champion to be retrained; train it first")
    decision = decide(
        chosen(read(), trainer.name, retraining),
        retraining.rule,
        version=version,
        importance=importance_of(registry, trainer.name, version),
        after=known_until(registry, trainer.name),
    )
    if not decision.retrain or retraining.dry_run:
        return RetrainOutcome(decision, version, None)
    why = {"source": retraining.source, "champion": version, **decision.record()}
    settings = replace(settings, why=why, test_from=_test_from(trainer, settings, decision))
    return RetrainOutcome(decision, version, train(trainer, registry, settings, show, features))


def chosen(records: Sequence[DriftRecord], model: str, retraining: Retraining) -> list[DriftRecord]:
    """The records of the model, and of the job if one is named."""
    found = [record for record in records if record.model == model]
    if retraining.job is None:
        return found
    jobs = sorted({record.job for record in found})
    if retraining.job not in jobs:
        known = ", ".join(jobs) or "none"
        raise InputError(f"the job must be one of {retraining.source} ({known}); got {retraining.job!r}")
    return [record for record in found if record.job == retraining.job]


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


def _test_from(trainer: Trainer, settings: TrainingSettings, decision: RetrainDecision) -> str | None:
    """A split between training and test moves on to the end of the windows: what drifted must be learnt."""
    given = settings.test_from or trainer.test_from
    if given is None or decision.until is None:
        return given
    return max(given, decision.until, key=lambda text: parse_time(text, "test_from"))


@contextmanager
def alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """One training of a model at a time: the next waits, and then decides on what it finds."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
