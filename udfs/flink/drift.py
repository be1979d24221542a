"""The monitor as Flink runs it: merges parts per window in keyed state, and closes windows by timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import structlog
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.records import AlertRecord, Closed
from udfs.drift.key_state import KeyStore
from udfs.drift.monitor import ClosedWindow, Kept, Monitor, MonitorState, merge
from udfs.drift.params import MonitorParams
from udfs.drift.records import encode
from udfs.flink.worker import prepare_worker
from udfs.profile.collect import PartialProfile
from udfs.profile.steps import StepPart, Sums, merged_steps
from udfs.profile.wire import decode, encode_partial_profiles
from udfs.times import now_ms

DRIFT, ALERT = 0, 1
log = structlog.get_logger(__name__)
# Outcomes without an event time, until there is a window that they can count in.
PENDING = -1
END_OF_INPUT = 2**63 - 2
BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
OBJECTS = Types.PICKLED_BYTE_ARRAY()
_decoder = msgspec.msgpack.Decoder(MonitorState)
RESULT = Types.ROW_NAMED(["_kind", "_key", "_value"], [Types.INT(), BYTES, BYTES])


class MonitorFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of parts) → ROW(_kind, _key, _value): records for the drift and the alert topic.

    A window closes when the watermark passes its end, or when nothing has come for `idle_ms`. What comes for
    a closed window counts in the next one; what has no event time in the one that is open then or opens next.
    Where none ever does, as when no record can be read, it gets windows of the wall clock.
    """

    def __init__(self, params: MonitorParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        self._last_seen = 0
        self._pending_since = 0
        self._published = False

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        self._monitor = Monitor(self._params)
        self._windows = runtime_context.get_map_state(MapStateDescriptor("windows", Types.LONG(), OBJECTS))
        self._closed_until = runtime_context.get_state(ValueStateDescriptor("closed_until", Types.LONG()))
        self._keys = KeyStore(
            runtime_context.get_map_state(MapStateDescriptor("keys", Types.STRING(), BYTES))
        )
        self._steps = runtime_context.get_map_state(MapStateDescriptor("steps", Types.LONG(), BYTES))
        self._stepped_until = runtime_context.get_state(ValueStateDescriptor("stepped_until", Types.LONG()))
        self._memory = runtime_context.get_state(ValueStateDescriptor("memory", BYTES))
        group = runtime_context.get_metrics_group().add_group("tailrace")
        self._counters = {
            name: group.counter(name)
            for name in ("windows_ok", "windows_drift", "windows_insufficient_data", "alerts_firing")
        }

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:
        self._publish_zeros()
        timers = ctx.timer_service()
        watermark, now = timers.current_watermark(), now_ms()
        closed_until = self._closed_until.value() or 0
        told = decode(bytes(value[0]))
        self._add_steps(told.steps, timers)
        for keys in told.keys:
            self._keys.add(max(keys.start, closed_until), keys)
        by_start: dict[int, list[PartialProfile]] = {}
        for part in told.parts:
            start = self._present(watermark) if part.start is None else part.start
            by_start.setdefault(start if start == PENDING else max(start, closed_until), []).append(part)
        for start, parts in by_start.items():
            self._add(start, parts)
            end = END_OF_INPUT if start == PENDING else start + self._params.window_ms - 1
            if start == PENDING:
                self._pending_since = self._pending_since or now
            timers.register_event_time_timer(end)
        self._last_seen = now
        self._register_clock(timers, now)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        if timestamp == END_OF_INPUT:
            yield from self._close_pending()
            return
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._advance(timestamp + 1)
            yield from self._close(timestamp + 1 - self._params.window_ms, "watermark")
            return
        now = now_ms()
        if now - self._last_seen >= self._params.idle_ms:
            yield from self._advance(END_OF_INPUT)
            for start in self._open_windows():
                yield from self._close(start, "idle")
            yield from self._close_pending()
        elif self._pending_since and now - self._pending_since >= self._params.window_ms:
            yield from self._close_pending()
        elif self._params.early_ms and timestamp % self._params.early_ms == 0:
            for start in self._open_windows():
                yield from self._rows(self._judge(start, "early"))

    def _add_steps(self, steps: list[StepPart], timers: Any) -> None:
        """What comes for a step that is over counts in the next one, as it does for windows."""
        sequential = self._params.sequential
        if not (sequential and steps):
            return
        open_from = self._stepped_until.value() or 0
        by_start: dict[int, list[StepPart]] = {}
        for step in steps:
            by_start.setdefault(max(step.start, open_from), []).append(step)
        for start, parts in by_start.items():
            kept = self._steps.get(start)
            before = decode(bytes(kept)).steps if kept else []
            sums: dict[int, dict[str, Sums]] = {}
            for (version, name), pair in merged_steps([*before, *parts]).items():
                sums.setdefault(version, {})[name] = pair
            self._steps.put(
                start, encode_partial_profiles([], [StepPart(start, v, s) for v, s in sums.items()])
            )
            timers.register_event_time_timer(start + sequential.step_ms - 1)

    def _advance(self, until: int) -> Iterator[Row]:
        """The sequential detector takes all steps that end by `until`, in order."""
        sequential = self._params.sequential
        if not sequential:
            return
        for start in sorted(self._steps.keys()):
            end = start + sequential.step_ms
            if end <= until:
                parts = decode(bytes(self._steps.get(start))).steps
                alerts, memory = self._monitor.step(start, parts, self._load_memory())
                self._memory.update(msgspec.msgpack.encode(memory))
                self._steps.remove(start)
                self._stepped_until.update(end)
                yield from self._alert_rows(alerts)

    def _add(self, start: int, parts: list[PartialProfile]) -> None:
        kept = self._windows.get(start)
        self._windows.put(start, Kept(merge(parts, kept.windows if kept else {})))

    def _open_windows(self) -> list[int]:
        return sorted(set(self._windows.keys()) - {PENDING})

    def _publish_zeros(self) -> None:
        """A counter that appears with its first increment would hide that one from rates."""
        if not self._published:
            self._published = True
            for counter in self._counters.values():
                counter.inc(0)

    def _register_clock(self, timers: Any, now: int) -> None:
        """Timers on whole seconds, so that many records share one."""
        timers.register_processing_time_timer((now + self._params.idle_ms) // 1000 * 1000 + 1001)
        if self._params.early_ms:
            timers.register_processing_time_timer(now - now % self._params.early_ms + self._params.early_ms)

    def _present(self, watermark: int) -> int:
        return watermark - watermark % self._params.window_ms if watermark > 0 else PENDING

    def _close_pending(self) -> Iterator[Row]:
        """What never had a window of its own gets one of the wall clock, so that it is not lost."""
        self._pending_since = 0
        if set(self._windows.keys()) == {PENDING}:
            now = now_ms()
            start = now - now % self._params.window_ms
            self._windows.put(start, self._windows.get(PENDING))
            self._windows.remove(PENDING)
            yield from self._rows(self._judge(start, "idle"))
            self._windows.remove(start)

    def _close(self, start: int, closed: Closed) -> Iterator[Row]:
        if self._windows.contains(start):
            self._take_pending(start)
            closing = self._judge(start, closed)
            end = start + self._params.window_ms
            self._closed_until.update(max(self._closed_until.value() or 0, end))
            self._memory.update(msgspec.msgpack.encode(closing.memory))
            self._windows.remove(start)
            self._keys.remove(start)
            yield from self._rows(closing)

    def _take_pending(self, start: int) -> None:
        if self._windows.contains(PENDING):
            pending = self._windows.get(PENDING).windows
            parts = [
                PartialProfile(start, column, value, version, counts)
                for (column, value, version), counts in pending.items()
            ]
            self._add(start, parts)
            self._windows.remove(PENDING)

    def _judge(self, start: int, closed: Closed) -> ClosedWindow:
        windows = self._windows.get(start).windows
        now = now_ms() if self._live else None
        repeats = self._keys.duplicates(start) if self._params.duplicates else None
        memory = self._load_memory()
        return self._monitor.close(start, windows, memory, closed=closed, now_ms=now, repeats=repeats)

    def _load_memory(self) -> MonitorState:
        data = self._memory.value()
        return _decoder.decode(bytes(data)) if data else MonitorState()

    def _rows(self, closing: ClosedWindow) -> Iterator[Row]:
        for record in closing.drift:
            if record.window.closed != "early":
                self._counters[f"windows_{record.verdict}"].inc()
            segment = record.segment
            key = f"{segment.column}={segment.value}" if segment else "all"
            yield Row(DRIFT, key.encode(), encode(record))
        yield from self._alert_rows(closing.alerts)

    def _alert_rows(self, alerts: list[AlertRecord]) -> Iterator[Row]:
        for alert in alerts:
            log.info(
                f"alert.{alert.state}",
                id=alert.id,
                severity=alert.severity,
                value=alert.value,
                threshold=alert.threshold,
                since=alert.since,
                window=alert.window.start,
                impact=alert.impact,
            )
            if alert.state == "firing":
                self._counters["alerts_firing"].inc()
            yield Row(ALERT, alert.id.encode(), encode(alert))
