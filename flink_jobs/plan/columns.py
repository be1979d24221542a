"""Finds the columns that a job has for a model: each with its type and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flink_jobs.errors import InputError, Location
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.expressions import Expression, check_all
from flink_jobs.plan.expressions.lists import OF_MAP
from flink_jobs.plan.expressions.types import Lists
from flink_jobs.plan.lookups import LookupFileError, database_params, describe_lookup
from flink_jobs.plan.queries import why_not
from flink_jobs.spec import JobSpec, Lookup
from flink_jobs.spec.aggregates import Aggregate
from udfs.features import DerivedParams
from udfs.features.columns import Column, ModelInput, match_each
from udfs.model.manifest import Manifest
from udfs.records.vectors import part_names
from udfs.scoring.params import RuleParams
from udfs.types import ColumnType
from udfs.windows.params import COMPLETE

__all__ = [
    "Column",
    "JobColumns",
    "ModelInput",
    "aggregate_type",
    "collect_columns",
    "collect_inputs",
    "job_columns",
]


_PLAIN_KEYS = ("string", "long")
_KEY_TYPES = {"file": _PLAIN_KEYS, "database": _PLAIN_KEYS, "topic": (*_PLAIN_KEYS, "boolean")}


@dataclass(frozen=True)
class JobColumns:
    """All columns by name, and the derived features in the order in which they are computed.

    `conditions` are those of windows, by the names of columns that only windows see. `taken` are columns that
    expressions want of lists, and only they see. `rules` are those of records.
    """

    columns: Mapping[str, Column]
    derived: tuple[tuple[str, Expression], ...]
    conditions: tuple[tuple[str, Expression], ...] = ()
    taken: tuple[DerivedParams, ...] = ()
    rules: tuple[RuleParams, ...] = ()

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]


def job_columns(job: JobSpec) -> JobColumns:
    """Record fields (or a window's keys), window results, lookups and derived features.

    What a model wants of a CSV file is not known here. Raises JobFileError for all lookup files and
    expressions that do not fit.
    """
    found = Collector()
    columns = collect_columns(job, found)
    found.check()
    return columns


def collect_columns(job: JobSpec, found: Collector, manifest: Manifest | None = None) -> JobColumns:
    """The columns that are right; what is wrong is added to `found`.

    Columns of CSV files are of the types that the model's inputs have, where they can be.
    """
    inputs = manifest.signature.inputs if manifest else ()
    wanted = {job.model.inputs.get(item.name, item.name): item.type for item in inputs}
    conditions: dict[str, Expression] = {}
    rules = _rules(job, found)
    columns = _base_columns(job, found) | _window_columns(job, conditions, found)
    columns = {name: column for name, column in columns.items() if name not in found.doubts.columns}
    for name in job.features.lookups:
        columns |= _lookup_columns(job, name, columns, wanted, found)
    types = {name: column.type for name, column in columns.items()}
    derived, errors = check_all(job.features.derive, types, found.is_unknown, lists_of(job))
    for error in errors:
        location = ("features", "derive", error.feature or "")
        found.add(location, error.expected, error.found, error.suggestion)
    for name, expression in derived:
        columns[name] = Column(name, expression.type, f"derived: {expression.text}")
    found.lose(job.features.derive.keys() - columns.keys())
    taken = _taken([*(expression for _, expression in derived), *conditions.values()])
    return JobColumns(columns, tuple(derived), tuple(conditions.items()), taken, rules)


def _rules(job: JobSpec, found: Collector) -> tuple[RuleParams, ...]:
    """The rules that are right; they see the columns and lists of records, in jobs of windows too."""
    types = {name: field.column_type for name, field in job.source.columns.items()}
    when = job.source.event_time
    if when.field:
        types.setdefault(when.field, when.type)
    types = {name: kind for name, kind in types.items() if name not in found.doubts.columns}
    rules = {}
    for name, text in job.source.rules.items():
        compiled, errors = check_all({f"rule {name}": text}, types, found.is_unknown, _all_lists(job))
        for error in errors:
            found.add(("source", "rules", name), error.expected, error.found, error.suggestion)
        for _, expression in compiled:
            if expression.type != "boolean":
                found.add(("source", "rules", name), "a condition, true or false", f"a {expression.type}")
            rules[name] = expression
    return tuple(RuleParams(name, each.text, each.tree, _taken([each])) for name, each in rules.items())


def lists_of(job: JobSpec) -> Lists:
    """The lists that expressions know, with their members; a window that is scored itself has none."""
    return {} if job.score == "per_window" else _all_lists(job)


def _all_lists(job: JobSpec) -> Lists:
    return {
        name: {OF_MAP if field.type == "map" else member: held.type for member, held in field.held.items()}
        for name, field in job.source.lists.items()
    }


def _taken(expressions: Iterable[Expression]) -> tuple[DerivedParams, ...]:
    """What the expressions want of lists, each once."""
    trees = {name: tree for expression in expressions for name, tree in expression.taken.items()}
    return tuple(DerivedParams(name, tree) for name, tree in trees.items())


def _lookup_columns(
    job: JobSpec,
    name: str,
    columns: Mapping[str, Column],
    wanted: Mapping[str, ColumnType],
    found: Collector,
) -> dict[str, Column]:
    lookup = job.features.lookups[name]
    location = ("features", "lookups", name)
    origin = f"lookup {name} by {', '.join(lookup.by)}"
    by = [_lookup_key(lookup, column, columns, location, found) for column in lookup.by]
    _check_database(lookup, location, found)
    if lookup.file is None:
        return {column: Column(column, kind, origin) for column, kind in lookup.types.items()}
    try:
        hints = {column: wanted[column] for column in lookup.select if column in wanted}
        types = describe_lookup(lookup.file, lookup.key[0], lookup.columns, lookup.types, hints)
    except LookupFileError as error:
        if all(by) or error.part != "key" or lookup.key != lookup.by:  # the key is named after `by`
            found.add((*location, error.part), error.wanted, error.found, error.suggestion)
        found.lose(lookup.select)
        return {}
    return {column: Column(column, kind, origin) for column, kind in types.items()}


def _check_database(lookup: Lookup, location: Location, found: Collector) -> None:
    """What can be told of it without reaching it."""
    database = lookup.database
    if database is None:
        return
    if lookup.query and (wrong := why_not(lookup.query, "sqlite" if database.file else "postgres")):
        found.add((*location, "query"), "one SELECT, which only reads", wrong)
    try:
        database_params(lookup)
    except InputError as error:
        found.add((*location, "database", "ca_file"), "a readable PEM file", str(error))


def _lookup_key(
    lookup: Lookup, name: str, columns: Mapping[str, Column], location: Location, found: Collector
) -> Column | None:
    """The column of the job that is looked up, if it is there."""
    column = columns.get(name)
    kinds = _KEY_TYPES[lookup.kind]
    if column is None and not found.is_unknown(name):
        found.add((*location, "by"), "a column", repr(name), name=name, choices=columns)
    elif column is not None and column.type not in kinds:
        found.add((*location, "by"), f"a {' or '.join(kinds)} column", f"{name}, a {column.type}")
    return column


def _base_columns(job: JobSpec, found: Collector) -> dict[str, Column]:
    fields = job.source.columns
    if job.score == "per_window":
        windows = [*job.features.windows.values()]
        if len(windows) != 1 and not found.doubts.hides(("score",)):
            expected = "exactly one window with score: per_window"
            found.add(("features", "windows"), expected, f"{len(windows)} windows")
        kept = {name: fields[name] for window in windows for name in window.by if name in fields}
    else:
        kept = dict(fields)
    columns = {
        name: Column(name, field.column_type, origin_of(job, name), not field.required)
        for name, field in kept.items()
    }
    columns |= _vector_columns(job, found)
    when = job.source.event_time
    if when.field and when.field not in columns and job.score == "per_event":
        columns[when.field] = Column(when.field, when.type, f"field of {job.source.topic}", False)
    columns["event_time"] = Column("event_time", "timestamp", "event time of the record", False)
    return columns


def vectors_of(job: JobSpec) -> dict[str, int]:
    """The sizes of vectors whose elements are columns; a window that is scored itself has none."""
    return {} if job.score == "per_window" else job.source.vectors


def vector_parts(job: JobSpec) -> dict[str, str]:
    """The columns that are elements of vectors, and the vector of each."""
    return {part: name for name, size in vectors_of(job).items() for part in part_names(name, size)}


def _vector_columns(job: JobSpec, found: Collector) -> dict[str, Column]:
    columns = {}
    made = {name for window in job.features.windows.values() for name in window.select}
    made |= {name for lookup in job.features.lookups.values() for name in lookup.select}
    for part, name in vector_parts(job).items():
        if part in job.source.declared or part in made:
            expected = f"a vector whose elements have names of their own, {name}_0 and so on"
            found.add(("source", "schema", name), expected, f"a column {part!r} beside it")
        columns[part] = Column(part, "double", origin_of(job, name), not job.source.fields[name].required)
    return columns


def origin_of(job: JobSpec, name: str) -> str:
    """Where a field of the records is."""
    source = job.source
    if name in source.headers:
        return f"header {source.headers[name].header or name} of {source.topic}"
    if name in source.envelope.fields:
        return f"envelope of {source.topic}"
    return f"{'key' if name not in source.fields else 'field'} of {source.topic}"


def _window_columns(job: JobSpec, conditions: dict[str, Expression], found: Collector) -> dict[str, Column]:
    """The results of windows; their conditions are added to `conditions`."""
    columns: dict[str, Column] = {}
    for window_name, window in job.features.windows.items():
        for name, aggregate in window.select.items():
            location = ("features", "windows", window_name, "select", name)
            checks = (
                _has_argument(aggregate, job, location, found),
                _has_condition(aggregate, job, location, conditions, found),
            )
            if all(checks):
                kind = aggregate_type(aggregate, job)
                columns[name] = Column(name, kind, f"window {window_name}: {aggregate}")
            else:
                found.lose([name])
    if columns and COMPLETE in job.predictions.include and job.score == "per_event":
        columns[COMPLETE] = Column(COMPLETE, "boolean", "windows: whether they hold all of it", False)
    return columns


def _has_argument(aggregate: Aggregate, job: JobSpec, location: Location, found: Collector) -> bool:
    column, fields = aggregate.column, job.source.columns
    if column is None:
        return True
    if column not in fields and not found.is_unknown(column):
        expected = "an aggregate of a field of source.schema"
        found.add(location, expected, repr(column), name=column, choices=fields)
    return column in fields and column not in found.doubts.columns


def condition_name(text: str) -> str:
    """The column of a condition: no other has a space in its name.

    Kept rows have it too. After a restart with another condition they are not taken for what that one says.
    """
    return f"where {text}"


def _has_condition(
    aggregate: Aggregate,
    job: JobSpec,
    location: Location,
    conditions: dict[str, Expression],
    found: Collector,
) -> bool:
    """Whether the condition, if there is one, is right; it is then among `conditions`."""
    if aggregate.where is None:
        return True
    fields = job.source.columns.items()
    types = {name: field.column_type for name, field in fields if name not in found.doubts.columns}
    name = condition_name(aggregate.where)
    compiled, errors = check_all({name: aggregate.where}, types, found.is_unknown, _all_lists(job))
    for error in errors:
        expected = f"an aggregate whose condition is {error.expected}"
        found.add(location, expected, error.found, error.suggestion)
    for _, expression in compiled:
        if expression.type != "boolean":
            got = f"{aggregate.where!r:.62}, a {expression.type}"
            found.add(location, "an aggregate whose condition is a boolean", got)
            return False
    conditions |= dict(compiled)
    return bool(compiled)


def aggregate_type(aggregate: Aggregate, job: JobSpec) -> ColumnType:
    """The type of a window's result."""
    if aggregate.function in ("count", "time_since_last"):
        return "long"
    if aggregate.function in ("avg", "stddev", "percentile", "ewma", "rate"):
        return "double"
    assert aggregate.column is not None
    return job.source.columns[aggregate.column].column_type


def collect_inputs(
    job: JobSpec, manifest: Manifest, columns: JobColumns, found: Collector
) -> tuple[ModelInput, ...]:
    """The column for each input of the model's signature that the job can feed, in its order."""
    renamed, vectors = dict(job.model.inputs), vector_parts(job)
    matched, problems = match_each(manifest.signature, columns.columns, renamed)
    model = f"{manifest.name} version {manifest.version}"
    kinds = {item.name: item.type for item in manifest.signature.inputs}
    for problem in problems:
        location = ("model", "inputs", problem.input)
        name = problem.column
        if problem.kind == "unknown":
            expected = f"an input of {model} ({', '.join(kinds)})"
            found.add(location, expected, repr(problem.input), name=problem.input, choices=kinds)
        elif problem.kind == "missing" and not found.is_unknown(name):
            expected = f"a column that feeds the input {problem.input} ({kinds[problem.input]}) of {model}"
            found.add(location, expected, f"no column {name!r}", name=name, choices=columns.columns)
        elif problem.kind == "type":
            column = columns[name]
            cast = f"; CAST({name} AS DOUBLE) of features.derive is one" * (column.type == "decimal")
            got = f"{name}, a {column.type} ({column.origin}){cast}"
            found.add(location, f"a {kinds[problem.input]} column, as {model} wants it", got)
    absent = [problem.column for problem in problems if problem.kind == "null"]
    _check_required({vectors.get(name, name): columns[name].type for name in absent}, job, model, found)
    return tuple(matched)


def _check_required(fields: Mapping[str, str], job: JobSpec, model: str, found: Collector) -> None:
    """One diagnostic for all fields that may be null, with what to write."""
    if fields:
        sizes = job.source.vectors
        kinds = {n: f"vector, size: {sizes[n]}" if n in sizes else kind for n, kind in fields.items()}
        written = ", ".join(f"{name}: {{type: {kind}, required: true}}" for name, kind in kinds.items())
        expected = f"without null in what {model} needs: {written}"
        found.add(("source", "schema"), expected, f"{', '.join(fields)} without required: true")
