"""Writes the job between source and sinks as SQL views, the UDFs that they call, and inserts that read them.

A record takes one of three ways, by what the job asks for:
- no windows: one UDF decodes, checks and scores.
- windows over events: a UDF extracts what windows need of valid records, Flink aggregates, a UDF scores.
- a score per window: the same, but the rows that are scored are the windows.

Whatever the way, a UDF's result alone decides where a record goes; the planner may move other filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flink_jobs.plan import sql
from flink_jobs.plan.columns import JobColumns
from flink_jobs.plan.outputs import SCORED_VIEW, Decided, is_kind, outputs_of, result_field, selected
from flink_jobs.plan.sql import RECORD, interval, name, names
from flink_jobs.plan.topics import labels_of
from flink_jobs.spec import JobSpec, Window
from flink_jobs.spec.aggregates import Aggregate
from udfs.scoring.outcomes import DEAD, PREDICTED
from udfs.scoring.params import LabelParams, ScoreParams, SourceParams
from udfs.scoring.rows import PREDICTION, PROBLEM, PROFILE, ROLLOUT, RowColumn, checked_row, scored_row
from udfs.types import SQL, ColumnType

Columns = tuple[tuple[str, ColumnType], ...]
EVENT_TIME = "CAST(event_time AS TIMESTAMP(3))"
TIMESTAMP = "CAST(_timestamp AS TIMESTAMP(3))"
Result = tuple[tuple[str, str], ...]
OVER = " OVER w"
# The record's key as a column of the rows that are scored.
RECORD_KEY = "_record_key"


@dataclass(frozen=True)
class Function:
    """A UDF: its class in `udfs.flink.functions`, what it is constructed with, and its result's fields."""

    kind: str
    params: ScoreParams | SourceParams | LabelParams = field(repr=False)
    columns: Columns
    result: Result


@dataclass(frozen=True)
class Views:
    """`views` in order of dependency; `inserts` by sink.

    `parts` is what the monitor reads, `rollout` and `labels` what the comparison of versions does.
    """

    views: Mapping[str, str]
    functions: Mapping[str, Function]
    inserts: Mapping[str, str]
    parts: str | None = None
    rollout: str | None = None
    labels: tuple[str, ...] = ()


def make_views(job: JobSpec, columns: JobColumns, params: ScoreParams) -> Views:
    """The views of a job, in the way that it asks for."""
    if not job.features.windows:
        return _without_windows(job, params)
    if job.score == "per_event":
        return _with_windows(job, columns, params)
    return _per_window(job, columns, params)


def _without_windows(job: JobSpec, params: ScoreParams) -> Views:
    argument, column = _record_key(job)
    call = f"score_record(_value, {EVENT_TIME}, _late, _partition, _offset, {TIMESTAMP}{argument})"
    views = {"records": sql.with_lateness("source"), SCORED_VIEW: _called(call, _kept(job), "records")}
    functions = {"score_record": Function("ScoreFunction", params, column, types(scored_row(params)))}
    inserts = _inserts(job, dead=_record_rows(SCORED_VIEW), late=SCORED_VIEW)
    return Views(views, functions, inserts, _parts(job, SCORED_VIEW), _rollout(job))


def _with_windows(job: JobSpec, columns: JobColumns, params: ScoreParams) -> Views:
    views, functions = _checked(job, params.source)
    table, results = "valid", []
    for window_name, window in job.features.windows.items():
        for number, (frame, aggregates) in enumerate(_passes(window)):
            over = sql.over_window(table, window.by, frame, aggregates)
            table = f"window_{window_name}" + (f"_{number + 1}" if number else "")
            views[table] = over
            results += [(result, columns[result].type) for result in aggregates]
    key, column = _record_key(job)
    arguments = "".join(f", {name(result)}" for result, _ in results) + key
    views[SCORED_VIEW] = _called(
        f"score_record(_value, {EVENT_TIME}, FALSE, _partition, _offset, {TIMESTAMP}{arguments})",
        _kept(job),
        table,
    )
    functions["score_record"] = Function(
        "ScoreFunction", params, (*results, *column), types(scored_row(params))
    )
    return _of_windows(job, views, functions, _record_rows(SCORED_VIEW))


def _per_window(job: JobSpec, columns: JobColumns, params: ScoreParams) -> Views:
    views, functions = _checked(job, params.source)
    (window,) = job.features.windows.values()
    aggregates = {result: _call(aggregate) for result, aggregate in window.select.items()}
    views["windows"] = sql.group_window(_windowing(window), window.by, aggregates)
    rows: Columns = (
        *((key, columns[key].type) for key in (*window.by, *window.select)),
        ("_window_start", "timestamp"),
        ("_window_end", "timestamp"),
        ("_records", "long"),
    )
    key = name(window.by[0]) if len(window.by) == 1 else f"JSON_ARRAY({names(window.by)} NULL ON NULL)"
    views[SCORED_VIEW] = _called(
        f"score_window({EVENT_TIME}, {names(column for column, _ in rows)})",
        [f"CAST(CAST({key} AS STRING) AS BYTES) AS _key"],
        "windows",
    )
    functions["score_window"] = Function("WindowScoreFunction", params, rows, types(scored_row(params)))
    return _of_windows(job, views, functions, _window_rows())


def _of_windows(
    job: JobSpec, views: Mapping[str, str], functions: Mapping[str, Function], unscored: str
) -> Views:
    """Of a job with windows: a record is dead or late where it is checked, or its row is `unscored`."""
    inserts = _inserts(job, dead=f"{_record_rows('checked')} UNION ALL {unscored}", late="checked")
    return Views(views, functions, inserts, _parts(job, "checked", SCORED_VIEW), _rollout(job))


