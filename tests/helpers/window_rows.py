"""Rows for stages of windows, and what drives a stage over them as Flink does."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from tests.helpers.shard_states import ShardStates
from udfs.windows.blobs import pack, row_schema
from udfs.windows.params import Columns
from udfs.windows.stage import Stage
from udfs.windows.windowed import Windowed

FIELDS: Columns = (("card", "string"), ("amount", "double"), ("items", "long"))
SHARD_KEYS = (3, 1, 4, 15)


class Row(NamedTuple):
    """One record; `offset` is unique."""

    card: str | None
    amount: float | None
    items: int | None
    time: int
    offset: int


def stream(rows: int, seed: int, *, apart: int = 40, disorder: int = 300) -> list[Row]:
    """In the order in which they come: up to `disorder` ms out of the order of their times, with peers."""
    draw = random.Random(seed)
    made = []
    for offset in range(rows):
        amount = None if draw.random() < 0.1 else round(draw.uniform(-50, 100), draw.choice([1, 6, 14]))
        items = None if draw.random() < 0.1 else draw.randrange(5)
        card = draw.choice(["a", "b", "c", "d", None])
        made.append(Row(card, amount, items, 10_000 + offset * apart // 10 * 10, offset))
    return sorted(made, key=lambda row: row.time + draw.randrange(disorder))


def blobs(rows: Iterable[Row], columns: Columns = FIELDS) -> Iterator[tuple[int, bytes]]:
    rows = list(rows)
    made = {
        **{name: [getattr(row, name) for row in rows] for name in ("card", "amount", "items")},
        "_value": [str(row.offset).encode() for row in rows],
        "_partition": [0] * len(rows),
        "_offset": [row.offset for row in rows],
        "_time": [row.time for row in rows],
    }
    schema = row_schema(columns)
    arrays = [pa.array(made.get(f.name, [None] * len(rows)), type=f.type) for f in schema]
    yield from pack(pa.Table.from_arrays(arrays, schema=schema), ("card",), SHARD_KEYS)


class StageRun(ABC):
    """Drives a stage as Flink does; `restart` leaves nothing but the state."""

    def __init__(self, stage: Stage[Any]) -> None:
        self.flink = ShardStates()
        self.late: list[int] = []
        self.restart_as(stage)

    def restart_as(self, stage: Stage[Any]) -> None:
        self.stage, self.watermark = stage, -(2**63)

    def feed(self, rows: Iterable[Row]) -> None:
        for key, blob in blobs(rows):
            late, timer = self.stage.receive(key, self.flink.of(key), blob, self.watermark)
            if timer is not None:
                self.flink.timers.add((timer, key))
            if late is not None:
                self.late += late.column("_offset").to_pylist()

    def advance(self, watermark: int) -> None:
        self.watermark = watermark
        while due := sorted(timer for timer in self.flink.timers if timer[0] <= watermark):
            for time, key in due:
                self.flink.timers.discard((time, key))
                timer = self.stage.fire(key, self.flink.of(key), watermark)
                if timer is not None:
                    self.flink.timers.add((timer, key))
                if self.stage.is_complete(watermark) and (windowed := self.stage.take(watermark)):
                    self.seen(windowed)

    @abstractmethod
    def seen(self, windowed: Windowed) -> None:
        """What the stage gave on."""


Made = TypeVar("Made", bound=StageRun)


def in_batches(
    made: Made, rows: list[Row], batch: int, after_each: Callable[[Made, int], None] = lambda *_: None
) -> Made:
    """In batches, with a watermark 300 ms behind; then to the end."""
    highest = 0
    for number, start in enumerate(range(0, len(rows), batch)):
        made.feed(rows[start : start + batch])
        highest = max(highest, *(row.time for row in rows[start : start + batch]))
        made.advance(highest - 301)
        after_each(made, number)
    made.advance(2**62)
    return made
