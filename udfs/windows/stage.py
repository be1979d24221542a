"""One stage of windows: all windows by one key, over the shards that a worker has.

Rows wait until the watermark has passed them, or completed their windows; then results are computed.
Flink calls, `udfs.flink.windowing` carries out; here is no Flink.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from udfs.types import ARROW, ColumnType
from udfs.windows.blobs import TIME, times_of
from udfs.windows.columns import Ints
from udfs.windows.complete import Complete
from udfs.windows.engine import Engine
from udfs.windows.group_shard import GroupLayout, GroupShard
from udfs.windows.kept import ShardState
from udfs.windows.keys import distinct_keys
from udfs.windows.params import GroupParams, StageParams
from udfs.windows.shard import WARM, Layout, Recheck, Rechecked, Shard, in_order
from udfs.windows.summary import Summary
from udfs.windows.windowed import Windowed, computed, with_overflow


class Shards(Protocol):
    """One shard, as a stage sees it."""

    def receive(self, blob: bytes, watermark: int) -> pa.RecordBatch | None: ...

    def next_time(self) -> int | None: ...

    def release(self, watermark: int) -> pa.Table: ...


AShard = TypeVar("AShard", bound=Shards)


class Stage(ABC, Generic[AShard]):
    """The shards of a worker share what computes results, so that one call serves a whole watermark.

    Rows are late, and released, by a watermark that is `lag_ms` behind Flink's.
    """

    lag_ms = 0

    def __init__(self) -> None:
        self._dead: list[Rechecked] = []
        self._shards: dict[int, AShard] = {}
        self._timers: dict[int, int] = {}

    def receive(
        self, key: int, state: ShardState, blob: bytes, watermark: int
    ) -> tuple[pa.RecordBatch | None, int | None]:
        """The late rows among those of the blob, and the time of a timer to set for the shard."""
        shard = self.shard(key, state)
        late = shard.receive(blob, watermark - self.lag_ms)
        return late, self.timer(key, shard)

    def fire(self, key: int, state: ShardState, watermark: int) -> int | None:
        """Releases a shard's rows as its timer fires; the time of the next timer to set."""
        shard = self.shard(key, state)
        self._timers.pop(key, None)
        self.release(shard, watermark - self.lag_ms)
        return self.timer(key, shard)

    def look(self, key: int, state: ShardState) -> int | None:
        """Opens a shard that may have lost its timer; the time of one to set."""
        return self.timer(key, self.shard(key, state))

    def waits(self, key: int) -> bool:
        """Whether a timer is set for the shard, as long as it has rows."""
        return key in self._timers

    def is_complete(self, watermark: int) -> bool:
        """Whether all timers that this watermark makes due have fired."""
        return all(time > watermark for time in self._timers.values())

    def take_dead(self) -> list[Rechecked]:
        """Records from before a restart that this job does not accept, since the last call."""
        taken, self._dead = self._dead, []
        return taken

    def counts(self) -> dict[str, int]:
        """What the stage counts, in all."""
        return {}

    @abstractmethod
    def release(self, shard: AShard, watermark: int, /) -> None:
        """Releases the shard's rows up to the watermark."""

    @abstractmethod
    def take(self, watermark: int) -> Windowed | None:
        """What has come of the rows released since the last call."""

    @abstractmethod
    def open_shard(self, state: ShardState) -> AShard:
        """The shard that is made of the state."""

    def timer(self, key: int, shard: AShard) -> int | None:
        """The time to set a timer for, None if one that is as early is set."""
        due, timer = shard.next_time(), self._timers.get(key)
        if due is None or (timer is not None and timer <= due + self.lag_ms):
            return None
        time = due + self.lag_ms
        self._timers[key] = time
        return time

    def shard(self, key: int, state: ShardState) -> AShard:
        """The shard of Flink's current key."""
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = self.open_shard(state)
        return shard


class WindowStage(Stage[AShard]):
    """Computes the results of all shards at once."""

    def __init__(self) -> None:
        super().__init__()
        self._released: list[pa.Table] = []

    def release(self, shard: AShard, watermark: int, /) -> None:
        released = shard.release(watermark)
        if released.num_rows:
            self._released.append(released)

    def take(self, watermark: int) -> Windowed | None:
        if not self._released:
            return None
        rows = pa.concat_tables(self._released)
        self._released = []
        return self.compute(rows, watermark)

    @abstractmethod
    def compute(self, rows: pa.Table, watermark: int, /) -> Windowed:
        """The rows with their results."""


