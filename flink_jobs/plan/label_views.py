"""Joins labels to predictions, as SQL views: Java keeps each scored row until the label of its record comes.

Conditions on labels are arguments of the UDFs, or are on their results: the planner moves other filters.
"""

from __future__ import annotations

from dataclasses import replace

from flink_jobs.plan import sql
from flink_jobs.plan.outputs import result_field, selected
from flink_jobs.plan.topics import compared_labels, labels_of
from flink_jobs.plan.views import EVENT_TIME, Function, Views, non_null, types
from flink_jobs.spec import JobSpec
from udfs.quality.params import QualityParams
from udfs.scoring.params import LabelParams
from udfs.scoring.rows import LABEL, LABEL_KEY, LABELS, QUALITY_LABELS, READ_LABEL, labelled_row


def with_labels(job: JobSpec, views: Views, quality: QualityParams | None) -> Views:
    """The views, with those that read and join labels if the job has any."""
    labels = labels_of(job)
    if labels is None:
        return views
    compared = compared_labels(job) is not None
    window = job.comparisons.window if job.comparisons else labels.wait
    own = (quality.count, quality.labels) if quality else (None, None)
    params = LabelParams(labels.key or labels.on, labels.field, window, compared, *own)
    wait = sql.interval(labels.wait)
    added = {
        "label_records": sql.with_lateness("labels"),
        "labels_read": (
            "SELECT _partition, _offset, event_time, "
            f"read_label(_value, {EVENT_TIME}, _late) AS _result\nFROM label_records"
        ),
        "labels_used": (
            f"SELECT {selected(LABEL_KEY)}, {selected(LABEL)}, event_time, "
            "CONCAT(CAST(_partition AS STRING), ':', CAST(_offset AS STRING)) AS _place\n"
            f"FROM labels_read AS r WHERE {result_field(LABEL)} IS NOT NULL"
        ),
        # A later label of the same key is another's, or a repeat of this one that must not count.
        "labels_placed": (
            "SELECT _label_key, _label, event_time, _place, FIRST_VALUE(_place) OVER w AS _first\n"
            "FROM labels_used WINDOW w AS "
            f"(PARTITION BY _label_key ORDER BY event_time RANGE BETWEEN {wait} PRECEDING AND CURRENT ROW)"
        ),
        "told": views.told,
        "labelled": (
            "SELECT count_labels(t._told, l._label, l._first = l._place, "
            "CAST(l.event_time AS TIMESTAMP(3)), CAST(t._told_at AS TIMESTAMP(3))) AS _result\n"
            "FROM told AS t JOIN labels_placed AS l ON t._label_key = l._label_key "
            f"AND l.event_time BETWEEN t._told_at AND t._told_at + {wait}"
        ),
    }
    functions = {
        "read_label": Function("LabelFunction", params, (), types(READ_LABEL)),
        "count_labels": Function("LabelledFunction", params, (), types(labelled_row(params))),
    }
    # Two queries, not one with UNION ALL: only what several sinks read is planned once.
    reports = tuple(non_null(LABELS, view) for view in ("labels_read", "labelled")) if compared else ()
    return replace(
        views,
        views={**views.views, **added},
        functions={**views.functions, **functions},
        labels=reports,
        quality_labels=non_null(QUALITY_LABELS, "labelled") if quality else None,
    )
