"""Writes the job between source and sinks as SQL views, the UDFs that they call, and inserts that read them.

A record takes one of two ways, by what the job asks for:
- neither windows nor tables of topics: one UDF decodes, checks and scores.
- windows, or tables of topics: a UDF packs valid records by shard; stages in Flink's state add the results of
  windows and what tables have, and score, or score windows.

Whatever the way, a UDF's result alone decides where a record goes; the planner may move other filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flink_jobs.plan import sql, window_stages
from flink_jobs.plan.columns import JobColumns
from flink_jobs.plan.lookups import table_name
from flink_jobs.plan.outputs import (
    SCORED_VIEW,
    Decided,
    accounts,
    is_kind,
    outputs_of,
    result_field,
    scored_predictions,
    scored_shadows,
    selected,
)
from flink_jobs.plan.sql import RECORD
from flink_jobs.plan.topics import forgives_replayed, has_stages, labels_of
from flink_jobs.plan.window_stages import OUTCOMES, REJECTED, WindowStages
from flink_jobs.spec import JobSpec
from udfs.records.personal import PrivacyParams
from udfs.scoring.outcomes import (
    DEAD,
    LATE,
    PREDICTED,
    PROFILE_REPORT,
    QUALITY_REPORT,
    ROLLOUT_REPORT,
    SHADOW_LINES,
)
from udfs.scoring.params import ChangesParams, LabelParams, PackParams, ScoreParams, WarmParams
from udfs.scoring.rows import (
    ACCOUNT,
    LABEL_KEY,
    PROBLEM,
    PROFILE,
    QUALITY,
    RECORD_KEY,
    ROLLOUT,
    SCORED,
    SEALED,
    SHARDS,
    RowColumn,
    checked_row,
    scored_row,
)
from udfs.types import ColumnType

Columns = tuple[tuple[str, ColumnType], ...]
EVENT_TIME = "CAST(event_time AS TIMESTAMP(3))"
TIMESTAMP = "CAST(_timestamp AS TIMESTAMP(3))"
# Arrow wants maps whose keys are declared as never null.
HEADERS = "MAP_KEYS(_headers), MAP_VALUES(_headers)"
Result = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Function:
    """A UDF: its class in `udfs.flink.functions`, what it is constructed with, and its result's fields."""

    kind: str
    params: ScoreParams | PackParams | LabelParams | ChangesParams | WarmParams = field(repr=False)
    columns: Columns
    result: Result


@dataclass(frozen=True)
class Views:
    """`views` in order of dependency; `inserts` by sink.

    `parts` is what the monitor reads, `rollout` and `labels` what the comparison of versions does, `quality`
    and `quality_labels` what quality does. `told` is the query of scored records that wait for their labels.
    """

    views: Mapping[str, str | WindowStages]
    functions: Mapping[str, Function]
    inserts: Mapping[str, str]
    parts: str | None = None
    rollout: str | None = None
    labels: tuple[str, ...] = ()
    quality: str | None = None
    quality_labels: str | None = None
    told: str = (
        f"SELECT {selected(LABEL_KEY)}, {selected(SCORED)}, event_time AS _told_at\n"
        f"FROM {SCORED_VIEW} AS r WHERE {result_field(SCORED)} IS NOT NULL"
    )


def make_views(job: JobSpec, columns: JobColumns, params: ScoreParams) -> Views:
    """The views of a job, in the way that it asks for."""
    if not has_stages(job):
        return _without_windows(job, params)
    return _with_windows(job, columns, params)


def _without_windows(job: JobSpec, params: ScoreParams) -> Views:
    privacy = params.source.privacy
    argument, column = _record_key(job)
    argument += "".join(f", {each}" for each in beside(params))
    if privacy.seals or privacy.key:
        argument += f", _key, {HEADERS}"
    call = f"score_record(_value, {EVENT_TIME}, _late, _partition, _offset, {TIMESTAMP}{argument})"
    records = sql.with_lateness("source", forgives_replayed=forgives_replayed(job))
    views = {"records": records, SCORED_VIEW: _called(call, _kept(job), "records")}
    functions = {"score_record": Function("ScoreFunction", params, column, types(scored_row(params)))}
    inserts = _inserts(_scored(job, privacy))
    parts = non_null(PROFILE, SCORED_VIEW) if job.drift else None
    rollout = non_null(ROLLOUT, SCORED_VIEW) if job.comparisons else None
    quality = non_null(QUALITY, SCORED_VIEW) if job.quality else None
    return Views(views, functions, inserts, parts, rollout, quality=quality)


