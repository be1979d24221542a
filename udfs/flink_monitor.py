"""The monitor as Flink runs it: merges parts per window in keyed state, and closes windows by timers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.drift.monitor import Closing, Memory, Monitor, MonitorParams, merge, pack, unpack
from udfs.drift.records import Closed, encode
from udfs.drift.wire import decode_parts
from udfs.log import configure_worker_logging

DRIFT, ALERT = 0, 1
BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RESULT = Types.ROW_NAMED(["_kind", "_key", "_value"], [Types.INT(), BYTES, BYTES])


class MonitorFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of parts) → ROW(_kind, _key, _value): records for the drift and the alert topic.

    A window closes when the watermark passes its end, or when nothing has come for `idle_ms`. What comes for
    a closed window counts in the next one. Without any watermark, as when no record has an event time,
    outcomes are counted in windows of the wall clock.
    """

    def __init__(self, params: MonitorParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        self._last_seen = 0

    def open(self, runtime_context: RuntimeContext) -> None:
        configure_worker_logging()
        self._monitor = Monitor(self._params)
        self._windows = runtime_context.get_map_state(MapStateDescriptor("windows", Types.LONG(), BYTES))
        self._closed_until = runtime_context.get_state(ValueStateDescriptor("closed_until", Types.LONG()))
        self._memory = runtime_context.get_state(ValueStateDescriptor("memory", BYTES))
        group = runtime_context.get_metrics_group().add_group("tailrace")
        self._counters = {
            name: group.counter(name)
            for name in ("windows_ok", "windows_drift", "windows_insufficient_data", "alerts_firing")
        }

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:
        timers = ctx.timer_service()
        watermark, now = timers.current_watermark(), _now()
        closed_until = self._closed_until.value() or 0
        by_start: dict[int, list[Any]] = {}
        for part in decode_parts(bytes(value[0])):
            start = part.start if part.start is not None else self._present(watermark, now)
            by_start.setdefault(max(start, closed_until), []).append(part)
        for start, parts in by_start.items():
            kept = self._windows.get(start)
            merged = merge([*(_as_parts(kept) if kept else []), *parts])
            self._windows.put(start, pack(merged))
            timers.register_event_time_timer(start + self._params.window_ms - 1)
        self._last_seen = now
        self._register_clock(timers, now)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._close(timestamp + 1 - self._params.window_ms, "watermark")
            return
        now = _now()
        silent = now - self._last_seen >= self._params.idle_ms
        timeless = ctx.timer_service().current_watermark() <= 0
        if silent or timeless:
            for start in sorted(self._windows.keys()):
                if silent or start + self._params.window_ms <= now:
                    yield from self._close(start, "idle")
        elif self._params.early_ms and timestamp % self._params.early_ms == 0:
            for start in sorted(self._windows.keys()):
                yield from self._rows(self._judge(start, "early"))

    def _register_clock(self, timers: Any, now: int) -> None:
        """Timers on whole seconds, so that many records share one."""
        timers.register_processing_time_timer((now + self._params.idle_ms) // 1000 * 1000 + 1001)
        if self._params.early_ms:
            timers.register_processing_time_timer(now - now % self._params.early_ms + self._params.early_ms)

    def _present(self, watermark: int, now: int) -> int:
        at = watermark if watermark > 0 else now
        return at - at % self._params.window_ms

    def _close(self, start: int, closed: Closed) -> Iterator[Row]:
        if self._windows.contains(start):
            closing = self._judge(start, closed)
            end = start + self._params.window_ms
            self._closed_until.update(max(self._closed_until.value() or 0, end))
            self._memory.update(msgspec.msgpack.encode(closing.memory))
            self._windows.remove(start)
            yield from self._rows(closing)

    def _judge(self, start: int, closed: Closed) -> Closing:
        windows = unpack(bytes(self._windows.get(start)))
        now = _now() if self._live else None
        return self._monitor.close(start, windows, self._load_memory(), closed=closed, now_ms=now)

    def _load_memory(self) -> Memory:
        data = self._memory.value()
        return msgspec.msgpack.decode(bytes(data), type=Memory) if data else Memory()

    def _rows(self, closing: Closing) -> Iterator[Row]:
        for record in closing.drift:
            if record.window.closed != "early":
                self._counters[f"windows_{record.verdict}"].inc()
            segment = record.segment
            key = f"{segment.column}={segment.value}" if segment else "all"
            yield Row(DRIFT, key.encode(), encode(record))
        for alert in closing.alerts:
            if alert.state == "firing":
                self._counters["alerts_firing"].inc()
            yield Row(ALERT, alert.id.encode(), encode(alert))


def _as_parts(data: bytes) -> Any:
    return decode_parts(bytes(data))


def _now() -> int:
    return time.time_ns() // 1_000_000
