"""Changes of a table of versions, and the stage that joins it, driven as Flink does."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tests.helpers.window_rows import FIELDS, SHARD_KEYS, StageRun
from udfs.windows.blobs import pack
from udfs.windows.params import Columns, StageParams, TableParams
from udfs.windows.table_stage import CHANGES, TableStage
from udfs.windows.versions import change_schema
from udfs.windows.windowed import Windowed

RESULTS: Columns = (("tier", "string"), ("credit", "long"))


class Change(NamedTuple):
    """A row of the table as of a time, or its deletion; `offset` is unique."""

    card: str
    tier: str | None
    credit: int | None
    time: int
    offset: int
    deleted: bool = False


def changes(count: int, seed: int, *, apart: int = 90, disorder: int = 300) -> list[Change]:
    """In the order in which they come: up to `disorder` ms out of the order of their times, with peers."""
    draw = random.Random(seed)
    made = []
    for offset in range(count):
        card = draw.choice(["a", "b", "c", "e"])
        deleted = draw.random() < 0.15
        tier = None if deleted else draw.choice(["gold", "silver", None])
        credit = None if deleted else offset
        made.append(Change(card, tier, credit, 10_000 + offset * apart // 10 * 10, offset, deleted))
    return sorted(made, key=lambda change: change.time + draw.randrange(disorder))


def stage(
    *, columns: Columns = FIELDS, results: Columns = RESULTS, lag_ms: int = 0, retention_ms: int = 0
) -> TableStage:
    of_table = TableParams("cards", lag_ms, retention_ms)
    return TableStage(StageParams(("card",), (), columns, results, table=of_table), of_table)


def change_blobs(made: Iterable[Change], results: Columns = RESULTS) -> Iterable[tuple[int, bytes]]:
    rows = [change._asdict() | {"_deleted": change.deleted, "_time": change.time} for change in made]
    rows = [row | {"_partition": 0, "_offset": row["offset"]} for row in rows]
    schema = change_schema((("card", "string"), *results))
    arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema]
    for key, blob in pack(pa.Table.from_arrays(arrays, schema=schema), ("card",), SHARD_KEYS):
        yield key, CHANGES + blob


class TableRun(StageRun):
    """A table joined; `results` are (tier, credit) by the offset of the row."""

    def __init__(self, made: TableStage | None = None) -> None:
        super().__init__(made or stage())
        self.results: dict[int, tuple[Any, Any]] = {}

    def change(self, made: Sequence[Change], results: Columns = RESULTS) -> None:
        for key, blob in change_blobs(made, results):
            _, timer = self.stage.receive(key, self.flink.of(key), blob, self.watermark)
            if timer is not None:
                self.flink.timers.add((timer, key))

    def seen(self, windowed: Windowed) -> None:
        assert windowed.problems == {}
        for row in windowed.rows.to_pylist():
            assert row["_offset"] not in self.results
            self.results[row["_offset"]] = (row["tier"], row["credit"])
