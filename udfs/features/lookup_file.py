"""Reads the file of a lookup table: Parquet or CSV, keys checked, columns brought to the five column types.

Integers become long, floats and decimals double, dictionaries their values, dates and timestamps UTC
timestamps of milliseconds (without a zone: taken as UTC), NaN null. Rows without a key are left out. In CSV
the key column is always text; an empty field is null, and so is NA, NaN or null among numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from udfs.types import ARROW, ColumnType

MAX_BLOCK = 1 << 30


class LookupTableError(Exception):
    """A lookup file cannot be used: its `part` ("file", "key" or "select") must be `expected`; got `found`.

    `choices` are the file's columns when the mistake is a column's name, which is then `name`.
    """

    def __init__(
        self,
        path: Path,
        expected: str,
        found: str,
        part: str = "file",
        name: str | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.path, self.expected, self.found = path, expected, found
        self.part, self.name, self.choices = part, name, choices
        super().__init__(f"lookup {part} of {path} must be {expected}; got {found}")


@dataclass(frozen=True)
class Stamp:
    """What changes when a file is written or replaced."""

    mtime_ns: int
    size: int
    inode: int


@dataclass(frozen=True)
class LookupContent:
    """Keys without nulls or duplicates, and the selected columns in the same order of rows."""

    stamp: Stamp
    keys: pa.Array
    columns: dict[str, pa.Array]
    types: dict[str, ColumnType]


def stamp_of(path: Path) -> Stamp | None:
    """The file's stamp, None if it is not there."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def read_lookup(
    path: Path, key: str, select: Mapping[str, str], types: Mapping[str, ColumnType] | None = None
) -> LookupContent:
    """Read `key` and the columns of `select` (new name -> file column), as `types` if given, else as found.

    Raises LookupTableError.
    """
    data, stamp = _bytes(path)
    table = _table(path, data, key, select, types or {})
    table = table.filter(table.column(key).is_valid())
    keys = _keys(path, key, _one_chunk(table.column(key)))
    columns = {
        name: _normalised(path, column, _one_chunk(table.column(column)), (types or {}).get(name))
        for name, column in select.items()
    }
    found = {name: _column_type(array.type) for name, array in columns.items()}
    return LookupContent(stamp, keys, columns, {name: type_ for name, type_ in found.items() if type_})


def _bytes(path: Path) -> tuple[bytes, Stamp]:
    try:
        with path.open("rb") as file:
            before = _stamp(os.fstat(file.fileno()))
            data = file.read()
            after = _stamp(os.fstat(file.fileno()))
    except OSError as error:
        raise LookupTableError(path, "a readable file", error.strerror or str(error)) from None
    if before != after:
        raise LookupTableError(path, "a complete file", "one that is being written")
    return data, after


def _table(
    path: Path, data: bytes, key: str, select: Mapping[str, str], types: Mapping[str, ColumnType]
) -> pa.Table:
    names = list(dict.fromkeys([key, *select.values()]))
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise LookupTableError(path, "a .parquet or .csv file", repr(suffix or path.name))
    try:
        if suffix == ".parquet":
            return _parquet(path, data, key, names)
        return _csv(path, data, key, names, {select[name]: type_ for name, type_ in types.items()})
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LookupTableError(path, f"a valid {suffix[1:]} file", reason) from None


def _parquet(path: Path, data: bytes, key: str, names: list[str]) -> pa.Table:
    with pa.parquet.ParquetFile(pa.BufferReader(data)) as file:
        _check_names(path, key, names, file.schema_arrow.names)
        return file.read(columns=names).select(names)


def _csv(path: Path, data: bytes, key: str, names: list[str], types: Mapping[str, ColumnType]) -> pa.Table:
    # Types come from the whole file, and without threads a mistake has its row, whatever the machine.
    block = pa.csv.ReadOptions(use_threads=False, block_size=min(max(len(data), 1) + 1, MAX_BLOCK))
    header = pa.csv.open_csv(pa.BufferReader(data), read_options=block).schema.names
    _check_names(path, key, names, header)
    forced = {name: ARROW[type_] for name, type_ in types.items() if type_ != "timestamp"}
    convert = pa.csv.ConvertOptions(include_columns=names, column_types={**forced, key: pa.string()})
    table = pa.csv.read_csv(pa.BufferReader(data), read_options=block, convert_options=convert)
    for index, column in enumerate(table.columns):
        if pa.types.is_string(column.type):
            null = pa.scalar(None, pa.string())
            table = table.set_column(
                index, table.field(index), pc.if_else(pc.equal(column, ""), null, column)
            )
    return table


def _check_names(path: Path, key: str, names: list[str], present: list[str]) -> None:
    for name in names:
        part = "key" if name == key else "select"
        if present.count(name) > 1:
            raise LookupTableError(path, "a column that occurs once", f"{name!r} twice", part)
        if name not in present:
            listed = ", ".join(present[:12]) + (f" and {len(present) - 12} more" if len(present) > 12 else "")
            raise LookupTableError(
                path, f"one of its columns {listed}", repr(name), part, name, tuple(present)
            )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _keys(path: Path, key: str, values: pa.Array) -> pa.Array:
    values = _plain(values)
    type_ = _column_type(values.type)
    if type_ not in ("string", "long"):
        raise LookupTableError(path, "a column of strings or integers", f"{key!r} of {values.type}", "key")
    keys = values.cast(ARROW[type_])
    if len(keys.unique()) != len(keys):
        counts = keys.value_counts()
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        found = f"{twice['values']!r} {twice['counts']} times in {key!r}"
        raise LookupTableError(path, "a column of distinct keys", found, "key")
    return keys


def _normalised(path: Path, name: str, values: pa.Array, wanted: ColumnType | None) -> pa.Array:
    values = _plain(values)
    found = _column_type(values.type)
    if pa.types.is_null(values.type) and wanted:
        return pa.nulls(len(values), ARROW[wanted])
    if found is None or (wanted and wanted != found and (found, wanted) != ("long", "double")):
        expected = (
            f"a column of {wanted}" if wanted else "a column of string, long, double, boolean or timestamp"
        )
        raise LookupTableError(path, expected, f"{name!r} of {values.type}", "select")
    try:
        return values.cast(ARROW[wanted or found], safe=found != "timestamp")
    except pa.ArrowException as error:
        raise LookupTableError(
            path, f"a column of {wanted or found}", f"{name!r}: {error}", "select"
        ) from None


def _plain(values: pa.Array) -> pa.Array:
    """Without dictionaries, dates and NaN, which have no column type; NaN becomes null."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_date(values.type):
        return values.cast(pa.timestamp("ms"))
    if pa.types.is_floating(values.type):
        values = values.cast(pa.float64())
        return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    return values


def _column_type(type_: pa.DataType) -> ColumnType | None:
    tests: dict[ColumnType, tuple[Callable[[pa.DataType], bool], ...]] = {
        "string": (pa.types.is_string, pa.types.is_large_string),
        "long": (pa.types.is_integer,),
        "double": (pa.types.is_floating, pa.types.is_decimal),
        "boolean": (pa.types.is_boolean,),
        "timestamp": (pa.types.is_timestamp,),
    }
    return next((name for name, fits in tests.items() if any(fit(type_) for fit in fits)), None)
