"""Runs the drift monitor in Flink: merges partial profiles in keyed state, and closes windows by timers."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import msgspec
import structlog
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.time_domain import TimeDomain

from udfs.alerts.records import AlertRecord, Closed
from udfs.drift.key_state import KeyStore
from udfs.drift.monitor import ClosedWindow, Kept, Monitor, MonitorState, Windows, merge
from udfs.drift.params import MonitorParams
from udfs.drift.recent import Recent
from udfs.drift.records import encode
from udfs.flink.results import ALERT, BYTES, RECORD
from udfs.flink.windows import END_OF_INPUT, ClosingWindows, IdleClock, WindowCodec
from udfs.flink.worker import prepare_worker
from udfs.profile.collect import PartialProfile
from udfs.profile.steps import StepPart, Sums, merged_steps
from udfs.profile.wire import decode, encode_partial_profiles
from udfs.times import now_ms, window_start

log = structlog.get_logger(__name__)
# The window of outcomes without an event time, until there is one that they can count in.
PENDING = -1
_decoder = msgspec.msgpack.Decoder(MonitorState)


def _join_profiles(_start: int, windows: Windows | None, profiles: list[PartialProfile]) -> Windows:
    return merge(profiles, windows)


def _join_steps(start: int, steps: list[StepPart] | None, added: list[StepPart]) -> list[StepPart]:
    sums: dict[int, dict[str, Sums]] = {}
    for (version, name), pair in merged_steps([*(steps or ()), *added]).items():
        sums.setdefault(version, {})[name] = pair
    return [StepPart(start, version, of_version) for version, of_version in sums.items()]


WINDOWS = WindowCodec(_join_profiles, Kept, lambda kept: kept.windows, Types.PICKLED_BYTE_ARRAY())
STEPS = WindowCodec(
    _join_steps, lambda steps: encode_partial_profiles([], steps), lambda data: decode(bytes(data)).steps
)


class MonitorFunction(KeyedProcessFunction):  # type: ignore[misc]
    """(bytes of parts) → ROW(_kind, _key, _value): records for the drift and the alert topic.

    A window closes when the watermark passes its end, or when nothing has come for `idle_ms`. What comes for
    a closed window counts in the next one; what has no event time in the one that is open then or opens next.
    Where none ever does, as when no record can be read, it gets windows of the wall clock.
    """

    def __init__(self, params: MonitorParams, *, live: bool) -> None:
        self._params = params
        self._live = live
        self._pending_since = 0
        self._published = False

    def open(self, runtime_context: RuntimeContext) -> None:
        prepare_worker()
        params, context = self._params, runtime_context
        self._monitor = Monitor(params)
        self._idle = IdleClock(params.idle_ms)
        self._windows = ClosingWindows(context, params.window_ms, WINDOWS)
        self._keys = KeyStore(context.get_map_state(MapStateDescriptor("keys", Types.STRING(), BYTES)))
        self._steps = ClosingWindows(
            context,
            params.sequential.step_ms if params.sequential else params.window_ms,
            STEPS,
            name="steps",
            closed_until="stepped_until",
        )
        recent = context.get_map_state(MapStateDescriptor("recent", Types.LONG(), BYTES))
        self._recent = Recent(params.recent, recent) if params.recent else None
        self._state = context.get_state(ValueStateDescriptor("memory", BYTES))
        group = context.get_metrics_group().add_group("tailrace")
        self._counters = {
            name: group.counter(name)
            for name in ("windows_ok", "windows_drift", "windows_insufficient_data", "alerts_firing")
        }

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> None:
        self._publish_zeros()
        timers = ctx.timer_service()
        profile = decode(bytes(value[0]))
        if self._params.sequential:
            # What comes for a step that is over counts in the next one, as it does for windows.
            self._steps.receive([(step.start, step) for step in profile.steps], timers)
        for keys in profile.keys:
            self._keys.add(self._windows.open_start(keys.start), keys)
        self._receive(profile.parts, timers)
        self._idle.restart(timers)
        self._register_early(timers)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        timers = ctx.timer_service()
        now = timers.current_processing_time()
        if timestamp == END_OF_INPUT:
            yield from self._close_pending(now)
        elif ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._advance(timestamp + 1)
            start = timestamp + 1 - self._params.window_ms
            # At the end of the input all that is open closes.
            ended = timers.current_watermark() >= END_OF_INPUT and start == max(
                self._windows.starts(), default=0
            )
            yield from self._close(start, "watermark", ended=ended)
        elif self._idle.is_over(timers):
            yield from self._advance(END_OF_INPUT)
            for start in self._open_windows():
                yield from self._close(start, "idle")
            yield from self._close_pending(now)
        elif self._pending_since and now - self._pending_since >= self._params.window_ms:
            yield from self._close_pending(now)
        elif self._params.early_ms and timestamp % self._params.early_ms == 0:
            for start in self._open_windows():
                yield from self._rows(self._judge(start, self._windows.get(start), "early"))

    def _receive(self, profiles: list[PartialProfile], timers: Any) -> None:
        watermark = timers.current_watermark()
        present = window_start(watermark, self._params.window_ms) if watermark > 0 else PENDING
        known = {p.start for p in profiles if p.counts.predicted}
        placed = [(self._start_of(p, known, present), p) for p in profiles]
        self._windows.receive([(start, p) for start, p in placed if start != PENDING], timers)
        pending = [p for start, p in placed if start == PENDING]
        if pending:
            self._windows.add(PENDING, pending)
            self._pending_since = self._pending_since or timers.current_processing_time()
            timers.register_event_time_timer(END_OF_INPUT)

    def _start_of(self, part: PartialProfile, known: Container[int | None], present: int) -> int:
        """Late records open no window: a clock that is a day behind would make those of yesterday."""
        start, counts = part.start, part.counts
        if start is None:
            return present
        opens = counts.predicted or not counts.late
        return start if opens or start in known or self._windows.has(start) else present

    def _advance(self, until: int) -> Iterator[Row]:
        """The sequential detector takes all steps that end by `until`, in order."""
        sequential = self._params.sequential
        if not sequential:
            return
        for start in self._steps.starts():
            if start + sequential.step_ms <= until:
                alerts, state = self._monitor.step(start, self._steps.close(start) or [], self._load_state())
                self._state.update(msgspec.msgpack.encode(state))
                yield from self._alert_rows(alerts)

    def _open_windows(self) -> list[int]:
        return [start for start in self._windows.starts() if start != PENDING]

    def _publish_zeros(self) -> None:
        """A counter that appears with its first increment would hide that one from rates."""
        if not self._published:
            self._published = True
            for counter in self._counters.values():
                counter.inc(0)

    def _register_early(self, timers: Any) -> None:
        early_ms = self._params.early_ms
        if early_ms:
            now = timers.current_processing_time()
            timers.register_processing_time_timer(window_start(now, early_ms) + early_ms)

    def _close_pending(self, now: int) -> Iterator[Row]:
        """What never had a window of its own gets one of the wall clock, so that it is not lost."""
        self._pending_since = 0
        if self._windows.starts() == [PENDING]:
            windows = self._windows.pop(PENDING)
            yield from self._rows(self._judge(window_start(now, self._params.window_ms), windows, "idle"))

    def _close(self, start: int, closed: Closed, *, ended: bool = False) -> Iterator[Row]:
        windows = self._windows.close(start)
        if windows is not None:
            pending = self._windows.pop(PENDING) or {}
            result = self._judge(start, merge(_as_profiles(pending), windows), closed, ended=ended)
            self._state.update(msgspec.msgpack.encode(result.state))
            self._keys.remove(start)
            yield from self._rows(result)

    def _judge(
        self, start: int, windows: Windows | None, closed: Closed, *, ended: bool = False
    ) -> ClosedWindow:
        now = now_ms() if self._live else None
        repeats = self._keys.duplicates(start) if self._params.duplicates else None
        return self._monitor.close(
            start,
            windows or {},
            self._load_state(),
            closed=closed,
            now_ms=now,
            repeats=repeats,
            ended=ended,
            recent=self._recent,
        )

    def _load_state(self) -> MonitorState:
        data = self._state.value()
        return _decoder.decode(bytes(data)) if data else MonitorState()

    def _rows(self, result: ClosedWindow) -> Iterator[Row]:
        # Who groups alerts knows by a window's record that all of them have come.
        yield from self._alert_rows(result.alerts)
        for record in result.drift:
            if record.window.closed != "early":
                self._counters[f"windows_{record.verdict}"].inc()
            segment = record.segment
            key = f"{segment.column}={segment.value}" if segment else "all"
            yield Row(RECORD, key.encode(), encode(record))

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
            if alert.state == "firing" and alert.severity != "info":
                self._counters["alerts_firing"].inc()
            yield Row(ALERT, alert.id.encode(), encode(alert))


def _as_profiles(windows: Windows) -> list[PartialProfile]:
    return [PartialProfile(None, *key, counts) for key, counts in windows.items()]
