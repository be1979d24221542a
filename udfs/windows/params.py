"""What windows are, as the job's plan says it to its workers."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from udfs.types import ColumnType

Columns = tuple[tuple[str, ColumnType], ...]
# Whether the windows of a row are complete.
COMPLETE = "_window_complete"


class AggregateParams(msgspec.Struct, frozen=True):
    """One result. `column` is None for count(*) and time_since_last().

    `offset` is that of lag and the place of top, `share` that of percentile, from 0 to 1, and `half_life_ms`
    that of ewma. With `where`, only rows count in which that boolean column is true.
    """

    function: str
    column: str | None = None
    distinct: bool = False
    offset: int = 1
    share: float = 0.5
    half_life_ms: int = 0
    where: str | None = None


def columns_read(aggregates: Iterable[AggregateParams]) -> tuple[str, ...]:
    """The columns and conditions of the aggregates, each once."""
    return tuple(dict.fromkeys(name for a in aggregates for name in (a.column, a.where) if name))


class WindowParams(msgspec.Struct, frozen=True):
    """A key's last `over_ms` milliseconds with all peers, or its last `rows` rows: one of them is not 0."""

    over_ms: int = 0
    rows: int = 0
    select: dict[str, AggregateParams] = {}


class GroupParams(msgspec.Struct, frozen=True):
    """Windows that are scored themselves: `size_ms` long, from 1970 on, one each `every_ms`.

    With `gap_ms` instead, sessions: rows of a key of which none is more than that after the one before.
    """

    size_ms: int = 0
    every_ms: int = 0
    gap_ms: int = 0
    select: dict[str, AggregateParams] = {}


class TableParams(msgspec.Struct, frozen=True):
    """A table of versions that is joined by the stage's key; the stage's results are its columns.

    Rows wait until the watermark is `lag_ms` beyond them, so long as they and all tables before this one wait
    for late changes. A version is no more known `retention_ms` after it, unless that is 0.
    """

    name: str
    lag_ms: int = 0
    retention_ms: int = 0


class StageParams(msgspec.Struct, frozen=True):
    """Windows by one key. `columns` are those of the rows that come, `results` those that are added.

    With `group`, there are no `windows`: each of its windows becomes a row, of the key and the results. With
    `table`, there are none either: each row gets what the table had of its key.

    With `complete`, each row has a column COMPLETE: whether all of its windows, those of earlier stages too,
    hold what belongs to them. With `warm_from`, rows of that event time and later are read once more at the
    start; `warm_number` tells such a start from those before.
    """

    by: tuple[str, ...]
    windows: tuple[WindowParams, ...]
    columns: Columns
    results: Columns
    group: GroupParams | None = None
    table: TableParams | None = None
    complete: bool = False
    warm_from: int | None = None
    warm_number: int = 0
