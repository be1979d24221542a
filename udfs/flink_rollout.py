"""The comparison of versions as Flink runs it: reports merged in keyed state, windows closed by timers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.drift.records import Closed
from udfs.log import configure_worker_logging
from udfs.rollout.steward import Memory, Steward, StewardParams
from udfs.rollout.tally import Report, decode, encode

COMPARISON, ALERT = 0, 1
BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
_decoder = msgspec.msgpack.Decoder(Memory)
RESULT = Types.ROW_NAMED(["_kind", "_key", "_value"], [Types.INT(), BYTES, BYTES])


class RolloutFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of a report) → ROW(_kind, _key, _value): records for the comparisons and the alerts topic.

    A window closes when the watermark passes its end, or after `idle_ms` without a report; what comes for a
    closed one counts in the next. Events are written with the window that is open when they come.
    """

    def __init__(self, params: StewardParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        self._last_seen = 0

    def open(self, runtime_context: RuntimeContext) -> None:
        configure_worker_logging()
        self._steward = Steward(self._params, _now, live=self._live)
        self._windows = runtime_context.get_map_state(MapStateDescriptor("windows", Types.LONG(), BYTES))
        self._closed_until = runtime_context.get_state(ValueStateDescriptor("closed_until", Types.LONG()))
        self._memory = runtime_context.get_state(ValueStateDescriptor("memory", BYTES))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        report = decode(bytes(value[0]))
        timers = ctx.timer_service()
        if report.events:
            yield from self._close_with(Report(events=report.events), self._present(report), "early")
        closed_until = self._closed_until.value() or 0
        by_start: dict[int, Report] = {}
        for (start, version, role, release), counts in report.counts.items():
            begin = max(start, closed_until)
            by_start.setdefault(begin, Report()).add((begin, version, role, release), counts)
        for start, added in by_start.items():
            kept = self._windows.get(start)
            total = decode(bytes(kept)) if kept else Report()
            total.add_all(added)
            self._windows.put(start, encode(total))
            timers.register_event_time_timer(start + self._params.window_ms - 1)
        self._last_seen = now = _now()
        timers.register_processing_time_timer((now + self._params.idle_ms) // 1000 * 1000 + 1000)

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
            yield from self._close_with(report, start, closed)

    def _close_with(self, report: Report, start: int, closed: Closed) -> Iterator[Row]:
        data = self._memory.value()
        memory = _decoder.decode(bytes(data)) if data else Memory()
        closing = self._steward.close(report, start, memory, closed)
        self._memory.update(msgspec.msgpack.encode(closing.memory))
        if closing.comparison:
            yield Row(COMPARISON, b"all", msgspec.json.encode(closing.comparison))
        for alert in closing.alerts:
            yield Row(ALERT, alert.id.encode(), msgspec.json.encode(alert))

    def _present(self, report: Report) -> int:
        """The window of events: the newest that the same batch tells of, else that of the clock."""
        newest = max((start for start, *_ in report.counts), default=_now())
        return newest - newest % self._params.window_ms


def _now() -> int:
    return time.time_ns() // 1_000_000
