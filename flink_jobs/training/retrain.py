"""Training again if drift or quality says so: what a scheduler calls, as often as it likes.

drift = Asked("flight-delay.drift", RetrainRule(), read)
outcome = retrain_if_needed(trainer, registry, Retraining(drift), settings, show)
outcome.manifest      # None when there was nothing to do
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import ComputeFeatures, features_on_flink
from flink_jobs.training.reasons import AskedDrift, AskedQuality, Reasons, reasons_for
from flink_jobs.training.run import TrainingSettings, train
from flink_jobs.training.show import Show
from flink_jobs.training.splits import parse_time
from flink_jobs.training.version import champion
from udfs.model.manifest import Manifest


@dataclass(frozen=True)
class Retraining:
    """What is asked; the records are read when it is this one's turn."""

    drift: AskedDrift | None = None
    quality: AskedQuality | None = None
    dry_run: bool = False

    @property
    def sources(self) -> str:
        """Where the records are from."""
        return ", ".join(asked.source for asked in (self.drift, self.quality) if asked)


@dataclass(frozen=True)
class RetrainOutcome:
    """What was decided about the champion, and the version that was trained, if one was."""

    decision: Reasons
    champion: int
    manifest: Manifest | None


def retrain_if_needed(
    trainer: Trainer,
    registry: Registry,
    retraining: Retraining,
    settings: TrainingSettings,
    show: Show,
    features: ComputeFeatures = features_on_flink,
) -> RetrainOutcome:
    """Decides, and trains where that is the decision."""
    version = champion(registry, trainer.name)
    if version is None:
        raise InputError(f"model {trainer.name} must have a champion to be retrained; train it first")
    decision = reasons_for(registry, trainer.name, version, retraining.drift, retraining.quality)
    if not decision.retrain or retraining.dry_run:
        return RetrainOutcome(decision, version, None)
    settings = for_reasons(trainer, settings, decision, retraining.sources, version)
    return RetrainOutcome(decision, version, train(trainer, registry, settings, show, features))


def for_reasons(
    trainer: Trainer, settings: TrainingSettings, decision: Reasons, source: str, version: int
) -> TrainingSettings:
    """The settings of a training for that reason, which its manifest will hold."""
    why = {"source": source, "champion": version, **decision.record()}
    return replace(settings, why=why, test_from=_test_from(trainer, settings, decision))


def _test_from(trainer: Trainer, settings: TrainingSettings, decision: Reasons) -> str | None:
    """A split between training and test moves on to the end of the windows: what changed must be learnt."""
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