class SlidingStage(WindowStage[Shard]):
    """Windows over events: all rows go on, with the results of all windows by one key."""

    def __init__(self, params: StageParams, recheck: Recheck | None = None) -> None:
        super().__init__()
        self._recheck = recheck
        types: dict[str, ColumnType] = {**dict(params.columns), TIME: "long"}
        self._complete = Complete(params.windows) if params.complete else None
        asked = (*params.windows, *self._complete.windows) if self._complete else params.windows
        self._engine = Engine(params.by, asked, types)
        kept = tuple((name, types[name]) for name in self._engine.columns if name != TIME)
        self._layout = Layout(
            by=params.by,
            columns=params.columns,
            kept=kept,
            windows=params.windows,
            warm_from=params.warm_from,
            warm_number=params.warm_number,
        )

    def receive(
        self, key: int, state: ShardState, blob: bytes, watermark: int
    ) -> tuple[pa.RecordBatch | None, int | None]:
        if not blob.startswith(WARM):
            return super().receive(key, state, blob, watermark)
        shard = self.shard(key, state)
        shard.warm(blob[len(WARM) :])
        return None, self.timer(key, shard)

    def release(self, shard: Shard, watermark: int, /) -> None:
        released = shard.release(watermark)
        self._load_restored(shard)
        if self._complete:
            released = self._complete.with_limits(released, shard.limits)
        if released.num_rows:
            self._released.append(released)

    def compute(self, rows: pa.Table, watermark: int) -> Windowed:
        """Rows on which the engine raises, and their peers, are dead, and in no window of others."""
        rows = rows.take(pa.array(in_order(rows))).combine_chunks()
        windowed = computed(self._with_results, rows, self._by_key, self._without_results)
        self._engine.forget(watermark)
        return windowed

    def open_shard(self, state: ShardState) -> Shard:
        shard = Shard(state, self._layout, self._recheck)
        self._dead += shard.dead
        self._load_restored(shard)
        return shard

    def _load_restored(self, shard: Shard) -> None:
        """What windows need from before a restart goes to the engine once, but for rows that were dead."""
        if shard.restored.num_rows and not shard.warms:
            kept, shard.restored = shard.restored, shard.restored.slice(0, 0)
            computed(self._load, kept, self._by_key, lambda failed: failed)

    def _with_results(self, rows: pa.Table) -> Windowed:
        results, overflow = self._engine.add(rows.select(list(self._engine.columns)), times_of(rows))
        if self._complete:
            results, rows = self._complete.of(results, rows)
        for name, column in results.items():
            rows = rows.append_column(name, column)
        return with_overflow(rows, overflow)

    def _without_results(self, rows: pa.Table) -> pa.Table:
        results = {name: pa.nulls(rows.num_rows, ARROW[kind]) for name, kind in self._engine.results}
        if self._complete:
            results, rows = self._complete.of(results, rows)
        for name, column in results.items():
            rows = rows.append_column(name, column)
        return rows

    def _load(self, kept: pa.Table) -> Windowed:
        self._engine.load(kept.select(list(self._engine.columns)), np.ascontiguousarray(times_of(kept)))
        return Windowed(kept, {})

    def _by_key(self, rows: pa.Table) -> tuple[pa.Table, Ints]:
        """Rows in order key by key, and a number for each key and time."""
        _, key = distinct_keys(rows, self._layout.by)
        order = np.argsort(key, kind="stable")
        time = times_of(rows)[order]
        fresh = (np.diff(key[order]) != 0) | (np.diff(time) != 0)
        return rows.take(pa.array(order)), np.append(0, np.cumsum(fresh))


class GroupStage(WindowStage[GroupShard]):
    """Windows that are scored themselves: each becomes a row when it is complete."""

    def __init__(self, params: StageParams, group: GroupParams) -> None:
        super().__init__()
        types = dict(params.columns)
        self._columns = params.columns
        self._summary = Summary(params.by, group.select, types)
        kept = tuple((name, types[name]) for name in self._summary.columns)
        self._layout = GroupLayout(by=params.by, kept=kept, group=group)

    def compute(self, rows: pa.Table, _watermark: int) -> Windowed:
        return computed(self._summarized, rows, self._summary.in_windows, self._summary.without_results)

    def _summarized(self, rows: pa.Table) -> Windowed:
        return with_overflow(*self._summary.of(rows))

    def open_shard(self, state: ShardState) -> GroupShard:
        return GroupShard(state, self._layout, self._columns)
