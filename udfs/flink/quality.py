"""Publishes quality in Flink: one function closes windows of records, another one takes their labels.

Labels that are behind hold back the watermark of an operator that reads both, and the join holds it back by
all the time that labels may take. So the first one closes windows by the watermark of the records alone, and
the second one knows by how much its own is behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.records import AlertRecord, Closed
from udfs.drift.partial import is_cut
from udfs.flink.results import ALERT, BYTES, RECORD
from udfs.flink.windows import END_OF_INPUT, IdleClock, WindowCodec, WindowMap, added_up
from udfs.flink.worker import prepare_worker
from udfs.quality.alerts import RULE as CONCEPT_CHANGE
from udfs.quality.alerts import AlertState, judge
from udfs.quality.counts import QualityReport, decode_report, encode_report
from udfs.quality.expected import ExpectedOf
from udfs.quality.params import QualityParams, final_at
from udfs.quality.publish import OpenWindow, Publisher
from udfs.quality.records import QualityRecord

_OPEN = msgspec.msgpack.Decoder(OpenWindow)
_ALERTS = msgspec.msgpack.Decoder(AlertState)
LABELS = ""
COUNTERS = ("quality_windows", "quality_final", "quality_unlabelled", "concept_changes", "quality_falls")
METRICS = {
    "realized": ("auc", "log_loss", "accuracy", "mae", "rmse"),
    "estimated": ("auc", "log_loss", "accuracy", "mae", "rmse"),
}
GAUGES = ("label_coverage", *(f"{kind}_{name}" for kind, names in METRICS.items() for name in names))


REPORTS = WindowCodec(added_up(QualityReport), encode_report, lambda data: decode_report(bytes(data)))


class PublishedQuality:
    """Counters and gauges of what is published; gauges are of the newest window, in millionths."""

    def __init__(self, group: Any) -> None:
        group = group.add_group("tailrace")
        self._counters = {name: group.counter(name) for name in COUNTERS}
        self._values = dict.fromkeys(GAUGES, 0)
        self._newest = {"realized": "", "estimated": ""}
        for name in GAUGES:
            group.gauge(name, lambda name=name: self._values[name])

    def publish(self, records: Sequence[QualityRecord], alerts: Sequence[AlertRecord]) -> None:
        for counter in self._counters.values():
            counter.inc(0)  # Rates need a 0 to begin with.
        for record in records:
            if record.segment is None:
                self._count(record)
        for alert in alerts:
            if alert.state == "firing" and alert.severity == "critical":
                kind = "concept_changes" if alert.rule == CONCEPT_CHANGE else "quality_falls"
                self._counters[kind].inc()

    def _count(self, record: QualityRecord) -> None:
        labels = record.labels
        self._counters["quality_windows"].inc(int(record.revision == 0))
        if labels and record.final:
            self._counters["quality_final"].inc()
            self._counters["quality_unlabelled"].inc(int(labels.n == 0))
            self._values["label_coverage"] = round(labels.coverage * 1_000_000)
        for kind, metrics in (("realized", record.realized), ("estimated", record.estimated)):
            if not metrics or record.window.start < self._newest[kind]:
                continue
            self._newest[kind] = record.window.start
            for name in METRICS[kind]:
                value = metrics[name].value if name in metrics else None
                if value is not None:
                    self._values[f"{kind}_{name}"] = round(value * 1_000_000)


class QualityWindowsFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of a report) → CLOSED: all that was predicted in a window, when the watermark has passed it.

    Or when nothing came for a while; what comes after that is another part of the same window.
    """

    def __init__(self, params: QualityParams) -> None:
        self._params = params

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._idle = IdleClock(self._params.idle_ms)
        self._windows = WindowMap(runtime_context, "windows", REPORTS)
        self._began = runtime_context.get_state(ValueStateDescriptor("began", Types.BOOLEAN()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:
        report, timers = decode_report(bytes(value[0])), ctx.timer_service()
        pieces = [(key[0], QualityReport({key: counts})) for key, counts in report.predicted.items()]
        for start in self._windows.add_all(pieces):
            timers.register_event_time_timer(start + self._params.count.window_ms - 1)
        self._idle.restart(timers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        timers = ctx.timer_service()
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            start = timestamp + 1 - self._params.count.window_ms
            # At the end of the input all that is open closes.
            ended = timers.current_watermark() >= END_OF_INPUT and start == max(
                self._windows.starts(), default=0
            )
            yield from self._close(start, "watermark", ended=ended)
        elif self._idle.is_over(timers):
            for start in self._windows.starts():
                yield from self._close(start, "idle")

    def _close(self, start: int, closed: Closed, *, ended: bool = False) -> Iterator[Row]:
        report = self._windows.pop(start)
        if report is not None:
            whole = [counts for key, counts in report.predicted.items() if key[2] is None]
            spans = [counts.span for counts in whole if counts.span]
            rows, end = sum(counts.rows for counts in whole), start + self._params.count.window_ms
            report.partial = is_cut(spans, rows, start, end, first=not self._began.value(), last=ended)
            self._began.update(True)
            yield Row(start, closed, encode_report(report))


class QualityFunction(KeyedProcessFunction):  # type: ignore[misc]
    """CLOSED, where labels are closed by nothing → ROW(_kind, _key, _value): records and alerts."""

    def __init__(self, params: QualityParams, *, live: bool) -> None:
        self._params, self._live = params, live
        # The join's watermark is behind those that it reads by the time that a record waits for its label.
        self._behind_ms = params.labels.wait_ms if params.labels else 0

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._idle = IdleClock(self._params.idle_ms)
        self._expected_of = ExpectedOf(self._params)
        self._publisher = Publisher(self._params, self._expected_of)
        self._windows = runtime_context.get_map_state(MapStateDescriptor("windows", Types.LONG(), BYTES))
        self._labels = WindowMap(runtime_context, "labels", REPORTS)
        self._state = runtime_context.get_state(ValueStateDescriptor("alerts", BYTES))
        self._published = PublishedQuality(runtime_context.get_metrics_group())

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        start, closed, report = value[0], value[1], decode_report(bytes(value[2]))
        timers = ctx.timer_service()
        self._idle.restart(timers)
        if closed == LABELS:
            pieces = [(key.until, QualityReport(labelled={key: c})) for key, c in report.labelled.items()]
            for until in self._labels.add_all(pieces):
                timers.register_event_time_timer(until - 1 - self._behind_ms)
        else:
            yield from self._written(
                start, self._publisher.counted(start, self._window(start), report, closed)
            )
        if self._params.labels:
            starts = {start} if closed != LABELS else {key.key[0] for key in report.labelled}
            for each in sorted(starts):
                final = final_at(each, self._params.count, self._params.labels)
                timers.register_event_time_timer(final - 1 - self._behind_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            now = timestamp + 1 + self._behind_ms
            yield from self._labelled([until for until in self._labels.starts() if until <= now])
            yield from self._ended(now)
        elif self._live and self._idle.is_over(ctx.timer_service()):
            yield from self._labelled(self._labels.starts())

    def _labelled(self, due: list[int]) -> Iterator[Row]:
        """Publishes labels in the order in which they are due."""
        for until in due:
            report = self._labels.pop(until) or QualityReport()
            for start in sorted({key.key[0] for key in report.labelled}):
                of_window = {key: c for key, c in report.labelled.items() if key.key[0] == start}
                yield from self._more(start, QualityReport(labelled=of_window), until)

    def _ended(self, now: int) -> Iterator[Row]:
        """Publishes windows for which no label can come any more."""
        waits = self._params.labels
        if waits is None:
            return
        for start in sorted(self._windows.keys()):
            final = final_at(start, self._params.count, waits)
            window = self._window(start)
            if final <= now and window and not window.ended:
                yield from self._more(start, QualityReport(), final)

    def _more(self, start: int, labels: QualityReport, until: int) -> Iterator[Row]:
        yield from self._written(start, self._publisher.labelled(start, self._window(start), labels, until))

    def _window(self, start: int) -> OpenWindow | None:
        data = self._windows.get(start)
        return _OPEN.decode(bytes(data)) if data is not None else None

    def _written(self, start: int, found: Iterator[QualityRecord]) -> Iterator[Row]:
        for _, of_revision in groupby(found, lambda record: record.revision):
            records = list(of_revision)
            # Who groups alerts knows by a window's record that all of them have come.
            yield from self._alerts(records)
            for record in records:
                key = f"{record.segment.column}={record.segment.value}" if record.segment else "all"
                yield Row(RECORD, key.encode(), msgspec.json.encode(record))
        if self._publisher.after is not None:
            self._windows.put(start, msgspec.msgpack.encode(self._publisher.after))
        elif self._windows.contains(start):
            self._windows.remove(start)

    def _alerts(self, records: Sequence[QualityRecord]) -> Iterator[Row]:
        data = self._state.value()
        known = {version: self._expected_of(version) for version in {record.version for record in records}}
        trained = {v: found.reference for v, found in known.items() if found and found.reference}
        before = _ALERTS.decode(bytes(data)) if data else AlertState()
        state, alerts = judge(before, records, self._params.fall, trained)
        self._state.update(msgspec.msgpack.encode(state))
        self._published.publish(records, alerts)
        for alert in alerts:
            yield Row(ALERT, alert.id.encode(), msgspec.json.encode(alert))
