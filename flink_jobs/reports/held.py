"""Which records without an outcome a job's windows may still hold, and which they cannot.

A record waits until the watermark has passed its event time. Once a record of the same partition, further on
and not earlier in time, is predicted, the watermark has passed both: what has no outcome then will never have
one. That holds over restarts, too: the watermark begins anew, but windows keep in their state what waits.
"""

from __future__ import annotations

from bisect import bisect_right


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