def _with_windows(job: JobSpec, columns: JobColumns, params: ScoreParams) -> Views:
    stages = window_stages.stages_of(job, columns)
    pack = window_stages.pack_params(params.source, stages[0].by, columns)
    changes = window_stages.changes_params(job, columns)
    checked = checked_row(params.source)
    given = "".join(f", {each}" for each in beside(params))
    record = f"_key, {HEADERS}, _partition, _offset, {TIMESTAMP}{given}"
    call = f"pack_records(_value, {EVENT_TIME}, _late, {record})"
    views: dict[str, str | WindowStages] = {
        "records": sql.with_lateness("source"),
        "checked": _called(call, RECORD, "records"),
        **{window_stages.changes_view(name): _changes_read(name) for name in changes},
        OUTCOMES: window_stages.between_views("checked", checked, stages, pack, params),
    }
    privacy = params.source.privacy
    decided = Decided(
        job,
        privacy,
        predictions=window_stages.of_arrays(PREDICTED, job.predictions.headers),
        dead=window_stages.whole_records(DEAD, privacy.dead, PROBLEM),
        late=window_stages.whole_records(LATE, privacy.late),
        shadows=window_stages.of_arrays(SHADOW_LINES),
        accounts=accounts(ACCOUNT.name, REJECTED),
    )
    parts = f"{_profiles(REJECTED)} UNION ALL {window_stages.reports(PROFILE, PROFILE_REPORT)}"
    return Views(
        views,
        {
            "pack_records": Function("PackFunction", pack, (), types((*checked, SHARDS))),
            **{
                _reader(name): Function("ChangesFunction", read, (), types((SHARDS,)))
                for name, read in changes.items()
            },
        },
        _inserts(decided),
        parts if job.drift else None,
        window_stages.reports(ROLLOUT, ROLLOUT_REPORT) if job.comparisons else None,
        quality=window_stages.reports(QUALITY, QUALITY_REPORT) if job.quality else None,
        told=window_stages.scored_keys(),
    )


def _reader(lookup: str) -> str:
    return f"read_{table_name(lookup)}"


def _changes_read(lookup: str) -> str:
    call = f"{_reader(lookup)}(_value, {EVENT_TIME}, _key, _partition, _offset)"
    return _called(call, ("event_time",), table_name(lookup))


def _profiles(view: str) -> str:
    return f"SELECT {PROFILE.name} FROM {view} WHERE {PROFILE.name} IS NOT NULL"


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


def beside(params: ScoreParams) -> Iterator[str]:
    """The arguments of key and headers that have columns."""
    for header in params.source.parts:
        yield "_key" if header is None else f"_headers[{sql.text(header)}]"


def _called(call: str, kept: Iterable[str], table: str) -> str:
    """The kept columns of the table, and a UDF's result as one ROW.

    The row is taken apart where it is read: were that done here, each branch would copy all columns of each
    record before it drops the records that are not its own.
    """
    return f"SELECT {', '.join(kept)}, {call} AS _result\nFROM {table}"


def non_null(column: RowColumn, view: str) -> str:
    """The rows of the view whose result has this column, as that column alone."""
    return f"SELECT {selected(column)} FROM {view} AS r WHERE {result_field(column)} IS NOT NULL"


def _scored(job: JobSpec, privacy: PrivacyParams) -> Decided:
    """Of a job whose records are scored in the scored view."""
    of = {"encrypt": {"_value": f"{result_field(SEALED)} AS _value"}}
    dead, late = (
        ", ".join(of.get(treatment, {}).get(name, name) for name in RECORD)
        for treatment in (privacy.dead, privacy.late)
    )
    return Decided(
        job,
        privacy,
        scored_predictions(job, privacy),
        f"SELECT {dead}, {selected(PROBLEM)} FROM {SCORED_VIEW} AS r WHERE {is_kind(DEAD)}",
        f"SELECT {late} FROM {SCORED_VIEW} AS r WHERE {is_kind(LATE)}",
        scored_shadows(privacy),
        accounts(result_field(ACCOUNT), f"{SCORED_VIEW} AS r"),
    )


def _inserts(decided: Decided) -> dict[str, str]:
    return {
        output.name: f"INSERT INTO {output.name} {output.select(decided)}"
        for output in outputs_of(decided.job)
        if output.select
    }
