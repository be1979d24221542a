"""Waits until all that watches a job has looked at the same time, so that one incident holds all of it.

Drift and quality are judged by two operators. What one says of a time is held until the other's last window
before that time is known; where that never comes, as of a window without predictions, until the caller's
patience ends. So incidents do not depend on which of the two is quicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

import msgspec

from udfs.alerts.incidents import IncidentRecord, Incidents, advance
from udfs.alerts.records import AlertRecord, moment_of
from udfs.times import iso, parse_time, window_start


class _Span(msgspec.Struct):
    end: str
    closed: str = "watermark"


class _Head(msgspec.Struct):
    schema: str
    window: _Span


_HEAD = msgspec.json.Decoder(_Head)
_ALERT = msgspec.json.Decoder(AlertRecord)


class Gathered(msgspec.Struct, frozen=True):
    """`seen`: of each schema the end of its newest window; `waiting` are alerts that are not told yet.

    `arrived_ms` is when the first of them came, on the clock.
    """

    incidents: Incidents = {}
    waiting: tuple[AlertRecord, ...] = ()
    seen: dict[str, str] = {}
    arrived_ms: int = 0


class Gatherer:
    """`windows` are the lengths of the windows that are waited for, by the schema of their records."""

    def __init__(self, windows: Mapping[str, int]) -> None:
        self._windows = windows

    def windowed(self, state: Gathered, record: bytes) -> tuple[Gathered, list[IncidentRecord]]:
        """A record of a window that is over; of an early one nothing follows."""
        head = _HEAD.decode(record)
        if head.schema not in self._windows or head.window.closed == "early":
            return state, []
        newest = max(state.seen.get(head.schema, ""), head.window.end)
        return self._ready(msgspec.structs.replace(state, seen={**state.seen, head.schema: newest}))

    def alerted(self, state: Gathered, record: bytes, now_ms: int) -> tuple[Gathered, list[IncidentRecord]]:
        """An alert, which waits for those of the same time."""
        alert = _ALERT.decode(record)
        arrived = state.arrived_ms if state.waiting else now_ms
        state = msgspec.structs.replace(state, waiting=(*state.waiting, alert), arrived_ms=arrived)
        return self._ready(state) if alert.damage == "release" else (state, [])

    def hurried(self, state: Gathered) -> tuple[Gathered, list[IncidentRecord]]:
        """All that waits, in the order of event time."""
        return self._told(state, "~")

    def _ready(self, state: Gathered) -> tuple[Gathered, list[IncidentRecord]]:
        """Each time that all have looked at; what is later waits, so that the order is that of event time."""
        until = ""
        for moment in sorted({moment_of(alert) for alert in state.waiting}):
            if not self._known(state, moment):
                break
            until = moment
        return self._told(state, until)

    def _known(self, state: Gathered, moment: str) -> bool:
        if all(alert.damage == "release" for alert in state.waiting if moment_of(alert) == moment):
            return True
        at = parse_time(moment)
        return all(
            state.seen.get(schema, "") >= iso(window_start(at, length))
            for schema, length in self._windows.items()
        )

    def _told(self, state: Gathered, until: str) -> tuple[Gathered, list[IncidentRecord]]:
        due = sorted((alert for alert in state.waiting if moment_of(alert) <= until), key=moment_of)
        incidents, told = state.incidents, []
        for _, changed in groupby(due, key=moment_of):
            incidents, records = advance(incidents, list(changed))
            told += records
        left = tuple(alert for alert in state.waiting if moment_of(alert) > until)
        return msgspec.structs.replace(state, incidents=incidents, waiting=left), told
