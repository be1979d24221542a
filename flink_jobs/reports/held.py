"""Which records without an outcome a job's windows may still hold, and which they cannot.

A record waits until the watermark has passed its event time. Once a record of the same partition, further on
and not earlier in time, is predicted, the watermark has passed both: what has no outcome then will never have
one. That holds over restarts, too: the watermark begins anew, but windows keep in their state what waits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flink_jobs.kafka import Record
from udfs.records.event_time import EventTimeField, milliseconds

# What has no usable event time is a dead letter at once, as if its time had long passed.
AT_ONCE = 0


class Passed:
    """How far event time had come, at least, when records of a partition were predicted.

    Only predictions are kept that are the latest in time of all from their offset on.
    """

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._times: list[int] = []

    def add(self, offset: int, time: int) -> None:
        """A prediction of the record there, of this event time in ms."""
        at = bisect_right(self._offsets, offset)
        if at < len(self._offsets) and self._times[at] >= time:
            return
        first = at
        while first and self._times[first - 1] <= time:
            first -= 1
        self._offsets[first:at], self._times[first:at] = [offset], [time]

    def has(self, offset: int, time: int) -> bool:
        """Whether the watermark has passed the record there, whose event time this is."""
        at = bisect_right(self._offsets, offset)
        return at < len(self._times) and self._times[at] >= time


def event_times(
    where: EventTimeField | None, max_ahead_ms: int, source_format: str
) -> Callable[[Record], int | None]:
    """What tells the event time of a source record, in ms; None where it takes more than this to know it."""

    def time(record: Record) -> int | None:
        if where is None:
            return record.timestamp
        if where.header:
            return _in_ms(dict(record.headers).get(where.name), where, record, max_ahead_ms)
        if where.event or source_format != "json":
            return None
        return _in_ms(_field(record.value, where), where, record, max_ahead_ms)

    return time


def _field(value: bytes | None, where: EventTimeField) -> Any:
    try:
        read = msgspec.json.decode(value or b"")
    except msgspec.DecodeError:
        return None
    paths = (where.path or where.name, *where.others)
    return next((found for path in paths if (found := _at(read, path)) is not None), None)


def _at(read: Any, path: str) -> Any:
    for name in path.split("."):
        read = read.get(name) if isinstance(read, Mapping) else None
    return read


def _in_ms(written: Any, where: EventTimeField, record: Record, max_ahead_ms: int) -> int:
    ms = milliseconds(written, where.unit)
    return AT_ONCE if ms is None or ms > record.timestamp + max_ahead_ms else ms
