"""Tells where a job's personal data can be: each topic, state and file, how treated and how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from flink_jobs.plan import Plan
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.outputs import outputs_of
from flink_jobs.plan.personal import declassified, has_personal_data, key_treatment, records_treatment
from flink_jobs.plan.topics import labels_of
from flink_jobs.plan.window_stages import WindowStages
from flink_jobs.spec.scalars import format_duration
from udfs.store.base import without_secrets

Rows = Iterator[tuple[str, ...]]
_TREATED = {"hash": "as keyed hashes", "encrypt": "encrypted", "mask": "as masks", "drop": "not written"}
_RECORDS = {
    "keep": "whole records, as they came",
    "encrypt": "whole records, encrypted",
    "drop": "no record, only its coordinates and the reason",
}
_TOPIC = "as long as the topic keeps its records"
_STATE = "and in each checkpoint and savepoint of that time, until it is deleted"


@dataclass(frozen=True)
class Place:
    """Where personal data can be: `kind` is topic, state, file or database."""

    kind: str
    name: str
    holds: str
    until: str


def privacy_data(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    return {
        "columns": [
            {"name": name, "treatment": label.treatment, "made_of": [*label.fields], "way": label.way}
            for name, label in plan.labels.items()
        ],
        "declassified": [
            {"name": each.column, "made_of": [*label.fields], "way": label.way, "reason": each.reason}
            for each, label in declassified(plan.job, plan.columns)
        ],
        "places": [asdict(place) for place in places(plan)],
    }


def label_rows(plan: Plan) -> Rows:
    """A line for each column that carries a label, or would."""
    for name, label in plan.labels.items():
        made_of = ", ".join(field for field in label.fields if field != name)
        yield name, label.treatment, f"of {made_of}: {label.way}" if made_of else label.way
    for each, label in declassified(plan.job, plan.columns):
        made_of = f"of {', '.join(label.fields)}: {label.way}"
        yield each.column, "declassified", f"{made_of}; because: {each.reason}"


def place_rows(plan: Plan) -> Rows:
    """A line for each place."""
    for place in places(plan):
        yield place.kind, place.name, place.holds, place.until


def places(plan: Plan) -> list[Place]:
    """All places; none for a job without personal data."""
    if not has_personal_data(plan.job):
        return []
    return [*_topics(plan), *_state(plan), *_files(plan)]


def _topics(plan: Plan) -> Iterator[Place]:
    job = plan.job
    yield Place("topic", job.source.topic, "whole records, as they came", _TOPIC)
    if labels := labels_of(job):
        yield Place("topic", labels.topic, "what its producers write", _TOPIC)
    holds = {
        "predictions": _prediction(plan),
        "shadows": f"keys {_keys(plan)}; no column",
        "dead_letters": _RECORDS[records_treatment(job, "dead_letters")],
        "late": _RECORDS[records_treatment(job, "late")],
    }
    for output in outputs_of(job):
        yield Place("topic", output.topic(job), holds.get(output.name, "none"), _TOPIC)


def _prediction(plan: Plan) -> str:
    included = [name for name in plan.job.predictions.include if name in plan.labels]
    columns = [f"{name} {_TREATED[plan.labels[name].treatment]}" for name in included]
    return "; ".join([f"keys {_keys(plan)}", *columns])


def _keys(plan: Plan) -> str:
    treatment = key_treatment(plan.job, plan.labels)
    return _TREATED[treatment] if treatment else "as the source has them"


def _state(plan: Plan) -> Iterator[Place]:
    job = plan.job
    for view in plan.views.views.values():
        if isinstance(view, WindowStages):
            wait = format_duration(job.source.event_time.out_of_order)
            holds = "whole records, as they came"
            yield Place(
                "state", "records that wait for the watermark", holds, f"{wait} of event time {_STATE}"
            )
    for name, window in job.features.windows.items():
        read = dict.fromkeys([*window.by, *(a.column for a in window.select.values() if a.column)])
        private = [
            column for column in read if column in job.source.columns and job.source.columns[column].pii
        ]
        if private:
            size = f"{window.size} rows" if window.kind == "rows" else format_duration(window.size)
            yield Place("state", f"window {name}", f"{', '.join(private)}, as they came", f"{size} {_STATE}")
    for name, lookup in topic_lookups(job).items():
        if private := [column for column in (*lookup.by, *lookup.select) if column in plan.labels]:
            until = f"until the row changes, and {format_duration(lookup.wait)} {_STATE}"
            yield Place("state", f"table {name}", f"{', '.join(private)}, as they came", until)
    if job.drift and job.drift.duplicates:
        until = f"{format_duration(job.drift.window)} {_STATE}"
        yield Place("state", "repeated keys of drift", "64 bits of a hash of each key", until)
    if (labels := labels_of(job)) and (labels.on in plan.labels):
        until = f"{format_duration(labels.wait)} {_STATE}"
        yield Place("state", "records that wait for labels", f"{labels.on}, as it came", until)


def _files(plan: Plan) -> Iterator[Place]:
    for name, lookup in plan.job.features.lookups.items():
        private = any(column in plan.labels for column in (*lookup.by, *lookup.select))
        if private and lookup.file:
            yield Place(
                "file", without_secrets(lookup.file), f"what lookup {name} reads", "until you delete it"
            )
        elif private and lookup.database:
            place = lookup.database.place
            yield Place("database", place, f"what lookup {name} reads", "until you delete it")
    fed = [item.name for item in plan.inputs if item.column.name in plan.labels]
    if fed:
        holds = f"golden rows and profile of {', '.join(fed)}, as the maker gave them"
        yield Place("file", f"model {plan.manifest.name}", holds, "until the version is deleted")
