"""Describes a plan: as text for people and as plain data for programs; secrets are masked in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flink_jobs.plan import Plan
from flink_jobs.plan.flink_options import checkpoint_ms
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.outputs import Output, outputs_of
from flink_jobs.plan.personal import records_treatment
from flink_jobs.plan.prediction_schema import output_subject
from flink_jobs.plan.privacy import label_rows, place_rows, privacy_data
from flink_jobs.plan.topics import labels_of
from flink_jobs.plan.window_stages import BLOBS, OUTCOMES, REJECTED, WindowStages
from flink_jobs.spec import JobSpec, Lookup, Window
from flink_jobs.spec.scalars import as_text as scalar_text
from flink_jobs.spec.scalars import format_duration
from flink_jobs.spec.secrets import redact
from udfs.model.manifest import digest
from udfs.records.schema_texts import shown_schema
from udfs.store.base import without_secrets

SCHEMA = "tailrace.plan/1"
Rows = Iterable[tuple[str, ...]]
_SPOKEN = {"avro": "Avro", "protobuf": "Protobuf", "json_schema": "JSON of a schema"}


def as_data(plan: Plan) -> dict[str, Any]:
    """The whole plan as JSON-ready data with stable keys; durations are in milliseconds."""
    return {"schema": SCHEMA} | {key: plan.job.masks.hide_in(value) for key, value in _data(plan).items()}


def _data(plan: Plan) -> dict[str, Any]:
    job = plan.job
    return {
        "job": job.job,
        "score": job.score,
        "brokers": job.kafka.brokers,
        "delivery": job.runtime.delivery,
        "source": _source_data(job),
        "outputs": {output.name: {"topic": output.topic(job)} for output in outputs_of(job)},
        **_schema_data(plan),
        **({"rules": dict(job.source.rules)} if job.source.rules else {}),
        "include": list(job.predictions.include),
        "explain": job.predictions.explain,
        "windows": {name: _window_data(window) for name, window in job.features.windows.items()},
        "lookups": {name: _lookup_data(lookup) for name, lookup in job.features.lookups.items()},
        "derived": {name: expression.text for name, expression in plan.columns.derived},
        "columns": [
            {"name": c.name, "type": c.type, "from": c.origin, "nullable": c.nullable}
            for c in plan.columns.columns.values()
        ],
        "model": _model_data(plan),
        "options": shown_options(plan),
        "privacy": privacy_data(plan),
        "sql": sql_data(plan),
    }


def _source_data(job: JobSpec) -> dict[str, Any]:
    source, when = job.source, job.source.event_time
    return {
        "topic": source.topic,
        "format": source.format,
        "start": source.start,
        "max_bytes": source.max_bytes,
        "read_ahead": source.read_ahead,
        "event_time": {"from": _time_origin(job), "name": when.field or when.header, "unit": when.unit}
        | {"out_of_order": when.out_of_order, "idle": when.idle, "max_ahead": when.max_ahead},
    }


def _time_origin(job: JobSpec) -> str:
    when = job.source.event_time
    return "field" if when.field else "header" if when.header else "timestamp"


def _window_data(window: Window) -> dict[str, Any]:
    return {
        "by": list(window.by),
        "kind": window.kind,
        "size": window.size,
        "every": window.every,
        "select": {name: str(aggregate) for name, aggregate in window.select.items()},
    }


def _lookup_data(lookup: Lookup) -> dict[str, Any]:
    if lookup.file:
        return {
            "file": without_secrets(lookup.file),
            "by": lookup.by[0],
            "key": lookup.key[0],
            "select": lookup.columns,
        }
    if lookup.database:
        return {
            "database": lookup.database.place,
            "table": lookup.table,
            "query": lookup.query,
            "by": lookup.by[0],
            "key": lookup.key[0],
            "select": lookup.columns,
            "every": lookup.every,
        }
    when = lookup.event_time
    return {
        "topic": lookup.topic,
        "by": list(lookup.by),
        "key": list(lookup.key),
        "select": lookup.columns,
        "envelope": lookup.envelope,
        "event_time": {"name": when.field or when.header, "unit": when.unit, "idle": when.idle}
        | {"out_of_order": when.out_of_order, "max_ahead": when.max_ahead},
        "wait": lookup.wait,
        "retention": lookup.retention,
    }


def _model_data(plan: Plan) -> dict[str, Any]:
    manifest, job = plan.manifest, plan.job
    return {
        "name": manifest.name,
        "version": manifest.version,
        "release": plan.release.number,
        "use": job.model.use,
        "registry": without_secrets(job.model.registry),
        "digest": digest(manifest),
        "format": manifest.format,
        "output": {
            "kind": manifest.signature.output.kind,
            "classes": list(manifest.signature.output.classes),
        },
        "threshold": job.model.threshold,
        "inputs": [
            {"name": i.name, "type": i.type, "column": i.column.name, "column_type": i.column.type}
            | {"from": i.column.origin}
            for i in plan.inputs
        ],
    }


def shown_options(plan: Plan) -> dict[str, str]:
    """The job's Flink options without the values of secret ones."""
    return dict(sorted(redact(plan.options, mask="**********").items()))


