"""What the UDFs of a job are told: its contract, features, model and output as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from flink_jobs.plan.columns import JobColumns, ModelInput, vector_parts, vectors_of
from flink_jobs.plan.drift import DriftPlan
from flink_jobs.plan.formats import beside_of, contract_of, format_params
from flink_jobs.plan.lookups import database_params
from flink_jobs.plan.model import release_trust_of, trust_of
from flink_jobs.plan.personal import Labels
from flink_jobs.plan.tables import event_time_field
from flink_jobs.plan.topics import compared_labels
from flink_jobs.spec import Comparisons, JobSpec
from udfs.features import DerivedParams, FeatureParams, LookupParams
from udfs.records.personal import PrivacyParams
from udfs.releases.chain import Head
from udfs.releases.follow import LEAD_REFRESHES
from udfs.rollout.controller import RolloutControllerParams
from udfs.rollout.gate import Automatic, Gate
from udfs.scoring.params import (
    RECORD_CONTEXT,
    DeadRate,
    FollowParams,
    ModelParams,
    OutputParams,
    RolloutParams,
    SourceParams,
)
from udfs.store.artifacts import SCHEME, artifact_name


@dataclass(frozen=True)
class FoundVersion:
    """Where a version is, in the model's folder, and what says that it is used.

    `head` is the newest entry of the release log, where it is signed.
    """

    folder: str
    model_folder: str
    digest: str
    release: int | None
    head: Head | None = None


WINDOW_CONTEXT = (("window_start", "_window_start"), ("window_end", "_window_end"), ("records", "_records"))


def source_params(
    job: JobSpec,
    privacy: PrivacyParams,
    drift: DriftPlan | None = None,
    *,
    limited: bool = False,
    columns: JobColumns | None = None,
) -> SourceParams:
    """How workers read and check the source's records; if `limited`, until too many are refused.

    Of `columns` they make those of lists, and check the rules.
    """
    source = job.source
    return SourceParams(
        topic=source.topic,
        contract=contract_of(source),
        max_bytes=source.max_bytes,
        event_time=event_time_field(job),
        counted=drift.collect if drift else None,
        written=format_params(job),
        privacy=privacy,
        max_dead=_max_dead(job) if limited else None,
        beside=beside_of(source),
        accounts_of=job.job if job.accounting else None,
        taken=columns.taken if columns else (),
        rules=columns.rules if columns else (),
        vectors=vectors_of(job),
    )


def _max_dead(job: JobSpec) -> DeadRate | None:
    asked = job.dead_letters
    if asked.max_rate is None or asked.then != "stop":
        return None
    return DeadRate(asked.max_rate, asked.over, asked.topic)


def feature_params(job: JobSpec, columns: JobColumns) -> FeatureParams:
    """What a worker needs for lookups and derived features."""
    along = job.runtime.artifacts is not None
    lookups = tuple(
        LookupParams(
            path=_path(lookup.file, along=along),
            by=lookup.by[0],
            key=lookup.key[0],
            select=lookup.columns,
            types={name: columns[name].type for name in lookup.select},
            database=database_params(lookup),
        )
        for lookup in job.features.lookups.values()
        if lookup.kind != "topic"
    )
    return FeatureParams(lookups, tuple(DerivedParams(name, e.tree) for name, e in columns.derived))


def _path(file: Path | str | None, *, along: bool) -> str:
    """Of what goes along, the name of its content; and none for a lookup without a file."""
    if file is None or isinstance(file, str):
        return file or ""
    return f"{SCHEME}{artifact_name(file.read_bytes(), file.suffix)}" if along else str(file)


def model_params(
    job: JobSpec, version: FoundVersion, inputs: tuple[ModelInput, ...], columns: JobColumns, labels: Labels
) -> ModelParams:
    """With `use: champion` the release log decides later on, so workers are told of all columns."""
    matched = tuple((item.name, item.column.name, item.type) for item in inputs)
    follow = None
    if job.model.use == "champion":
        renamed = dict(job.model.inputs)
        wanted = set(job.drift.columns) if job.drift else set()
        watched = {renamed.get(name, name) for name in wanted} or set(columns.columns)
        follow = FollowParams(
            job.model.name,
            version.model_folder,
            dict(columns.columns),
            renamed,
            job.model.refresh,
            frozenset(watched - labels.keys() - vector_parts(job).keys()),
            bool(wanted),
            frozenset(vector_parts(job).keys() - labels.keys()) if job.drift else frozenset(),
            msgspec.structs.replace(release_trust_of(job), pinned=version.head),
        )
    return ModelParams(
        version.folder,
        version.digest,
        version.release,
        matched,
        job.model.threshold,
        trust_of(job),
        follow,
    )


def rollout_params(job: JobSpec) -> RolloutParams | None:
    """What a worker counts for comparisons; None without them."""
    if job.comparisons is None or job.shadows is None:
        return None
    return RolloutParams(job.comparisons.window, job.shadows.timeout)


def gate_of(job: JobSpec, compared: Comparisons) -> Gate:
    """What the gate asks; nothing of quality without labels.

    What a lifecycle trains again is to say something else: where labels tell whether that is right, its
    scores may be as far from the champion's as they like, unless the job file says how far.
    """
    gate = Gate(**compared.gate.model_dump())
    if not compared_labels(job):
        return msgspec.structs.replace(gate, quality=None)
    asked = "drift" in compared.gate.model_fields_set
    judged = job.lifecycle is not None and gate.quality is not None and not asked
    return msgspec.structs.replace(gate, drift=None) if judged else gate


def rollout_controller_params(job: JobSpec, model_folder: str) -> RolloutControllerParams | None:
    """What compares the versions of each window is told; None without `comparisons`."""
    compared = job.comparisons
    if compared is None:
        return None
    automatic = compared.automatic
    return RolloutControllerParams(
        job=job.job,
        model=job.model.name,
        folder=model_folder,
        window_ms=compared.window,
        lead_ms=LEAD_REFRESHES * job.model.refresh,
        idle_ms=compared.idle,
        gate=gate_of(job, compared),
        automatic=Automatic(tuple(automatic.steps), automatic.windows) if automatic else None,
    )


def output_params(job: JobSpec) -> OutputParams:
    """What a worker writes of a prediction."""
    return OutputParams(
        include=tuple(job.predictions.include),
        context=RECORD_CONTEXT if job.score == "per_event" else WINDOW_CONTEXT,
        explain=job.predictions.explain,
        max_bytes=job.predictions.max_bytes,
        headers=tuple(job.predictions.headers),
    )
