"""Runs the comparison of versions in Flink: merges reports in keyed state, and closes windows by timers.

Without labels `RolloutFunction` does all of it. With labels `ClosingFunction` closes windows, and
`LabelledFunction` takes them and what came of labels. Labels that are behind hold back the watermark of an
operator that reads both, so that one must not close windows by it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.records import Closed
from udfs.flink.results import ALERT, BYTES, RECORD
from udfs.flink.windows import ClosingWindows, IdleClock, WindowCodec, WindowMap, added_up
from udfs.flink.worker import prepare_worker
from udfs.rollout.controller import ControllerState, RolloutController, RolloutControllerParams
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.version_metrics import MetricsReport, decode, encode
from udfs.times import now_ms, window_start

_decoder = msgspec.msgpack.Decoder(ControllerState)
# A closed window: its start, what closed it, its report. Labels: 0, nothing, their report.
CLOSED = Types.ROW_NAMED(["start", "closed", "report"], [Types.LONG(), Types.STRING(), BYTES])


def _join_reports(start: int, report: MetricsReport | None, entries: list[MetricsReport]) -> MetricsReport:
    """The entries count in this window, whatever windows they name."""
    total = report or MetricsReport()
    for entry in entries:
        for (_, version, role, release), counts in entry.counts.items():
            total.add((start, version, role, release), counts)
    return total


REPORTS = WindowCodec(_join_reports, encode, lambda data: decode(bytes(data)))
LABELS = WindowCodec(added_up(LabelSums), encode_labels, lambda data: decode_labels(bytes(data)))


class _StatefulController:
    """The rollout controller with its state in Flink's state."""

    def __init__(self, params: RolloutControllerParams, context: RuntimeContext, *, live: bool) -> None:
        self._controller = RolloutController(params, now_ms, live=live)
        self._state = context.get_state(ValueStateDescriptor("memory", BYTES))

    def close(
        self, report: MetricsReport, start: int, closed: Closed, labels: LabelSums | None = None
    ) -> Iterator[Row]:
        data = self._state.value()
        state = _decoder.decode(bytes(data)) if data else ControllerState()
        result = self._controller.close(report, start, state, closed, labels)
        self._state.update(msgspec.msgpack.encode(result.state))
        if result.comparison:
            yield Row(RECORD, b"all", msgspec.json.encode(result.comparison))
        for alert in result.alerts:
            yield Row(ALERT, alert.id.encode(), msgspec.json.encode(alert))


class ClosingFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of a report) → CLOSED.

    A window closes when the watermark passes its end, or after `idle_ms` without a report; what comes for a
    closed one counts in the next. Events are written with the window that is open when they come.
    """

    def __init__(self, params: RolloutControllerParams) -> None:
        self._params = params

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._idle = IdleClock(self._params.idle_ms)
        self._windows = ClosingWindows(runtime_context, self._params.window_ms, REPORTS)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        report = decode(bytes(value[0]))
        timers = ctx.timer_service()
        if report.events:
            present = self._present(report, timers.current_processing_time())
            yield from self.closed(MetricsReport(events=report.events), present, "early")
        self._windows.receive(
            [(key[0], MetricsReport({key: counts})) for key, counts in report.counts.items()], timers
        )
        self._idle.restart(timers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._close(timestamp + 1 - self._params.window_ms, "watermark")
        elif self._idle.is_over(ctx.timer_service()):
            for start in self._windows.starts():
                yield from self._close(start, "idle")

    def _close(self, start: int, closed: Closed) -> Iterator[Row]:
        report = self._windows.close(start)
        if report is not None:
            yield from self.closed(report, start, closed)

    def closed(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        """What is sent on of a window."""
        yield Row(start, closed, encode(report))

    def _present(self, report: MetricsReport, now: int) -> int:
        """The window of events: the newest in the same batch, else that of the clock."""
        newest = max((start for start, *_ in report.counts), default=now)
        return window_start(newest, self._params.window_ms)


class RolloutFunction(ClosingFunction):
    """(bytes of a report) → ROW(_kind, _key, _value): records for the comparisons and the alerts topic."""

    def __init__(self, params: RolloutControllerParams, *, live: bool) -> None:
        super().__init__(params)
        self._live = live

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._controller = _StatefulController(self._params, runtime_context, live=self._live)

    def closed(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        yield from self._controller.close(report, start, closed)


class LabelledFunction(KeyedProcessFunction):  # type: ignore[misc]
    """CLOSED → the same as of RolloutFunction. A closed window takes all labels that have come up to its end.

    Labels that no later window takes get a record of their own; those without a time wait for one. On history
    a window waits for the labels that came in it, so that a replay says the same.
    """

    def __init__(self, params: RolloutControllerParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        # From a window's start until labels that no later window takes get a record.
        self._labels_wait_ms = (2 if live else 1) * params.window_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._idle = IdleClock(self._params.idle_ms)
        self._controller = _StatefulController(self._params, runtime_context, live=self._live)
        self._labels = WindowMap(runtime_context, "labels", LABELS)
        self._waiting = runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), BYTES))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        start, closed, data = value[0], value[1], bytes(value[2])
        timers = ctx.timer_service()
        if closed == "":
            for label_start in filter(None, self._labels.add_all(_by_window(decode_labels(data)))):
                timers.register_event_time_timer(label_start + self._labels_wait_ms - 1)
            self._idle.restart(timers)
        elif self._live or closed == "early":
            labels = None if closed == "early" else self._taken(start)
            yield from self._controller.close(decode(data), start, closed, labels)
        else:
            self._waiting.put(start, data)
            timers.register_event_time_timer(start + self._params.window_ms - 1)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            start = timestamp + 1 - self._labels_wait_ms
            report = MetricsReport()
            if self._waiting.contains(start):
                report = decode(bytes(self._waiting.get(start)))
                self._waiting.remove(start)
            yield from self._rest(report, start, "watermark")
        elif self._live and self._idle.is_over(ctx.timer_service()):
            newest = max(self._labels.starts(), default=0)
            if newest:
                yield from self._rest(MetricsReport(), newest, "idle")

    def _rest(self, report: MetricsReport, start: int, closed: Closed) -> Iterator[Row]:
        labels = self._taken(start)
        if report.counts or labels:
            yield from self._controller.close(report, start, closed, labels)

    def _taken(self, start: int) -> LabelSums | None:
        """Those of the windows up to this one, which wait no longer."""
        taken = [self._labels.pop(each) or LabelSums() for each in self._labels.starts() if each <= start]
        return LABELS.join(start, None, taken) if taken else None


def _by_window(labels: LabelSums) -> Iterator[tuple[int, LabelSums]]:
    """The labels apart, with the start of the window in which they came."""
    for key, quality in labels.qualities.items():
        yield key[0], LabelSums({key: quality})
    for start, counts in labels.counts.items():
        yield start, LabelSums(counts={start: counts})
