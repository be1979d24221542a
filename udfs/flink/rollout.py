"""The comparison of versions as Flink runs it: reports merged in keyed state, windows closed by timers.

Without labels `RolloutFunction` does all of it. With labels `ClosingFunction` closes windows, and
`LabelledFunction` takes them and what came of labels. Labels that are behind hold back the watermark of an
operator that reads both, so that one must not close windows by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.records import Closed
from udfs.flink.worker import prepare_worker
from udfs.rollout.controller import ControllerState, RolloutController, RolloutControllerParams
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.version_metrics import MetricsReport, decode, encode

COMPARISON, ALERT = 0, 1
BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_decoder = msgspec.msgpack.Decoder(ControllerState)
RESULT = Types.ROW_NAMED(["_kind", "_key", "_value"], [Types.INT(), BYTES, BYTES])
# A closed window: its start, what closed it, its report. Labels: 0, nothing, their report.
CLOSED = Types.ROW_NAMED(["start", "closed", "report"], [Types.LONG(), Types.STRING(), BYTES])


class _Judge:
    """The rollout controller with its state in Flink's state."""

    def __init__(self, params: RolloutControllerParams, context: RuntimeContext, *, live: bool) -> None:
        self._controller = RolloutController(params, _now, live=live)
        self._memory = context.get_state(ValueStateDescriptor("memory", BYTES))

    def close(
        self, report: MetricsReport, start: int, closed: Closed, labels: LabelSums | None = None
    ) -> Iterator[Row]:
        data = self._memory.value()
        memory = _decoder.decode(bytes(data)) if data else ControllerState()
        closing = self._controller.close(report, start, memory, closed, labels)
        self._memory.update(msgspec.msgpack.encode(closing.memory))
        if closing.comparison:
            yield Row(COMPARISON, b"all", msgspec.json.encode(closing.comparison))
        for alert in closing.alerts:
            yield Row(ALERT, alert.id.encode(), msgspec.json.encode(alert))


class ClosingFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of a report) → CLOSED.

    A window closes when the watermark passes its end, or after `idle_ms` without a report; what comes for a
    closed one counts in the next. Events are written with the window that is open when they come.
    """

    def __init__(self, params: RolloutControllerParams) -> None:
        self._params = params
        self._last_seen = 0

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._windows = runtime_context.get_map_state(MapStateDescriptor("windows", Types.LONG(), BYTES))
        self._closed_until = runtime_context.get_state(ValueStateDescriptor("closed_until", Types.LONG()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        report = decode(bytes(value[0]))
        timers = ctx.timer_service()
        if report.events:
            yield from self.closed(MetricsReport(events=report.events), self._present(report), "early")
        closed_until = self._closed_until.value() or 0
        by_start: dict[int, MetricsReport] = {}
        for (start, version, role, release), counts in report.counts.items():
            begin = max(start, closed_until)
            by_start.setdefault(begin, MetricsReport()).add((begin, version, role, release), counts)
        for start, added in by_start.items():
            kept = self._windows.get(start)
            total = decode(bytes(kept)) if kept else MetricsReport()
            total.add_all(added)
            self._windows.put(start, encode(total))
            timers.register_event_time_timer(start + self._params.window_ms - 1)
        self._last_seen = now = _now()
        timers.register_processing_time_timer(_after(now, self._params.idle_ms))

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._close(timestamp + 1 - self._params.window_ms, "watermark")
        elif _now() - self._last_seen >= self._params.idle_ms:
            for start in sorted(self._windows.keys()):
                yield from self._close(start, "idle")

    def _close(self, start: int, closed: Closed) -> Iterator[Row]:
        if self._windows.contains(start):
            report = decode(bytes(self._windows.get(start)))
            end = start + self._params.window_ms
            self._closed_until.update(max(self._closed_until.value() or 0, end))
            self._windows.remove(start)
            yield from self.closed(report, start, closed)

    def closed(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        """What is sent on of a window."""
        yield Row(start, closed, encode(report))

    def _present(self, report: MetricsReport) -> int:
        """The window of events: the newest that the same batch tells of, else that of the clock."""
        newest = max((start for start, *_ in report.counts), default=_now())
        return newest - newest % self._params.window_ms


class RolloutFunction(ClosingFunction):
    """(bytes of a report) → ROW(_kind, _key, _value): records for the comparisons and the alerts topic."""

    def __init__(self, params: RolloutControllerParams, *, live: bool) -> None:
        super().__init__(params)
        self._live = live

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._judge = _Judge(self._params, runtime_context, live=self._live)

    def closed(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        yield from self._judge.close(report, start, closed)


class LabelledFunction(KeyedProcessFunction):  # type: ignore[misc]
    """CLOSED → the same as of RolloutFunction. A closed window takes all labels that have come up to its end.

    Labels that no later window takes get a record of their own; those without a time wait for one. On history
    a window waits for the labels that came in it, so that a replay says the same.
    """

    def __init__(self, params: RolloutControllerParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        self._last_seen = 0

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._judge = _Judge(self._params, runtime_context, live=self._live)
        self._labels = runtime_context.get_map_state(MapStateDescriptor("labels", Types.LONG(), BYTES))
        self._waiting = runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), BYTES))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        start, closed, data = value[0], value[1], bytes(value[2])
        timers, window = ctx.timer_service(), self._params.window_ms
        if closed == "":
            for label_start in filter(None, self._keep(decode_labels(data))):
                timers.register_event_time_timer(label_start + (2 if self._live else 1) * window - 1)
            self._last_seen = now = _now()
            timers.register_processing_time_timer(_after(now, self._params.idle_ms))
        elif self._live or closed == "early":
            labels = None if closed == "early" else self._taken(start)
            yield from self._judge.close(decode(data), start, closed, labels)
        else:
            self._waiting.put(start, data)
            timers.register_event_time_timer(start + window - 1)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        window = self._params.window_ms
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            start = timestamp + 1 - (2 if self._live else 1) * window
            report = MetricsReport()
            if self._waiting.contains(start):
                report = decode(bytes(self._waiting.get(start)))
                self._waiting.remove(start)
            yield from self._rest(report, start, "watermark")
        elif self._live and _now() - self._last_seen >= self._params.idle_ms:
            newest = max(self._labels.keys(), default=0)
            if newest:
                yield from self._rest(MetricsReport(), newest, "idle")

    def _rest(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        labels = self._taken(start)
        if report.counts or labels:
            yield from self._judge.close(report, start, closed, labels)

    def _keep(self, labels: LabelSums) -> list[int]:
        """Adds the labels to those that wait, by the window in which they came."""
        by_start: dict[int, LabelSums] = {}
        for key, quality in labels.qualities.items():
            by_start.setdefault(key[0], LabelSums()).qualities[key] = quality
        for start, counts in labels.counts.items():
            by_start.setdefault(start, LabelSums()).counts[start] = counts
        for start, added in by_start.items():
            kept = self._labels.get(start)
            total = decode_labels(bytes(kept)) if kept else LabelSums()
            total.add(added)
            self._labels.put(start, encode_labels(total))
        return list(by_start)

    def _taken(self, start: int) -> LabelSums | None:
        """Those of the windows up to this one, which wait no longer."""
        total = None
        for label_start in sorted(self._labels.keys()):
            if label_start <= start:
                total = total or LabelSums()
                total.add(decode_labels(bytes(self._labels.get(label_start))))
                self._labels.remove(label_start)
        return total


def _after(now: int, idle_ms: int) -> int:
    return (now + idle_ms) // 1000 * 1000 + 1000


def _now() -> int:
    return time.time_ns() // 1_000_000
