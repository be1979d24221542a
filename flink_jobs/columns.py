"""The columns that a job has for a model: each with its type and where it comes from.

columns = job_columns(job)
columns["mean_delay"]     # Column("mean_delay", "double", "window origin_1h: avg(dep_delay)")
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from flink_jobs.aggregates import Aggregate
from flink_jobs.errors import InputError
from flink_jobs.expressions import Expression, compile_all
from flink_jobs.lookups import describe_lookup
from flink_jobs.spec import JobSpec
from udfs.manifest import Manifest
from udfs.types import ColumnType

FEEDS: dict[ColumnType, tuple[ColumnType, ...]] = {
    "double": ("double", "long", "boolean"),
    "long": ("long", "boolean"),
    "string": ("string",),
    "boolean": ("boolean",),
}


@dataclass(frozen=True)
class Column:
    """One column; `origin` says where it comes from in the words of the job file."""

    name: str
    type: ColumnType
    origin: str
    nullable: bool = True


@dataclass(frozen=True)
class JobColumns:
    """All columns by name, and the derived features in the order in which they are computed."""

    columns: Mapping[str, Column]
    derived: tuple[tuple[str, Expression], ...]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


@dataclass(frozen=True)
class ModelInput:
    """A model's input and the column that feeds it."""

    name: str
    type: ColumnType
    column: Column


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


def match_inputs(manifest: Manifest, columns: JobColumns, renamed: Mapping[str, str]) -> list[ModelInput]:
    """The column for each input of the model's signature, in its order.

    Raises InputError that lists every input that the job cannot feed, and why.
    """
    problems: list[str] = []
    matched: list[ModelInput] = []
    signature = {item.name for item in manifest.signature.inputs}
    for name in renamed.keys() - signature:
        problems.append(f"{name}: the model has no such input{_hint(name, signature)}")
    for item in manifest.signature.inputs:
        wanted = renamed.get(item.name, item.name)
        column = columns.columns.get(wanted)
        if column is None:
            problems.append(
                f"{item.name} ({item.type}): no column {wanted!r}{_hint(wanted, columns.columns)}"
            )
        elif column.type not in FEEDS[item.type]:
            problems.append(f"{item.name}: must be {item.type}; got {column.type} ({column.origin})")
        elif not item.nullable and column.nullable and column.origin.startswith("field"):
            problems.append(f"{item.name}: must never be null; {wanted} is not required in source.schema")
        else:
            matched.append(ModelInput(item.name, item.type, column))
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise InputError(f"the job cannot feed the model {manifest.name} version {manifest.version}:{lines}")
    return matched


def _hint(name: str, known: object) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)  # type: ignore[call-overload]
    return f"; did you mean {close[0]!r}?" if close else ""
