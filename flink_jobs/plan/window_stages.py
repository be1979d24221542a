"""Plans windows over events: which of Flink's elements are blobs of rows, and how they become outcomes.

Records are decoded once, and go as blobs to the shards of the first key; each stage does all windows by one
key, and the last one scores. See `udfs.windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flink_jobs.plan import sql
from flink_jobs.plan.columns import JobColumns, condition_name, vector_parts
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.outputs import result_field, selected
from flink_jobs.plan.sql import RECORD
from flink_jobs.plan.tables import changes_time
from flink_jobs.spec import Aggregate, JobSpec, Lookup, Window
from udfs.features import DerivedParams
from udfs.records.contract import Contract, Field
from udfs.records.debezium import EnvelopeParams
from udfs.records.formats import FormatParams
from udfs.records.personal import RecordTreatment
from udfs.scoring.outcomes import LABEL_KEPT, PREDICTED
from udfs.scoring.params import ChangesParams, PackParams, ScoreParams, SourceParams
from udfs.scoring.rows import KIND, LABEL_KEY, PROBLEM, SCORED, SEALED, SHARDS, OutcomeColumn, RowColumn
from udfs.types import ColumnType, held_as
from udfs.windows.params import COMPLETE, AggregateParams, GroupParams, StageParams, TableParams, WindowParams
from udfs.windows.window_rows import WINDOW_COLUMNS

# Flink's largest parallelism of windows. Their state is made of so many shards, for ever.
SHARDS_OF_WINDOWS = 32
# The column of changes with Debezium's word for them; no column of a job has such a name.
_OP = "(change)"
# What the stages read, and what follows them: rows that were not to be scored, and outcomes.
BLOBS, REJECTED, OUTCOMES = "blobs", "rejected", "outcomes"


@dataclass(frozen=True)
class WindowStages:
    """Stages between views. `blobs` is the query of (shard, blob) that the first one reads.

    The rows of `rejected`, a query, and the outcomes of the last stage are the views REJECTED and OUTCOMES.
    `changes` are the queries of (shard, blob) that stages read too: changes by the name of a stage's table,
    rows that are read once more by the name of its operator.
    """

    stages: tuple[StageParams, ...]
    pack: PackParams = field(repr=False)
    score: ScoreParams = field(repr=False)
    blobs: str
    rejected: str
    changes: Mapping[str, str] = field(default_factory=dict)


def between_views(
    checked: str,
    row: tuple[OutcomeColumn, ...],
    stages: tuple[StageParams, ...],
    pack: PackParams,
    score: ScoreParams,
) -> WindowStages:
    """The stages that follow the view `checked`, whose rows have `row` and shards as their result."""
    reports = [column for column in row if column not in (KIND, PROBLEM, SEALED)]
    reported = "".join(f" OR {result_field(column)} IS NOT NULL" for column in reports)
    rejected = (
        f"SELECT {', '.join((*RECORD, *map(selected, row)))} FROM {checked} AS r "
        f"WHERE {result_field(KIND)} <> {PREDICTED}{reported}"
    )
    changes = {table.name: shards_of(changes_view(table.name)) for stage in stages if (table := stage.table)}
    return WindowStages(stages, pack, score, shards_of(checked), rejected, changes)


def shards_of(view: str) -> str:
    """The query of (shard, blob) out of the results of a view."""
    return (
        f"SELECT b._shard, b._rows FROM (SELECT {selected(SHARDS)} FROM {view} AS r "
        f"WHERE {result_field(SHARDS)} IS NOT NULL) AS p "
        f"CROSS JOIN UNNEST(p.{SHARDS.name}) AS b(_shard, _rows)"
    )


def changes_view(lookup: str) -> str:
    """The view of a topic's changes of a table."""
    return f"changes_of_{lookup}"


def of_arrays(kind: int, headers: Sequence[str] = ()) -> str:
    """The query of keys and values out of the arrays of this kind, with the headers that go along."""
    given = ", ".join(
        f"{sql.text(name)}, o._passed[(v.n - 1) * {len(headers)} + {place}]"
        for place, name in enumerate(headers, 1)
    )
    columns = f", MAP[{given}] AS _headers" if headers else ""
    return (
        f"SELECT o._keys[v.n] AS _key, v._value{columns} FROM {OUTCOMES} AS o "
        f"CROSS JOIN UNNEST(o._values) WITH ORDINALITY AS v(_value, n) WHERE o._kind = {kind}"
    )


def whole_records(kind: int, treatment: RecordTreatment, *columns: RowColumn) -> str:
    """The query of records of this kind: those of the first check, and those of windows and the model.

    If they are encrypted, `_value` is the envelope.
    """
    names = [column.name for column in columns]
    sealed = {"_value": f"{SEALED.name} AS _value"} if treatment == "encrypt" else {}
    later = {"_timestamp": "TO_TIMESTAMP_LTZ(_timestamp, 3) AS _timestamp"}
    return (
        f"SELECT {', '.join((*(sealed.get(name, name) for name in RECORD), *names))} "
        f"FROM {REJECTED} WHERE _kind = {kind} UNION ALL "
        f"SELECT {', '.join((*(later.get(name, name) for name in RECORD), *names))} "
        f"FROM {OUTCOMES} WHERE _kind = {kind}"
    )


def reports(column: RowColumn, kind: int) -> str:
    """The query of what is said of batches."""
    return f"SELECT _value AS {column.name} FROM {OUTCOMES} WHERE _kind = {kind}"


