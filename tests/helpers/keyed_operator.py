"""Runs a keyed process function as Flink does, without Flink: state, timers, two clocks, and restarts.

operator = KeyedOperator(ClosingFunction(params))
operator.send(data)
operator.watermark(5_000)
operator.pass_time(60_000)      # timers of the wall clock fire
operator.restart(down_ms=1_000)
operator.results                # rows so far
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from pyflink.common import Row
from pyflink.datastream.time_domain import TimeDomain

NO_WATERMARK = -(2**63)
END = 2**63 - 1


class MapState(dict[Any, bytes]):
    """Values are bytes, so that nothing is shared with what reads them."""

    def put(self, key: Any, value: Any) -> None:
        self[key] = pickle.dumps(value)

    def get(self, key: Any, default: Any = None) -> Any:
        return pickle.loads(self[key]) if key in self else default

    def items(self) -> Any:
        return [(key, self.get(key)) for key in self]

    def contains(self, key: Any) -> bool:
        return key in self

    def remove(self, key: Any) -> None:
        del self[key]


class ValueState:
    """One value, None at first."""

    def __init__(self) -> None:
        self._data = pickle.dumps(None)

    def value(self) -> Any:
        return pickle.loads(self._data)

    def update(self, value: Any) -> None:
        self._data = pickle.dumps(value)


class KeyedOperator:
    """One key in one instance. `names` of state last over a restart, as do timers; watermarks do not."""

    def __init__(self, function: Any, now: int = 1_000_000) -> None:
        self._pickled = pickle.dumps(function)
        self.maps: defaultdict[str, MapState] = defaultdict(MapState)
        self.values: defaultdict[str, ValueState] = defaultdict(ValueState)
        self._timers: dict[TimeDomain, set[int]] = {
            TimeDomain.EVENT_TIME: set(),
            TimeDomain.PROCESSING_TIME: set(),
        }
        self._now = now
        self.results: list[Row] = []
        self._open()

    def send(self, data: Any) -> None:
        """One element that arrives now."""
        self.send_plain(data if isinstance(data, Row) else Row(data))

    def send_plain(self, element: Any) -> None:
        """One element that is no row."""
        self._take(self._function.process_element(element, self._context(None)))

    def watermark(self, time: int) -> None:
        self._watermark = time
        self._fire(TimeDomain.EVENT_TIME, time)

    def pass_time(self, milliseconds: int) -> None:
        """The wall clock stops at each timer on the way."""
        until = self._now + milliseconds
        while due := [time for time in self._timers[TimeDomain.PROCESSING_TIME] if time <= until]:
            self._now = max(self._now, min(due))
            self._fire(TimeDomain.PROCESSING_TIME, self._now)
        self._now = until

    def restart(self, down_ms: int, function: Any = None, fired_until: int = NO_WATERMARK) -> None:
        """A checkpoint, a kill, a start from it, maybe of a function that was edited.

        Overdue timers of the wall clock fire before all else. Those of event time that fired as it
        ended a bundle are gone, without what they did.
        """
        events = self._timers[TimeDomain.EVENT_TIME]
        events -= {time for time in events if time <= fired_until}
        if function is not None:
            self._pickled = pickle.dumps(function)
        self._now += down_ms
        self._open()
        self._fire(TimeDomain.PROCESSING_TIME, self._now)

    def finish(self) -> None:
        self.watermark(END)

    def _open(self) -> None:
        self._watermark = NO_WATERMARK
        self._function = pickle.loads(self._pickled)
        counter = SimpleNamespace(inc=lambda _=1: None)
        group = SimpleNamespace(counter=lambda _: counter, gauge=lambda *_: None)
        group.add_group = lambda *_: group
        self._function.open(
            SimpleNamespace(
                get_map_state=lambda descriptor: self.maps[descriptor.name],
                get_state=lambda descriptor: self.values[descriptor.name],
                get_metrics_group=lambda: group,
            )
        )

    def _fire(self, domain: TimeDomain, until: int) -> None:
        while due := [time for time in self._timers[domain] if time <= until]:
            time = min(due)
            self._timers[domain].remove(time)
            self._take(self._function.on_timer(time, self._context(domain)))

    def _context(self, domain: TimeDomain | None) -> Any:
        timers = SimpleNamespace(
            current_watermark=lambda: self._watermark,
            current_processing_time=lambda: self._now,
            register_event_time_timer=self._timers[TimeDomain.EVENT_TIME].add,
            register_processing_time_timer=self._timers[TimeDomain.PROCESSING_TIME].add,
        )
        return SimpleNamespace(
            timer_service=lambda: timers, time_domain=lambda: domain, get_current_key=lambda: 0
        )

    def _take(self, rows: Iterable[Row] | Iterator[Row] | None) -> None:
        self.results += rows or ()