def _checked(job: JobSpec, params: SourceParams) -> tuple[dict[str, str], dict[str, Function]]:
    """All records with their kind and the columns that windows need, and the valid ones among them."""
    needed = _needed_fields(job)
    fields: Columns = tuple((column, job.source.fields[column].type) for column in needed)
    result = (*types(checked_row(params)), *((column, SQL[kind]) for column, kind in fields))
    unpacked = ", ".join(f"r._result.{name(column)} AS {name(column)}" for column in needed)
    kept = ", ".join(RECORD)
    views = {
        "records": sql.with_lateness("source"),
        "checked": _called(f"check_record(_value, {EVENT_TIME}, _late)", (*RECORD, "event_time"), "records"),
        "valid": f"SELECT {kept}, event_time, {unpacked}\nFROM checked AS r WHERE {is_kind(PREDICTED)}",
    }
    return views, {"check_record": Function("ExtractFunction", params, fields, result)}


def types(row: Iterable[RowColumn]) -> Result:
    """(name, SQL type) of each column."""
    return tuple((column.name, column.sql) for column in row)


def _kept(job: JobSpec) -> tuple[str, ...]:
    """What is carried past the scoring; the event time only where labels are joined by it."""
    return (*RECORD, "event_time") if labels_of(job) else (*RECORD,)


def _record_key(job: JobSpec) -> tuple[str, Columns]:
    """An argument of the scoring and its column, where repeated keys are counted. Bytes are Latin text."""
    if not (job.drift and job.drift.duplicates is True):
        return "", ()
    return ", DECODE(_key, 'ISO-8859-1')", ((RECORD_KEY, "string"),)


def _parts(job: JobSpec, *tables: str) -> str | None:
    """What the monitor is told, on one row of each batch."""
    if not job.drift:
        return None
    return " UNION ALL ".join(non_null(PROFILE, table) for table in tables)


def _rollout(job: JobSpec) -> str | None:
    """What the comparison of versions is told, on one row of each batch."""
    if not job.comparisons:
        return None
    return non_null(ROLLOUT, SCORED_VIEW)


def _needed_fields(job: JobSpec) -> list[str]:
    needed: dict[str, None] = {}
    for window in job.features.windows.values():
        needed |= dict.fromkeys(window.by)
        needed |= dict.fromkeys(a.column for a in window.select.values() if a.column)
    return list(needed)


def _called(call: str, kept: Iterable[str], table: str) -> str:
    """The kept columns of the table, and a UDF's result as one ROW.

    The row is taken apart where it is read: were that done here, each branch would copy all columns of each
    record before it drops the records that are not its own.
    """
    return f"SELECT {', '.join(kept)}, {call} AS _result\nFROM {table}"


def _passes(window: Window) -> list[tuple[str, dict[str, str]]]:
    """(frame, aggregates) of each pass over the rows; Flink computes LAG without a frame, so on its own."""
    frame = (
        f"RANGE BETWEEN {interval(window.over)} PRECEDING AND CURRENT ROW"
        if window.over
        else (f"ROWS BETWEEN {(window.rows or 1) - 1} PRECEDING AND CURRENT ROW")
    )
    framed = {n: _call(a, OVER) for n, a in window.select.items() if a.function != "lag"}
    lagged = {n: _call(a, OVER) for n, a in window.select.items() if a.function == "lag"}
    return [(f, calls) for f, calls in ((frame, framed), ("", lagged)) if calls]


def _call(aggregate: Aggregate, over: str = "") -> str:
    """The aggregate in SQL; averages of integers are exact, not integers."""
    column = name(aggregate.column) if aggregate.column else "*"
    match aggregate.function:
        case "count":
            return f"COUNT({'DISTINCT ' if aggregate.distinct else ''}{column}){over}"
        case "avg":
            return f"AVG(CAST({column} AS DOUBLE)){over}"
        case "stddev":
            return sql.standard_deviation(f"CAST({column} AS DOUBLE)", over)
        case "first" | "last":
            return f"{aggregate.function.upper()}_VALUE({column}){over}"
        case "lag":
            return f"LAG({column}, {aggregate.offset}){over}"
    return f"{aggregate.function.upper()}({column}){over}"


def _windowing(window: Window) -> str:
    table, time = "TABLE valid", "DESCRIPTOR(event_time)"
    match window.kind:
        case "tumble":
            return f"TUMBLE({table}, {time}, {interval(window.size)})"
        case "hop":
            return f"HOP({table}, {time}, {interval(window.every or 0)}, {interval(window.size)})"
        case _:
            return f"SESSION({table} PARTITION BY ({names(window.by)}), {time}, {interval(window.size)})"


def non_null(column: RowColumn, view: str) -> str:
    """The rows of the view whose result has this column, as that column alone."""
    return f"SELECT {selected(column)} FROM {view} AS r WHERE {result_field(column)} IS NOT NULL"


def _record_rows(view: str) -> str:
    columns = ", ".join((*RECORD, selected(PROBLEM)))
    return f"SELECT {columns} FROM {view} AS r WHERE {is_kind(DEAD)}"


def _window_rows() -> str:
    """Windows that could not be scored, as JSON, in the place of records."""
    kept = {"_key": "_key", "_value": f"{result_field(PREDICTION)} AS _value"}
    columns = [kept.get(column, f"CAST(NULL AS {kind}) AS {column}") for column, kind in RECORD.items()]
    return f"SELECT {', '.join((*columns, selected(PROBLEM)))} FROM {SCORED_VIEW} AS r WHERE {is_kind(DEAD)}"


def _inserts(job: JobSpec, *, dead: str, late: str) -> dict[str, str]:
    decided = Decided(job, dead, late)
    return {
        output.name: f"INSERT INTO {output.name} {output.select(decided)}"
        for output in outputs_of(job)
        if output.select
    }
