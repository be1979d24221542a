"""Joins the monitor and the rollout controller to a job, from its scored rows to the topics of reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pyflink.common import Row, Types

from flink_jobs.plan import Runnable
from flink_jobs.run.translation import translate_together
from udfs.flink import drift, quality, rollout
from udfs.flink.results import ALERT, RECORD, RESULT
from udfs.flink.webhook import WebhookFunction
from udfs.rollout.controller import RolloutControllerParams


def attach_monitor(plan: Runnable, tables: Any, environment: Any, statements: Any) -> None:
    """Adds the statements' inserts and the monitors to the environment, which is ready to execute then."""
    views = plan.views
    wanted = (views.parts, views.rollout, *views.labels, views.quality, views.quality_labels)
    queries = [query for query in wanted if query]
    streams = iter(translate_together(tables, environment, statements, queries))
    selects: dict[str, list[str]] = {}
    watching = []
    if plan.drift is not None:
        watching.append(_attach_drift(plan, tables, next(streams), selects))
    if plan.controller is not None:
        watching.append(_attach_controller(plan, tables, streams, selects))
    if plan.quality is not None:
        watching.append(_attach_quality(plan, tables, streams, selects))
    if plan.webhook and watching:
        first, *others = watching
        _single(first.union(*others) if others else first, WebhookFunction(plan.webhook), RESULT, "webhook")
    outputs = tables.create_statement_set()
    for sink, parts in selects.items():
        outputs.add_insert_sql(f"INSERT INTO {sink} {' UNION ALL '.join(parts)}")
    outputs.attach_as_datastream()


def _attach_drift(plan: Runnable, tables: Any, parts: Any, selects: dict[str, list[str]]) -> Any:
    assert plan.drift is not None
    monitor = drift.MonitorFunction(plan.drift.monitor, live=not plan.bounded)
    reports = _single(parts, monitor, RESULT, "monitor")
    _select(tables, reports, "reports", {"drift": RECORD, "alerts": ALERT}, selects)
    return reports


def _attach_controller(
    plan: Runnable, tables: Any, streams: Iterator[Any], selects: dict[str, list[str]]
) -> Any:
    assert plan.controller is not None
    reports = next(streams)
    if plan.views.labels:
        compared = _labelled(
            plan.controller, reports, [next(streams) for _ in plan.views.labels], live=not plan.bounded
        )
    else:
        compared = _single(
            reports,
            rollout.RolloutFunction(plan.controller, live=not plan.bounded),
            RESULT,
            "rollout",
        )
    _select(tables, compared, "compared", {"comparisons": RECORD, "alerts": ALERT}, selects)
    return compared


def _labelled(params: RolloutControllerParams, reports: Any, labels: Sequence[Any], *, live: bool) -> Any:
    """Windows close by the watermark of the records alone, and then take the labels that have come."""
    closed = _single(reports, rollout.ClosingFunction(params), rollout.CLOSED, "rollout-windows")
    counted = labels[0].union(*labels[1:]).map(lambda row: Row(0, "", row[0]), output_type=rollout.CLOSED)
    counted = counted.uid("tailrace-labels").name("labels").set_parallelism(1)
    return _single(closed.union(counted), rollout.LabelledFunction(params, live=live), RESULT, "rollout")


def _attach_quality(
    plan: Runnable, tables: Any, streams: Iterator[Any], selects: dict[str, list[str]]
) -> Any:
    """As for comparisons, windows close by the watermark of the records alone."""
    assert plan.quality is not None
    closed = _single(
        next(streams), quality.QualityWindowsFunction(plan.quality), rollout.CLOSED, "quality-windows"
    )
    if plan.views.quality_labels:
        counted = next(streams).map(lambda row: Row(0, quality.LABELS, row[0]), output_type=rollout.CLOSED)
        counted = counted.uid("tailrace-quality-labels").name("quality labels").set_parallelism(1)
        closed = closed.union(counted)
    published = _single(
        closed, quality.QualityFunction(plan.quality, live=not plan.bounded), RESULT, "quality"
    )
    alerts = {"alerts": ALERT} if plan.job.alerts else {}
    _select(tables, published, "qualities", {"quality": RECORD, **alerts}, selects)
    return published


def _single(stream: Any, function: Any, result: Any, name: str) -> Any:
    """The function over the whole stream, in one instance."""
    return (
        stream.key_by(lambda _: 0, key_type=Types.INT())
        .process(function, output_type=result)
        .uid(f"tailrace-{name}")
        .name(name)
        .set_parallelism(1)
        .set_max_parallelism(1)
    )


def _select(
    tables: Any, stream: Any, view: str, kinds: dict[str, int], selects: dict[str, list[str]]
) -> None:
    tables.create_temporary_view(view, tables.from_data_stream(stream))
    for sink, kind in kinds.items():
        selects.setdefault(sink, []).append(f"SELECT _key, _value FROM {view} WHERE _kind = {kind}")
