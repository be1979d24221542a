"""One stage of windows: all windows by one key, over the shards that a worker has.

Rows wait until the watermark has passed them; then each has its windows' results, in the order of event time.
Flink calls, `udfs.flink.windowing` carries out; here is no Flink.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from udfs.windows.blobs import times_of
from udfs.windows.engine import Engine
from udfs.windows.params import StageParams
from udfs.windows.shard import Layout, Recheck, Rechecked, Shard, ShardState, in_order


class Windowed(NamedTuple):
    """n rows with the results of their windows; `overflow` is row → the name of a result beyond its type."""

    rows: pa.Table
    overflow: dict[int, str]


class Stage:
    """The shards of a worker share one engine, so that one call serves each advance of the watermark."""

    def __init__(self, params: StageParams, recheck: Recheck | None = None) -> None:
        self._recheck = recheck
        self._dead: list[Rechecked] = []
        types = dict(params.columns)
        self._engine = Engine(params.by, params.windows, types)
        kept = tuple((name, types[name]) for name in self._engine.columns)
        self._layout = Layout(params.by, params.columns, kept, params.windows)
        self._shards: dict[int, Shard] = {}
        self._timers: dict[int, int] = {}
        self._released: list[pa.Table] = []

    def receive(
        self, key: int, state: ShardState, blob: bytes, watermark: int
    ) -> tuple[pa.RecordBatch | None, int | None]:
        """The late rows among those of the blob, and the time of a timer to set for the shard."""
        shard = self._shard(key, state)
        late = shard.receive(blob, watermark)
        return late, self._timer(key, shard)

    def fire(self, key: int, state: ShardState, watermark: int) -> int | None:
        """Releases a shard's rows as its timer fires; the time of the next timer to set."""
        shard = self._shard(key, state)
        self._timers.pop(key, None)
        released = shard.release(watermark)
        if released.num_rows:
            self._released.append(released)
        return self._timer(key, shard)

    def is_complete(self, watermark: int) -> bool:
        """Whether all timers that this watermark makes due have fired."""
        return all(time > watermark for time in self._timers.values())

    def take(self, watermark: int) -> Windowed | None:
        """All rows released since the last call, with their results."""
        if not self._released:
            return None
        rows = pa.concat_tables(self._released)
        self._released = []
        rows = rows.take(pa.array(in_order(rows))).combine_chunks()
        results, overflow = self._engine.add(rows.select(list(self._engine.columns)), times_of(rows))
        self._engine.forget(watermark)
        for name, column in results.items():
            rows = rows.append_column(name, column)
        return Windowed(rows, overflow)

    def take_dead(self) -> list[Rechecked]:
        """Records from before a restart that this job does not accept, since the last call."""
        taken, self._dead = self._dead, []
        return taken

    def _timer(self, key: int, shard: Shard) -> int | None:
        """The time to set a timer for, None if one that is as early is set."""
        time, timer = shard.next_time(), self._timers.get(key)
        if time is None or (timer is not None and timer <= time):
            return None
        self._timers[key] = time
        return time

    def _shard(self, key: int, state: ShardState) -> Shard:
        """The shard in memory; what windows need from before a restart goes to the engine once."""
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = Shard(state, self._layout, self._recheck)
            self._dead += shard.dead
            kept, shard.restored = shard.restored, shard.restored.slice(0, 0)
            self._engine.load(kept.select(list(self._engine.columns)), np.ascontiguousarray(times_of(kept)))
        return shard