def sql_data(plan: Plan) -> dict[str, dict[str, str]]:
    """The SQL that runs, by name: tables, views in order of dependency, and inserts."""
    return {
        "tables": {table.name: table.ddl() for table in plan.tables},
        "views": dict(_queries(plan.views.views)),
        "functions": {name: function.kind for name, function in plan.views.functions.items()},
        "inserts": dict(plan.views.inserts),
    }


def _queries(views: Mapping[str, str | WindowStages]) -> Iterator[tuple[str, str]]:
    """Stages of windows stand between the two queries that they read and the view of their outcomes."""
    for name, view in views.items():
        if isinstance(view, str):
            yield name, view
        else:
            yield REJECTED, view.rejected
            yield BLOBS, view.blobs
            yield from ((f"{BLOBS}_of_{name}", query) for name, query in view.changes.items())


def _stages(views: Mapping[str, str | WindowStages]) -> list[str]:
    return [
        f"-- {OUTCOMES} is made of {BLOBS} by {f'table {stage.table.name}' if stage.table else 'windows'} by "
        f"{', '.join(stage.by)}"
        for view in views.values()
        if isinstance(view, WindowStages)
        for stage in view.stages
    ]


def as_text(plan: Plan) -> str:
    """The plan for a person: headings at the left margin, what they hold indented."""
    job = plan.job
    row = "event" if job.score == "per_event" else "key and window"
    heading = f"{job.job}: a score for each {row}, {job.runtime.delivery.replace('_', ' ')}"
    sections: dict[str, list[tuple[str, ...]]] = {
        "Topics": [*_topics(job, row)],
        "Event time": [(_event_time(job),)],
        "Rules of records": [*job.source.rules.items()],
        "Windows": [line for item in job.features.windows.items() for line in _window(*item)],
        "Lookups": [_lookup(*item) for item in job.features.lookups.items()],
        "Derived features": [(name, f"= {expression.text}") for name, expression in plan.columns.derived],
        "Personal data": [*label_rows(plan)],
        _model_title(plan): [*_inputs(plan)],
        "Flink options": [*shown_options(plan).items()],
        "Against what the other keys say": [*_overrides(job)],
    }
    return _shown(job, heading, sections)


def privacy_text(plan: Plan) -> str:
    """Which columns carry personal data, and where it can be."""
    job = plan.job
    sections = {"Personal data": [*label_rows(plan)], "Where it can be": [*place_rows(plan)]}
    found = any(sections.values())
    return _shown(job, f"{job.job}: {'personal data' if found else 'no personal data is declared'}", sections)


def _shown(job: JobSpec, heading: str, sections: Mapping[str, list[tuple[str, ...]]]) -> str:
    hide = job.masks.hide
    shown = {title: [tuple(map(hide, row)) for row in rows] for title, rows in sections.items() if rows}
    parts = [heading, *(_section(title, rows) for title, rows in shown.items())]
    return hide("\n\n".join(parts)) + "\n"


def as_sql(plan: Plan) -> str:
    """The SQL as one script; `-- name (function)` says which UDF a name calls."""
    data = sql_data(plan)
    functions = [f"-- {name} is udfs.flink.functions.{kind}" for name, kind in data["functions"].items()]
    functions += _stages(plan.views.views)
    views = [f"CREATE TEMPORARY VIEW {name} AS\n{query}" for name, query in data["views"].items()]
    statements = [*data["tables"].values(), *views, *data["inserts"].values()]
    script = "\n".join(functions) + "\n\n" + "\n\n".join(f"{statement};" for statement in statements) + "\n"
    return plan.job.masks.hide(script)


def _section(title: str, rows: Rows) -> str:
    return "\n".join([title, *_aligned(rows)])


def _aligned(rows: Rows) -> list[str]:
    """The rows as indented lines, each column padded to its widest cell."""
    table = list(rows)
    count = max((len(row) for row in table), default=0)
    widths = [max(len(row[k]) for row in table if len(row) > k) for k in range(count)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in table)
    return [f"  {line.rstrip()}" for line in lines]


