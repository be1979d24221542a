"""From a job file and a model version to all that will run, as plain text and data. Needs no Flink.

plan = make_plan(job)
plan.tables, plan.views.views, plan.views.inserts, plan.options
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.errors import InputError
from flink_jobs.jobfile.references import KEY_TYPES
from flink_jobs.plan import sql
from flink_jobs.plan.columns import JobColumns, ModelInput, job_columns, match_inputs
from flink_jobs.plan.drift import DriftPlan, drift_plan, webhook_params
from flink_jobs.plan.flink_options import flink_options
from flink_jobs.plan.label_views import with_labels
from flink_jobs.plan.params import (
    FoundVersion,
    feature_params,
    model_params,
    output_params,
    rollout_controller_params,
    rollout_params,
    source_params,
    trust_of,
)
from flink_jobs.plan.tables import kafka_tables
from flink_jobs.plan.topics import labels_of
from flink_jobs.plan.views import Views, make_views
from flink_jobs.registry import Registry, Release
from flink_jobs.spec import OPTIONAL_SUFFIXES, JobSpec
from udfs.alerts.webhook import WebhookParams
from udfs.errors import ModelError, StoreError
from udfs.model.explain import EXPLAINED, explainer
from udfs.model.loading import LoadedModel, check_trust, load_version
from udfs.model.manifest import GOLDEN_FILE, Manifest, digest, read_manifest
from udfs.model.signatures import ANYONE, Trust
from udfs.rollout.controller import RolloutControllerParams
from udfs.scoring.params import PREDICTION_FIELDS, OutputParams, ScoreParams
from udfs.store import open_store


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """What Flink runs: `tables` are Kafka topics, `views` the way between them."""

    job: JobSpec
    columns: JobColumns
    tables: tuple[sql.Table, ...]
    views: Views
    options: Mapping[str, str] = field(repr=False)
    drift: DriftPlan | None = field(default=None, repr=False)
    controller: RolloutControllerParams | None = field(default=None, repr=False)
    webhook: WebhookParams | None = field(default=None, repr=False)
    bounded: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan(Runnable):
    """A job that scores; `inputs` is what feeds the model."""

    manifest: Manifest
    release: Release
    inputs: tuple[ModelInput, ...]


def make_plan(job: JobSpec, *, bounded: bool = False) -> Plan:
    """Compiles the job. Raises InputError when the model, a lookup or an expression does not fit."""
    registry = Registry(job.model.registry)
    release = registry.resolve(job.model.name, job.model.use)
    folder = registry.location(job.model.name, release.version)
    manifest = _read(folder, trust_of(job))
    columns = job_columns(job)
    _check_included(job, columns)
    _check_labels(job, columns, manifest)
    if job.predictions.explain:
        check_explainable(folder, trust_of(job))
    inputs = match_inputs(manifest, columns, job.model.inputs)
    model_folder = registry.model_location(job.model.name)
    followed = model_folder if job.model.use == "champion" else None
    drift = drift_plan(job, manifest, folder, inputs, columns, followed)
    found = FoundVersion(folder, model_folder, digest(manifest), release.number)
    params = ScoreParams(
        source_params(job, drift),
        feature_params(job, columns),
        model_params(job, found, inputs, columns),
        output_params(job),
        drift.collect if drift else None,
        rollout_params(job),
    )
    return Plan(
        job=job,
        manifest=manifest,
        release=release,
        columns=columns,
        inputs=inputs,
        tables=kafka_tables(job, bounded=bounded),
        views=with_labels(job, make_views(job, columns, params)),
        options=flink_options(job),
        drift=drift,
        controller=rollout_controller_params(job, model_folder),
        webhook=webhook_params(job.alerts),
        bounded=bounded,
    )


def make_feature_plan(job: JobSpec, features: Sequence[str]) -> Runnable:
    """The job up to its model, which need not exist: bounded, its predictions are the named columns.

    Personal data is as the model would get it, not hashed. Raises InputError for other names.
    """
    columns = job_columns(job)
    for name in features:
        if name not in columns.columns:
            known = ", ".join(columns.columns)
            raise InputError(f"features must be columns of the job ({known}); got {name!r}")
    job = job.model_copy(update=dict.fromkeys(OPTIONAL_SUFFIXES))
    params = ScoreParams(
        source_params(job),
        feature_params(job, columns),
        None,
        OutputParams(tuple(features), output_params(job).context),
    )
    return Runnable(
        job=job,
        columns=columns,
        tables=kafka_tables(job, bounded=True),
        views=make_views(job, columns, params),
        options=flink_options(job),
        bounded=True,
    )


def _read(folder: str, trust: Trust) -> Manifest:
    try:
        store = open_store(folder)
        manifest = read_manifest(store)
        check_trust(store, manifest, trust)
    except (ModelError, StoreError) as error:
        raise InputError(str(error)) from error
    return manifest


def _check_included(job: JobSpec, columns: JobColumns) -> None:
    for name in job.predictions.include:
        if name not in columns.columns:
            known = ", ".join(columns.columns)
            raise InputError(f"predictions.include must name columns of the job ({known}); got {name!r}")
        if name in PREDICTION_FIELDS:
            raise InputError(
                f"predictions.include must not name a field that every prediction has; got {name!r}; "
                "derive a column with another name from it"
            )


def _check_labels(job: JobSpec, columns: JobColumns, manifest: Manifest) -> None:
    labels = labels_of(job)
    if labels is None:
        return
    if labels.on not in columns.columns:
        known = ", ".join(columns.columns)
        raise InputError(f"comparisons.labels.on must be a column of the job ({known}); got {labels.on!r}")
    if (kind := columns[labels.on].type) not in KEY_TYPES:
        raise InputError(f"comparisons.labels.on must be a string, long or boolean; {labels.on} is a {kind}")
    if (output := manifest.signature.output.kind) == "anomaly":
        raise InputError(
            f"comparisons.labels must be left out for a model whose output is {output}: there is no loss"
        )


def check_explainable(folder: str, trust: Trust = ANYONE) -> None:
    """Load the version, as a worker would, and explain its golden rows.

    Raises `InputError` with the models that can be explained when this one cannot.
    """
    try:
        loaded = load_version(folder, trust=trust)
    except ModelError as error:
        raise InputError(f"predictions.explain needs the model, and {error}") from error
    try:
        _explain_golden_rows(folder, loaded)
    except Exception as error:
        why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        name, version = loaded.manifest.name, loaded.manifest.version
        raise InputError(
            f"predictions.explain must be left out with {name} version {version} ({loaded.manifest.format}): "
            f"{why}; what can be explained are {EXPLAINED}"
        ) from error


def _explain_golden_rows(folder: str, loaded: LoadedModel) -> None:
    explain = explainer(loaded.model)
    golden = pa.BufferReader(open_store(folder).read(GOLDEN_FILE))
    inputs = pq.read_table(golden).select(loaded.model.signature.names)
    explain(inputs, loaded.model.predict(inputs))
