"""What was true of each row: from a column of the history itself, or from a file of labels by key.

labels = read_labels(Path("arrivals.parquet"), "flight_id", None)
labels.of({"flight_id": table.column("flight_id")})      # null where the file has no such key
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flink_jobs.errors import InputError
from flink_jobs.history.table_files import open_table
from udfs.suggest import hint
from udfs.tables.read import CSV
from udfs.types import ColumnType

WINDOW_START = "window_start"


@dataclass(frozen=True)
class HistoryLabels:
    """Labels by the columns `keys`; `name` is the label's own column."""

    name: str
    keys: tuple[str, ...]
    known: pa.Array
    values: pa.ChunkedArray

    def of(self, columns: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
        """(n,) the label of each row of the key columns, null where there is none."""
        place = pc.index_in(_joined([columns[key] for key in self.keys]), value_set=self.known)
        return self.values.take(place)


def read_labels(
    path: Path,
    key: str,
    label: str | None,
    *,
    windows: bool = False,
    types: Mapping[str, ColumnType] | None = None,
) -> HistoryLabels:
    """Labels of a Parquet or CSV file; `label` may be left out where the file has one other column.

    Labels of windows need a column window_start too. `types` are those of columns, which CSV does not tell.
    Raises InputError for a file that is not so, and for keys that are there twice.
    """
    try:
        table = open_table(path, types if path.suffix.lower() in CSV else None)
    except InputError as error:
        raise InputError(f"--labels: {error}") from error
    keys = (key, WINDOW_START) if windows else (key,)
    for name in keys:
        require_column(table.column_names, name, f"--labels: {path}")
    name = label or _only_other(table, keys, path)
    require_column(table.column_names, name, f"--label: {path}")
    table = table.filter(pc.is_valid(table.column(key)))
    known = _joined([table.column(each) for each in keys])
    if len(pc.unique(known)) < len(known):
        twice = next(v["values"] for v in known.value_counts().to_pylist() if v["counts"] > 1)
        raise InputError(f"--labels: {path} must have each {' and '.join(keys)} once; got {twice!r} twice")
    return HistoryLabels(name, keys, known, table.column(name))


def require_column(names: list[str], name: str, what: str) -> None:
    """Raises InputError unless the column is there."""
    if name in names:
        return
    meant = hint(name, names) or f"; it has {', '.join(names[:20])}"
    raise InputError(f"{what} has no column {name!r}{meant}")


def _only_other(table: pa.Table, keys: tuple[str, ...], path: Path) -> str:
    others = [name for name in table.column_names if name not in keys]
    if len(others) != 1:
        found = ", ".join(others) or "none"
        raise InputError(f"--label must say which column of {path} is the label; there are {found}")
    return str(others[0])


def _joined(columns: list[pa.ChunkedArray]) -> pa.Array:
    """One text per row, null where any column is; times in ms, so that files may keep them finer."""
    texts = [_as_text(column) for column in columns]
    joined = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "\x1f")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", tz=column.type.tz), safe=False).cast(pa.int64())
    if pa.types.is_floating(column.type) and not np.any(column.drop_null().to_numpy() % 1):
        column = column.cast(pa.int64())  # whole numbers beside nulls, as pandas writes them
    return column.cast(pa.string())
