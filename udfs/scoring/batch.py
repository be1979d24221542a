"""Holds what a worker is given at once: records, these with windows' results, or windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.problems import Problem
from udfs.times import Milliseconds


@dataclass(frozen=True)
class Batch:
    """Columns of n records. `event_time` is in ms since the epoch, NO_EVENT_TIME where there is none.

    `timestamp` is that of the Kafka record, in the same unit. `beside` are keys and headers, as the job has
    columns of them.
    """

    raws: Sequence[bytes | None]
    event_time: Milliseconds
    late: npt.NDArray[np.bool_]
    partition: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    timestamp: Milliseconds
    windows: Mapping[str, pa.Array] = field(default_factory=dict)
    beside: Sequence[Sequence[bytes | None]] = ()

    def slice(self, start: int, stop: int) -> Batch:
        if (start, stop) == (0, len(self.raws)):
            return self
        at = slice(start, stop)
        windows = {name: column.slice(start, stop - start) for name, column in self.windows.items()}
        return Batch(
            self.raws[at],
            self.event_time[at],
            self.late[at],
            self.partition[at],
            self.offset[at],
            self.timestamp[at],
            windows,
            [part[at] for part in self.beside],
        )

    def routing_time(self) -> Milliseconds:
        """The event time, unless it is ahead of the Kafka timestamp: nobody knows future releases."""
        return np.minimum(self.event_time, self.timestamp)


@dataclass(frozen=True)
class RowBatch:
    """n rows that windows made: the time of each in ms since the epoch, and its columns.

    `problems` is row → what is wrong with its windows.
    """

    event_time: Milliseconds
    columns: Mapping[str, pa.Array]
    problems: Mapping[int, Problem] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> RowBatch:
        columns = {name: column.slice(start, stop - start) for name, column in self.columns.items()}
        return RowBatch(self.event_time[start:stop], columns, _between(self.problems, start, stop))


@dataclass(frozen=True)
class WindowedBatch:
    """n valid records with the results of their windows, and `event_time`, among the table's columns.

    `problems` is row → what is wrong with its windows. Times are in ms since the epoch.
    """

    table: pa.Table
    event_time: Milliseconds
    timestamp: Milliseconds
    problems: Mapping[int, Problem] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> WindowedBatch:
        if (start, stop) == (0, len(self.event_time)):
            return self
        at = slice(start, stop)
        problems = _between(self.problems, start, stop)
        return WindowedBatch(
            self.table.slice(start, stop - start), self.event_time[at], self.timestamp[at], problems
        )

    def routing_time(self) -> Milliseconds:
        """As that of `Batch`."""
        return np.minimum(self.event_time, self.timestamp)


def _between(problems: Mapping[int, Problem], start: int, stop: int) -> dict[int, Problem]:
    return {row - start: problem for row, problem in problems.items() if start <= row < stop}
