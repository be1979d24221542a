"""Reads Parquet and CSV files as tables whose columns have the types that are wanted.

    read_table(Path("planes.csv"), types={"zip": "string"}, columns=["tailnum", "zip"])

A column whose type is given has that type, or the file is refused. In CSV the others have the type that all
their values look like, in Parquet their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from udfs.tables.columns import ColumnError, as_type, one_array
from udfs.tables.memory import reader_of
from udfs.tables.text import fits, from_text, looks_like
from udfs.types import ColumnType

PARQUET, CSV = (".parquet", ".pq"), (".csv",)
ENDINGS = (*PARQUET, *CSV)
_MAX_BLOCK = 1 << 30
_Kind = Literal["csv", "parquet"]
_Source = Callable[[], Any]


class TableFileError(Exception):
    """A file must be `expected`; got `found`.

    `column` is the one that it is about, if it is about one; `present` are the file's columns when that is
    not there.
    """

    def __init__(
        self, expected: str, found: str, column: str | None = None, present: tuple[str, ...] = ()
    ) -> None:
        self.expected, self.found, self.column, self.present = expected, found, column, present
        super().__init__(f"must be {expected}; got {found}")


def read_table(
    path: Path,
    types: Mapping[str, ColumnType] | None = None,
    columns: Sequence[str] | None = None,
    hints: Mapping[str, ColumnType] | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The table in a file; see `parse_table`. `limit` is the most rows."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise TableFileError("a readable file", error.strerror or str(error)) from None
    kind = _ending(path.name)
    return _typed(_opened(kind, lambda: str(path), size, columns, limit), kind, types or {}, hints or {})


def parse_table(
    data: bytes,
    name: str,
    types: Mapping[str, ColumnType] | None = None,
    columns: Sequence[str] | None = None,
    hints: Mapping[str, ColumnType] | None = None,
) -> pa.Table:
    """The chosen columns (default: all) of a file's bytes, each with a type of `types` as ARROW[type].

    `name` is the file's; `hints` are types for columns of CSV that fit, where `types` has none. Raises
    TableFileError for bytes that are no such file, and for columns that are missing, there twice, or of
    another type.
    """
    kind = _ending(name)
    table = _opened(kind, lambda: reader_of(data), len(data), columns, None)
    return _typed(table, kind, types or {}, hints or {})


def _ending(name: str) -> _Kind:
    suffix = Path(name).suffix.lower()
    if suffix not in ENDINGS:
        raise TableFileError("a .parquet or .csv file", repr(suffix or name))
    return "csv" if suffix in CSV else "parquet"


def _opened(
    kind: _Kind, source: _Source, size: int, columns: Sequence[str] | None, limit: int | None
) -> pa.Table:
    try:
        if kind == "csv":
            return _csv(source, size, columns, limit)
        return _parquet(source, columns, limit)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableFileError(f"a valid {kind} file", reason) from None


def _typed(
    table: pa.Table, kind: _Kind, types: Mapping[str, ColumnType], hints: Mapping[str, ColumnType]
) -> pa.Table:
    made = {}
    for name in table.column_names:
        try:
            if kind == "csv":
                made[name] = _of_texts(one_array(table.column(name)), types.get(name), hints.get(name))
            else:
                made[name] = as_type(table.column(name), types[name]) if name in types else table.column(name)
        except ColumnError as error:
            link = "with" if kind == "csv" else "of"
            found = f"{name!r} {link} {error.found}"
            raise TableFileError(f"a column of {error.expected}", found, name) from None
    return pa.table(made) if made else table


def _of_texts(texts: pa.Array, wanted: ColumnType | None, hint: ColumnType | None) -> pa.Array:
    if wanted is None and hint is not None and fits(texts, hint):
        wanted = hint
    kind = wanted or looks_like(texts)
    return pa.nulls(len(texts)) if kind is None else from_text(texts, kind)


def _parquet(source: _Source, columns: Sequence[str] | None, limit: int | None) -> pa.Table:
    with pa.parquet.ParquetFile(source()) as file:
        names = _chosen(columns, file.schema_arrow.names)
        if limit is None:
            return file.read(columns=names).select(names)
        batches = list(_until(file.iter_batches(columns=names), limit))
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        return pa.Table.from_batches(batches, schema).slice(0, limit)


def _until(batches: Iterable[pa.RecordBatch], limit: int) -> Iterable[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left <= 0:
            return
        yield batch
        left -= batch.num_rows


def _csv(source: _Source, size: int, columns: Sequence[str] | None, limit: int | None) -> pa.Table:
    """All columns as text, an empty field as an empty text."""
    # Without threads a mistake has its row, whatever the machine.
    block = pa.csv.ReadOptions(use_threads=False, block_size=min(size + 1, _MAX_BLOCK))
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with pa.csv.open_csv(source(), block, parse) as reader:
        names = _chosen(columns, reader.schema.names)
    text = dict.fromkeys(names, pa.string())
    convert = pa.csv.ConvertOptions(include_columns=names, column_types=text, strings_can_be_null=False)
    return pa.csv.read_csv(source(), block, parse, convert).slice(0, limit)


def _chosen(columns: Sequence[str] | None, present: list[str]) -> list[str]:
    names = present if columns is None else list(dict.fromkeys(columns))
    for name in names:
        if present.count(name) > 1:
            raise TableFileError("a column that occurs once", f"{name!r} twice", name)
        if name not in present:
            listed = ", ".join(present[:12]) + (f" and {len(present) - 12} more" if len(present) > 12 else "")
            raise TableFileError(f"one of its columns {listed}", repr(name), name, tuple(present))
    return names
