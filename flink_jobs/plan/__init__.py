"""Turns a job and a model version into all that will run, as plain text and data. Needs no Flink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.jobfile.references import KEY_TYPES
from flink_jobs.plan import sql
from flink_jobs.plan.alerts import webhook_params
from flink_jobs.plan.clients import collect_clients
from flink_jobs.plan.columns import JobColumns, ModelInput, collect_columns, collect_inputs, job_columns
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.drift import DriftPlan, drift_plan
from flink_jobs.plan.flink_options import flink_options
from flink_jobs.plan.formats import collect_format
from flink_jobs.plan.label_views import with_labels
from flink_jobs.plan.model import ModelVersion, check_followed, collect_explainable, find_version
from flink_jobs.plan.params import (
    FoundVersion,
    feature_params,
    model_params,
    output_params,
    rollout_controller_params,
    rollout_params,
    source_params,
)
from flink_jobs.plan.personal import Label, check_personal, only_records, privacy_params, without_records
from flink_jobs.plan.prediction_schema import collect_predictions, predictions_schema
from flink_jobs.plan.quality import quality_params
from flink_jobs.plan.tables import kafka_tables
from flink_jobs.plan.topics import compared_labels, has_stages, labels_location, labels_of
from flink_jobs.plan.views import Views, make_views
from flink_jobs.plan.window_stages import SHARDS_OF_WINDOWS
from flink_jobs.registry import Release
from flink_jobs.spec import OPTIONAL_SUFFIXES, JobSpec
from udfs.alerts.webhook import WebhookParams
from udfs.model.manifest import Manifest, digest
from udfs.quality.params import QualityParams
from udfs.records.output_schema import OutputSchema
from udfs.rollout.controller import RolloutControllerParams
from udfs.scoring.params import PREDICTION_FIELDS, OutputParams, ScoreParams


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
    quality: QualityParams | None = field(default=None, repr=False)
    webhook: WebhookParams | None = field(default=None, repr=False)
    bounded: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan(Runnable):
    """A job that scores; `inputs` is what feeds the model, `labels` are those of personal data.

    `predictions_schema` is that of predictions, if they have one.
    """

    manifest: Manifest
    release: Release
    inputs: tuple[ModelInput, ...]
    labels: Mapping[str, Label] = field(default_factory=dict)
    predictions_schema: OutputSchema | None = field(default=None, repr=False)


def make_plan(job: JobSpec, *, bounded: bool = False) -> Plan:
    """Compiles the job.

    Raises JobFileError with all that does not fit in the model, the lookups, the expressions and the rest.
    """
    found = Collector()
    plan = plan_job(job, found, bounded=bounded)
    found.check()
    assert plan is not None
    return plan


def plan_job(job: JobSpec, found: Collector, *, bounded: bool = False) -> Plan | None:
    """The plan of the job; None when anything is wrong with it, which is added to `found`."""
    version = find_version(job, found)
    columns = collect_columns(job, found, version.manifest if version else None)
    check_followed(job, found)
    collect_clients(job, found)
    collect_format(job, found)
    collect_predictions(job, found)
    _check_included(job, columns, found)
    labels = check_personal(job, columns, found)
    _check_parallelism(job, found)
    _check_labels(job, columns, version, found)
    quality = quality_params(job, version, columns, found)
    _check_automatic(job, found)
    inputs = collect_inputs(job, version.manifest, columns, found) if version else ()
    drift = drift_plan(job, version, inputs, columns, labels, found)
    if version:
        collect_explainable(job, version, found)
    if found.diagnostics or found.doubts.locations or version is None:
        return None
    schema = predictions_schema(job, columns, labels, version.manifest)
    numbers = FoundVersion(
        version.folder,
        version.model_folder,
        digest(version.manifest),
        version.release.number,
        version.release.head,
    )
    params = ScoreParams(
        source_params(job, privacy_params(job, labels), drift, limited=True, columns=columns),
        feature_params(job, columns),
        model_params(job, numbers, inputs, columns, labels),
        msgspec.structs.replace(output_params(job), schema=schema),
        drift.collect if drift else None,
        rollout_params(job),
        quality.count if quality else None,
        joined.on if (joined := labels_of(job)) else None,
    )
    return Plan(
        job=job,
        manifest=version.manifest,
        release=version.release,
        columns=columns,
        inputs=inputs,
        labels=labels,
        predictions_schema=schema,
        tables=kafka_tables(job, bounded=bounded),
        views=with_labels(job, make_views(job, columns, params), quality),
        options=flink_options(job),
        drift=drift,
        controller=rollout_controller_params(job, version.model_folder),
        quality=quality,
        webhook=webhook_params(job.alerts, _watched_windows(drift, quality)),
        bounded=bounded,
    )


def _watched_windows(drift: DriftPlan | None, quality: QualityParams | None) -> dict[str, int]:
    """The lengths of windows, by the schema of their records."""
    found = {}
    if drift:
        found["tailrace.drift/1"] = drift.monitor.window_ms
    if quality:
        found["tailrace.quality/1"] = quality.count.window_ms
    return found


def make_feature_plan(job: JobSpec, features: Sequence[str]) -> Runnable:
    """The job up to its model, which need not exist: bounded, its predictions are the named columns.

    Personal data is as the model would get it, not hashed. Raises InputError for other names.
    """
    columns = job_columns(job)
    for name in features:
        if name not in columns.columns:
            known = ", ".join(columns.columns)
            raise InputError(f"features must be columns of the job ({known}); got {name!r}")
    job = without_records(job.model_copy(update=dict.fromkeys(OPTIONAL_SUFFIXES)))
    params = ScoreParams(
        source_params(job, only_records(job), columns=columns),
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


def _check_included(job: JobSpec, columns: JobColumns, found: Collector) -> None:
    for index, name in enumerate(job.predictions.include):
        location = ("predictions", "include", index)
        if name in PREDICTION_FIELDS:
            expected = "left out, or a column derived from it under another name"
            found.add(location, expected, f"a field that every prediction has; got {name!r}")
        elif name not in columns.columns and not found.is_unknown(name):
            known = ", ".join(columns.columns)
            expected = f"a column of the job ({known})"
            found.add(location, expected, repr(name), name=name, choices=columns.columns)


def _check_parallelism(job: JobSpec, found: Collector) -> None:
    if has_stages(job) and job.runtime.parallelism > SHARDS_OF_WINDOWS:
        what = "windows" if job.features.windows else "tables of topics"
        expected = f"at most {SHARDS_OF_WINDOWS} with {what}, whose state has so many shards"
        found.add(("runtime", "parallelism"), expected, str(job.runtime.parallelism))


def _check_automatic(job: JobSpec, found: Collector) -> None:
    if job.model.require_signature and job.comparisons and job.comparisons.automatic:
        expected = "left out with model.require_signature: a job holds no key to sign releases with"
        found.add(("comparisons", "automatic"), expected, "steps")


def _check_labels(job: JobSpec, columns: JobColumns, version: ModelVersion | None, found: Collector) -> None:
    labels = labels_of(job)
    if labels is None:
        return
    location, name = (*labels_location(job), "on"), labels.on
    if name not in columns.columns and not found.is_unknown(name):
        known = ", ".join(columns.columns)
        found.add(location, f"a column of the job ({known})", repr(name), name=name, choices=columns.columns)
    elif name in columns.columns and columns[name].type not in KEY_TYPES:
        found.add(location, "a string, long or boolean", f"{name}, a {columns[name].type}")
    if compared_labels(job) and version and (output := version.manifest.signature.output.kind) == "anomaly":
        expected = f"left out for a model whose output is {output}: there is no loss"
        found.add(("comparisons", "labels"), expected, "labels")
