"""The columns that a job has for a model: each with its type and where it comes from.

columns = job_columns(job)
columns["mean_delay"]     # Column("mean_delay", "double", "window origin_1h: avg(dep_delay)")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flink_jobs.errors import InputError
from flink_jobs.plan.expressions import Expression, compile_all
from flink_jobs.plan.lookups import describe_lookup
from flink_jobs.spec import JobSpec
from flink_jobs.spec.aggregates import Aggregate
from udfs.errors import ModelError
from udfs.features.columns import Column, ModelInput
from udfs.features.columns import match_inputs as columns_of_model
from udfs.model.manifest import Manifest
from udfs.types import ColumnType

__all__ = ["Column", "JobColumns", "ModelInput", "aggregate_type", "job_columns", "match_inputs"]


@dataclass(frozen=True)
class JobColumns:
    """All columns by name, and the derived features in the order in which they are computed."""

    columns: Mapping[str, Column]
    derived: tuple[tuple[str, Expression], ...]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def job_columns(job: JobSpec) -> JobColumns:
    """Record fields (or a window's keys), window results, lookups and derived features.

    Raises InputError for lookup files and expressions that do not fit.
    """
    columns = _base_columns(job) | _window_columns(job)
    for lookup_name, lookup in job.features.lookups.items():
        by = columns[lookup.by]
        if by.type not in ("string", "long"):
            place = f"features.lookups.{lookup_name}.by"
            raise InputError(f"{place}: must be a string or long column; got {lookup.by}, a {by.type}")
        found = describe_lookup(lookup.file, lookup.key, lookup.select)
        for name, kind in found.items():
            columns[name] = Column(name, kind, f"lookup {lookup_name} by {lookup.by}")
    types = {name: column.type for name, column in columns.items()}
    derived = tuple(compile_all(job.features.derive, types))
    for name, expression in derived:
        columns[name] = Column(name, expression.type, f"derived: {expression.text}")
    return JobColumns(columns, derived)


def _base_columns(job: JobSpec) -> dict[str, Column]:
    fields = job.source.fields
    if job.score == "per_window":
        (window,) = job.features.windows.values()
        kept = {name: fields[name] for name in window.by}
    else:
        kept = dict(fields)
    columns = {
        name: Column(name, field.type, f"field of {job.source.topic}", not field.required)
        for name, field in kept.items()
    }
    when = job.source.event_time
    if when.field and when.field not in columns and job.score == "per_event":
        kind: ColumnType = "string" if when.unit == "iso8601" else "long"
        columns[when.field] = Column(when.field, kind, f"field of {job.source.topic}", False)
    columns["event_time"] = Column("event_time", "timestamp", "event time of the record", False)
    return columns


def _window_columns(job: JobSpec) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for window_name, window in job.features.windows.items():
        for name, aggregate in window.select.items():
            kind = aggregate_type(aggregate, job)
            columns[name] = Column(name, kind, f"window {window_name}: {aggregate}")
    return columns


def aggregate_type(aggregate: Aggregate, job: JobSpec) -> ColumnType:
    """The type of a window's result."""
    if aggregate.function == "count":
        return "long"
    if aggregate.function in ("avg", "stddev"):
        return "double"
    assert aggregate.column is not None
    return job.source.fields[aggregate.column].type


def match_inputs(
    manifest: Manifest, columns: JobColumns, renamed: Mapping[str, str]
) -> tuple[ModelInput, ...]:
    """The column for each input of the model's signature, in its order.

    Raises InputError that lists every input that the job cannot feed, and why.
    """
    try:
        return columns_of_model(manifest.signature, columns.columns, renamed)
    except ModelError as error:
        model = f"{manifest.name} version {manifest.version}"
        raise InputError(f"the job cannot feed the model {model}:{error}") from None
