"""The loop of a job: its policy, its topics or files, and its model's train.py.

loop = loop_of(job, Sources(), settings, show, signing=None)
loop.advance(now_ms)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings
from flink_jobs.lifecycle.advance import Loop
from flink_jobs.lifecycle.steps import CanaryRules, Policy, StageRules
from flink_jobs.plan.model import release_trust_of, trust_of
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import DEFAULT_LEAD_MS, Releases, Signing
from flink_jobs.reports.comparisons import read_comparisons
from flink_jobs.reports.drift.reader import read as read_drift
from flink_jobs.reports.quality.reader import read as read_quality
from flink_jobs.spec import JobSpec, Lifecycle
from flink_jobs.training.contract import Trainer, load_trainer
from flink_jobs.training.data import ComputeFeatures, features_on_flink
from flink_jobs.training.decide import RetrainRule
from flink_jobs.training.decide_quality import QualityRule
from flink_jobs.training.reasons import AskedDrift, AskedQuality, Reasons, reasons_for
from flink_jobs.training.retrain import for_reasons
from flink_jobs.training.run import TrainingSettings, train
from flink_jobs.training.search import Limits
from flink_jobs.training.show import Show
from udfs.drift.records import DriftRecord
from udfs.errors import ModelError, StoreError
from udfs.model.loading import check_trust, load_version
from udfs.model.trial import check_survives
from udfs.quality.records import QualityRecord
from udfs.releases.follow import LEAD_REFRESHES
from udfs.rollout.records import ComparisonRecord
from udfs.store import open_store
from udfs.store.base import is_uri
from udfs.times import now_ms, parse_time


@dataclass(frozen=True)
class Sources:
    """Files to read in the place of the job's topics; None: the topic."""

    comparisons: str | None = None
    drift: str | None = None
    quality: str | None = None


def loop_of(
    job: JobSpec,
    sources: Sources,
    kafka: ClientSettings,
    show: Show,
    settings: TrainingSettings | None = None,
    signing: Signing | None = None,
    features: ComputeFeatures = features_on_flink,
    clock: Callable[[], int] = now_ms,
) -> Loop:
    """`clock` gives the time of day (ms) of versions and releases.

    Raises InputError where the job has no policy, or its releases want a key that is not there.
    """
    lifecycle = lifecycle_of(job)
    if job.model.require_signature and signing is None:
        raise InputError(
            f"job {job.job} follows signed releases only (model.require_signature); give the key of a "
            "releaser (--sign-with)"
        )
    name = job.model.name
    registry = Registry(job.model.registry, lambda: datetime.fromtimestamp(clock() / 1000, UTC))
    trust = msgspec.structs.replace(release_trust_of(job), max_age_ms=None)
    asked = _asked(job, lifecycle, sources, kafka)
    training = replace(settings or TrainingSettings(), limits=_limits(lifecycle))

    def compared() -> Sequence[ComparisonRecord]:
        source = sources.comparisons or (job.comparisons.topic if job.comparisons else "")
        return [r for r in read_comparisons(source, kafka) if (r.job, r.model) == (job.job, name)]

    def judge(champion: int) -> Reasons:
        return reasons_for(registry, name, champion, *asked)

    def fit(reasons: Reasons, champion: int, release: int) -> int:
        trainer = trainer_of(job)
        read = ", ".join(each.source for each in asked if each)
        chosen = for_reasons(trainer, training, reasons, read, champion)
        why = {**(chosen.why or {}), "release": release}
        return train(trainer, registry, replace(chosen, why=why), show, features).version

    return Loop(
        policy_of(job),
        job.job,
        name,
        registry,
        Releases(registry, name, clock, signing=signing, trust=trust),
        compared,
        judge,
        fit,
        partial(_unusable, job, registry),
        max(DEFAULT_LEAD_MS, LEAD_REFRESHES * job.model.refresh),
    )


def lifecycle_of(job: JobSpec) -> Lifecycle:
    """Raises InputError for a job whose releases nobody follows, or that leaves them to people."""
    if job.lifecycle is None:
        raise InputError(f"job {job.job} must have a lifecycle section, which says what to do when")
    return job.lifecycle


def policy_of(job: JobSpec) -> Policy:
    """What the loop may do, and when."""
    lifecycle = lifecycle_of(job)
    shadow, canary, train_again = lifecycle.shadow, lifecycle.canary, lifecycle.train
    automatic = bool(job.comparisons and job.comparisons.automatic)
    return Policy(
        train_again.per_week,
        train_again.budget,
        StageRules(shadow.windows, shadow.at_most),
        CanaryRules(canary.windows, canary.at_most, canary.share, canary.key, automatic) if canary else None,
        tuple((parse_time(each.start), parse_time(each.end)) for each in lifecycle.freeze),
    )


def model_dir(job: JobSpec) -> Path:
    """The folder with train.py. Raises InputError where that is for the job file to say."""
    given = lifecycle_of(job).train.model_dir
    if given is not None:
        return given
    if is_uri(str(job.model.registry)):
        raise InputError(
            f"lifecycle.train.model_dir must be given, the folder with train.py: {job.model.registry} is "
            "no folder of this machine"
        )
    return Path(job.model.registry) / job.model.name


def trainer_of(job: JobSpec) -> Trainer:
    """Raises InputError unless it trains the model of the job."""
    trainer = load_trainer(model_dir(job))
    if trainer.name != job.model.name:
        raise InputError(f"{model_dir(job)} must train {job.model.name}; it trains {trainer.name}")
    return trainer


def _limits(lifecycle: Lifecycle) -> Limits:
    """Without trials there is no search, and nothing that a time could end."""
    trials = lifecycle.train.trials
    return Limits(trials, lifecycle.train.budget / 1000 if trials else None)


def _asked(
    job: JobSpec, lifecycle: Lifecycle, sources: Sources, kafka: ClientSettings
) -> tuple[AskedDrift | None, AskedQuality | None]:
    drift = quality = None
    if lifecycle.train.drift and job.drift:
        place = sources.drift or job.drift.topic
        drift = AskedDrift(
            place, RetrainRule(**lifecycle.train.drift.model_dump()), partial(_drift, job, place, kafka)
        )
    if lifecycle.train.quality and job.quality:
        at = sources.quality or job.quality.topic
        quality = AskedQuality(
            at, QualityRule(**lifecycle.train.quality.model_dump()), partial(_quality, job, at, kafka)
        )
    return drift, quality


def _drift(job: JobSpec, source: str, kafka: ClientSettings) -> Sequence[DriftRecord]:
    return [record for record in read_drift(source, kafka).drift if record.job == job.job]


def _quality(job: JobSpec, source: str, kafka: ClientSettings) -> Sequence[QualityRecord]:
    return [record for record in read_quality(source, kafka) if record.job == job.job]


def _unusable(job: JobSpec, registry: Registry, version: int) -> str | None:
    """Why the job's workers would not load a version: signature, format, or what its golden rows say."""
    place = registry.location(job.model.name, version)
    try:
        store = open_store(place)
        check_trust(store, registry.manifest(job.model.name, version), trust_of(job))
        check_survives(place)
        load_version(place)
    except (ModelError, StoreError) as error:
        return str(error)
    return None