def scored_keys() -> str:
    """The query of scored records that wait for their labels."""
    return (
        f"SELECT {LABEL_KEY.name}, _value AS {SCORED.name}, event_time AS _told_at "
        f"FROM {OUTCOMES} WHERE _kind = {LABEL_KEPT}"
    )


def shard_keys(shards: int) -> tuple[int, ...]:
    """A key for each of Flink's key groups, so that shards are spread evenly at any parallelism."""
    found: dict[int, int] = {}
    key = 0
    while len(found) < shards:
        found.setdefault(_key_group(key, shards), key)
        key += 1
    return tuple(found[group] for group in range(shards))


def _key_group(key: int, groups: int) -> int:
    """Where Flink puts a row of one INT: its murmur hash (KeyGroupRangeAssignment) of Row.hashCode()."""
    code = _rotated((62 + key) * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD
    code = (_rotated(code, 13) * 5 + 0xE6546B64 & _WORD) ^ 4
    code = (code ^ code >> 16) * 0x85EBCA6B & _WORD
    code = (code ^ code >> 13) * 0xC2B2AE35 & _WORD
    code ^= code >> 16
    return min(code, _WORD + 1 - code) % groups


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _WORD


_WORD = 0xFFFF_FFFF
SHARD_KEYS = shard_keys(SHARDS_OF_WINDOWS)


def stages_of(job: JobSpec, columns: JobColumns) -> tuple[StageParams, ...]:
    """A stage for each key, in the order of the job file; each adds its results to the next one's columns.

    Or one stage of the window that is scored itself. Then one for each table of a topic.
    """
    by_key: dict[tuple[str, ...], list[Window]] = {}
    for window in job.features.windows.values():
        by_key.setdefault(tuple(window.by), []).append(window)
    stages, known = [], dict(_fields(job)) | {each.name: held_as(each.tree[1]) for each in columns.taken}
    known |= {name: "boolean" for name, _ in columns.conditions}
    for by, windows in by_key.items():
        results = {name: held_as(columns[name].type) for window in windows for name in window.select}
        complete = COMPLETE in columns.columns
        if complete and COMPLETE not in known:
            results[COMPLETE] = "boolean"
        types = tuple(known.items()), tuple(results.items())
        if job.score == "per_window":
            stages.append(StageParams(by, (), *types, group_params(windows[0])))
            known = {name: known[name] for name in by} | results | dict(WINDOW_COLUMNS)
            break
        stages.append(StageParams(by, tuple(map(window_params, windows)), *types, complete=complete))
        known |= results
    lag = 0
    for name, lookup in topic_lookups(job).items():
        taken = {new: columns[new].type for new in lookup.select}
        # What waits longer for one table comes later to the next.
        lag += lookup.wait
        table = TableParams(name, lag, lookup.retention or 0)
        stages.append(StageParams(lookup.by, (), tuple(known.items()), tuple(taken.items()), table=table))
        known |= taken
    return tuple(stages)


def changes_params(job: JobSpec, columns: JobColumns) -> dict[str, ChangesParams]:
    """How the topics of tables are read, by lookup."""
    return {name: _changes(job, lookup, columns) for name, lookup in topic_lookups(job).items()}


def _changes(job: JobSpec, lookup: Lookup, columns: JobColumns) -> ChangesParams:
    key = zip(lookup.by, lookup.key, strict=True)
    fields = [_field(name, columns[name].type, place, required=True) for name, place in key]
    fields += [_field(name, columns[name].type, place) for name, place in lookup.columns.items()]
    envelope, own = None, list[Field]()
    if lookup.envelope == "debezium":
        own = [Field(_OP, "string", path=("op",))]
        envelope = EnvelopeParams("debezium", frozenset({_OP}), before=True)
    source = SourceParams(
        lookup.topic or "",
        Contract((*fields, *own)),
        job.source.max_bytes,
        changes_time(lookup),
        written=FormatParams(envelope=envelope),
    )
    return ChangesParams(source, lookup.by, tuple(lookup.select), SHARD_KEYS, _OP if own else None)


def _field(name: str, kind: ColumnType, place: str, *, required: bool = False) -> Field:
    steps = tuple(place.split("."))
    return Field(name, kind, required, path=() if steps == (name,) else steps)


def window_params(window: Window) -> WindowParams:
    """What workers are told of a window over events."""
    return WindowParams(window.over or 0, window.rows or 0, _select(window))


def group_params(window: Window) -> GroupParams:
    """What workers are told of a window that is scored itself."""
    size = window.tumble or window.hop or 0
    return GroupParams(size, window.every or size, window.session or 0, _select(window))


def _select(window: Window) -> dict[str, AggregateParams]:
    return {name: aggregate_params(aggregate) for name, aggregate in window.select.items()}


def aggregate_params(aggregate: Aggregate) -> AggregateParams:
    """What workers are told of one result."""
    return AggregateParams(
        aggregate.function,
        aggregate.column,
        aggregate.distinct,
        aggregate.offset or 1,
        0.5 if aggregate.share is None else aggregate.share,
        aggregate.half_life or 0,
        condition_name(aggregate.where) if aggregate.where else None,
    )


def pack_params(source: SourceParams, by: tuple[str, ...], columns: JobColumns) -> PackParams:
    """How records go to the shards of the first stage, with the conditions of all."""
    conditions = tuple(DerivedParams(name, expression.tree) for name, expression in columns.conditions)
    return PackParams(source, by, SHARD_KEYS, conditions)


def _fields(job: JobSpec) -> Mapping[str, ColumnType]:
    columns = job.source.columns.items()
    fields: dict[str, ColumnType] = {name: held_as(field.column_type) for name, field in columns}
    return fields | dict.fromkeys(vector_parts(job), "double")