def _topics(job: JobSpec, row: str) -> Rows:
    start = {"committed": "where the group stopped"}.get(job.source.start, f"the {job.source.start} record")
    yield "reads", job.source.topic, f"{job.source.format}, from {start} at {job.kafka.brokers}"
    if labels := labels_of(job):
        wait = format_duration(labels.wait)
        yield "reads", labels.topic, f"labels: {labels.field}, by {labels.on}, up to {wait} after the record"
    for name, lookup in topic_lookups(job).items():
        yield "reads", lookup.topic or "", f"the table of lookup {name}, from its beginning"
    carried = [*job.predictions.include, *_explained(job)]
    with_them = f", with {', '.join(carried)}" if carried else ""
    for output in outputs_of(job):
        yield "writes", output.topic(job), _carried(job, output).format(row=row, included=with_them)
    interval = format_duration(checkpoint_ms(job))
    if job.runtime.delivery == "exactly_once":
        yield (
            "",
            "all of them",
            f"exactly once: committed together every {interval}, for read_committed readers",
        )
    else:
        yield "", "all of them", f"at least once: after a failure up to {interval} are written again"


def _overrides(job: JobSpec) -> Rows:
    for section, given in (("kafka", job.kafka.overrides), ("runtime", job.runtime.overrides)):
        for name, each in given.items():
            yield f"{section}: {name}", scalar_text(each.value), f"because: {each.reason}"


def _schema_data(plan: Plan) -> dict[str, Any]:
    if plan.predictions_schema is None:
        return {}
    written = {"subject": output_subject(plan.job), "schema": shown_schema(plan.predictions_schema)}
    return {"predictions_schema": written}


def _carried(job: JobSpec, output: Output) -> str:
    if output.name == "predictions" and job.predictions.format != "json":
        return f"{output.carries}, in {_SPOKEN[job.predictions.format]}, as {output_subject(job)}"
    treatment = records_treatment(job, output.name) if output.whole_records else "keep"
    return {"keep": output.carries, "encrypt": output.encrypted, "drop": output.dropped}[treatment]


def _explained(job: JobSpec) -> list[str]:
    count = job.predictions.explain
    if not count:
        return []
    return ["the largest contribution" if count == 1 else f"the {count} largest contributions"]


def _event_time(job: JobSpec) -> str:
    when = job.source.event_time
    origin = f"{_time_origin(job)} {when.field or when.header} ({when.unit})"
    if not (when.field or when.header):
        origin = "the Kafka record's timestamp"
    return (
        f"{origin}; up to {format_duration(when.out_of_order)} out of order, else late; more than "
        f"{format_duration(when.max_ahead)} ahead is an error; a partition is idle after "
        f"{format_duration(when.idle)}{_read_ahead(job)}"
    )


def _read_ahead(job: JobSpec) -> str:
    bound = job.source.read_ahead
    return f"; none is read more than {format_duration(bound)} ahead of the slowest" if bound else ""


def _window(name: str, window: Window) -> Rows:
    by, size = ", ".join(window.by), window.size
    text = {
        "over": f"the last {format_duration(size)}",
        "rows": f"the last {size} rows",
        "tumble": f"each {format_duration(size)}",
        "hop": f"{format_duration(size)} every {format_duration(window.every or 0)}",
        "session": f"sessions with gaps of {format_duration(size)}",
    }[window.kind]
    for index, (result, aggregate) in enumerate(window.select.items()):
        first = (name, f"by {by}", text) if index == 0 else ("", "", "")
        yield *first, f"{result} = {aggregate}"


def _lookup(name: str, lookup: Lookup) -> tuple[str, ...]:
    taken = ", ".join(new if new == old else f"{new} = {old}" for new, old in lookup.columns.items())
    by = f"by {', '.join(lookup.by)}"
    if lookup.file:
        return name, by, taken, f"from {without_secrets(lookup.file)}"
    if lookup.database:
        read = f"table {lookup.table}" if lookup.table else "a query"
        return (
            name,
            by,
            taken,
            f"from {read} of {lookup.database.place}, every {format_duration(lookup.every)}",
        )
    wait = f", up to {format_duration(lookup.wait)} late" if lookup.wait else ""
    kept = f", unknown {format_duration(lookup.retention)} after a change" if lookup.retention else ""
    return name, by, taken, f"from the topic {lookup.topic}, as of the event time{wait}{kept}"


def _model_title(plan: Plan) -> str:
    manifest, release = plan.manifest, plan.release.number
    output = manifest.signature.output
    classes = f" {', '.join(map(str, output.classes))}" if output.classes else ""
    source = f"release {release}" if release else "chosen by version"
    return (
        f"Model {manifest.name} version {manifest.version} ({source}, {manifest.format}, "
        f"{output.kind}{classes}, digest {digest(manifest)[:12]})"
    )


def _inputs(plan: Plan) -> Rows:
    yield "input", "type", "column", "from"
    for item in plan.inputs:
        column = item.column
        cast = "" if column.type == item.type else f" ({column.type})"
        yield item.name, item.type, column.name + cast, column.origin
