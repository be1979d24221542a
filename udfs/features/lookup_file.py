"""Reads the file of a lookup table: Parquet or CSV, keys checked, columns brought to the five column types.

A file is a path of this machine, or a URI, such as s3://bucket/planes.csv, that `udfs.store` opens.

Integers become long, floats and decimals double, dictionaries their values, dates and timestamps UTC
timestamps of milliseconds (without a zone: taken as UTC), NaN null. Rows without a key are left out. In CSV
the key column is always text, and the others are as `udfs.tables` reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.compute as pc

from udfs.store import StoreError, is_uri, without_secrets
from udfs.tables import TableFileError, parse_table
from udfs.tables.columns import ColumnError, as_type, column_type, one_array
from udfs.tables.read import CSV
from udfs.types import ARROW, ColumnType


class LookupTableError(Exception):
    """A lookup's table cannot be used: its `part`, a key of the job file, must be `expected`; got `found`.

    `choices` are the file's columns when the mistake is a column's name, which is then `name`.
    """

    def __init__(
        self,
        path: Path | str,
        expected: str,
        found: str,
        part: str = "file",
        name: str | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.path, self.expected, self.found = without_secrets(path), expected, found
        self.part, self.name, self.choices = part, name, choices
        super().__init__(f"lookup {part} of {self.path} must be {expected}; got {found}")


@dataclass(frozen=True)
class Stamp:
    """What changes when a file is written or replaced; `inode` is 0 of those at a URI.

    `mtime_ns` is 0 where the store tells no time, `etag` empty where it tells none.
    """

    mtime_ns: int
    size: int
    inode: int
    etag: str = ""


@dataclass(frozen=True)
class LookupContent:
    """Keys without nulls or duplicates, and the selected columns in the same order of rows."""

    stamp: Stamp | None
    keys: pa.Array
    columns: dict[str, pa.Array]
    types: dict[str, ColumnType]


# The steps of clocks in which file systems and stores tell times: two seconds at most, and as much again.
CLOCK_STEP = 4.0
# By how much the clock of a store may differ from that of a worker.
CLOCKS_DIFFER = 60.0


def is_settled(stamp: Stamp, known: float, age: float) -> bool:
    """Whether what was read is all that can have this stamp, or another content of its size may follow.

    `known`: seconds from the first look that found the stamp to the last reading of the file; `age`: seconds
    since it was written, at that reading, by this machine's clock. As git does for files that are "racily
    clean".

    >>> stamp = Stamp(1_700_000_000_000_000_000, 40, 0)
    >>> is_settled(stamp, known=0.0, age=1.0), is_settled(stamp, known=10.0, age=11.0)
    (False, True)
    """
    if stamp.etag:
        return True
    return stamp.mtime_ns > 0 and (known > CLOCK_STEP or age > CLOCKS_DIFFER)


def place_of(text: str | Path) -> Path | str:
    """A URI as it is, anything else as a path of this machine."""
    return text if isinstance(text, str) and is_uri(text) else Path(text)


def stamp_of(path: Path | str) -> Stamp | None:
    """The file's stamp, None if it is not there. Raises LookupTableError where a store does not answer."""
    if isinstance(path, str):
        return _stamp_at(path)
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def _stamp_at(uri: str) -> Stamp | None:
    store, name = _store(uri)
    try:
        found = store.stamp(name)
    except StoreError as error:
        raise LookupTableError(uri, "a readable file", str(error)) from None
    return Stamp(found[0], found[1], 0, found[2]) if found else None


@cache
def _store(uri: str) -> tuple[Any, str]:
    """The ObjectStore of the folder in which the file is, and the file's name there."""
    from udfs.store.objects import open_uri  # noqa: PLC0415  # Start-up: pyarrow.fs is heavy

    parts = urlsplit(uri)
    folder, _, name = parts.path.rpartition("/")
    try:
        return open_uri(urlunsplit(parts._replace(path=folder or "/"))), unquote(name)
    except StoreError as error:
        raise LookupTableError(uri, "a readable file", str(error)) from None


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def read_lookup(
    path: Path | str,
    key: str,
    select: Mapping[str, str],
    types: Mapping[str, ColumnType] | None = None,
    hints: Mapping[str, ColumnType] | None = None,
) -> LookupContent:
    """Read `key` and the columns of `select` (new name -> file column), each as its type in `types`.

    Without one, a column of a CSV file has its type in `hints` if it can, else the type that its values look
    like. Raises LookupTableError.
    """
    return parse_lookup(path, *file_content(path), key, select, types, hints)


def parse_lookup(
    path: Path | str,
    data: bytes,
    stamp: Stamp,
    key: str,
    select: Mapping[str, str],
    types: Mapping[str, ColumnType] | None = None,
    hints: Mapping[str, ColumnType] | None = None,
) -> LookupContent:
    """The same of what `file_content` gave."""
    table = _table(path, data, key, select, types or {}, hints or {})
    table = table.filter(table.column(key).is_valid())
    keys = distinct_keys(path, key, one_array(table.column(key)))
    columns = {
        name: _normalised(path, column, table.column(column), (types or {}).get(name))
        for name, column in select.items()
    }
    found = {name: column_type(array.type) for name, array in columns.items()}
    return LookupContent(stamp, keys, columns, {name: type_ for name, type_ in found.items() if type_})


def file_content(path: Path | str) -> tuple[bytes, Stamp]:
    """The whole of the file, and its stamp. Raises LookupTableError, also while it is being written."""
    try:
        data, before, after = _at(path) if isinstance(path, str) else _local(path)
    except OSError as error:
        raise LookupTableError(path, "a readable file", error.strerror or str(error)) from None
    if before != after or after is None:
        raise LookupTableError(path, "a complete file", "one that is being written")
    return data, after


def _local(path: Path) -> tuple[bytes, Stamp | None, Stamp | None]:
    with path.open("rb") as file:
        before = _stamp(os.fstat(file.fileno()))
        data = file.read()
        return data, before, _stamp(os.fstat(file.fileno()))


def _at(uri: str) -> tuple[bytes, Stamp | None, Stamp | None]:
    store, name = _store(uri)
    before = _stamp_at(uri)
    try:
        data = store.read(name)
    except FileNotFoundError:
        raise LookupTableError(uri, "a readable file", "nothing there") from None
    except StoreError as error:
        raise LookupTableError(uri, "a readable file", str(error)) from None
    return data, before, _stamp_at(uri)


def _table(
    path: Path | str,
    data: bytes,
    key: str,
    select: Mapping[str, str],
    types: Mapping[str, ColumnType],
    hints: Mapping[str, ColumnType],
) -> pa.Table:
    """A column that is taken twice, as two types, is converted where it is taken."""
    file = Path(urlsplit(path).path) if isinstance(path, str) else path
    text: dict[str, ColumnType] = {key: "string"} if file.suffix.lower() in CSV else {}
    wanted, likely = _by_column(select, types), _by_column(select, hints)
    try:
        names = [key, *select.values()]
        return parse_table(data, file.name, wanted | text, names, likely)
    except TableFileError as error:
        part = "file" if error.column is None else "key" if error.column == key else "select"
        missing = error.column if error.present else None
        raise LookupTableError(path, error.expected, error.found, part, missing, error.present) from None


def _by_column(select: Mapping[str, str], types: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    return {select[name]: type_ for name, type_ in types.items()}


def distinct_keys(path: Path | str, key: str, values: pa.Array) -> pa.Array:
    """The keys to compare with. Raises LookupTableError for other types, and for one that is there twice."""
    if pa.types.is_null(values.type):
        return values.cast(pa.string())
    type_ = column_type(values.type)
    if type_ not in ("string", "long"):
        raise LookupTableError(path, "a column of strings or integers", f"{key!r} of {values.type}", "key")
    keys = values.cast(ARROW[type_])
    if len(keys.unique()) != len(keys):
        counts = keys.value_counts()
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        found = f"{twice['values']!r} {twice['counts']} times in {key!r}"
        raise LookupTableError(path, "a column of distinct keys", found, "key")
    return keys


def _normalised(path: Path | str, name: str, column: pa.ChunkedArray, wanted: ColumnType | None) -> pa.Array:
    values = one_array(column)
    type_ = wanted or column_type(values.type)
    if type_ is None:
        expected = "a column of string, long, double, boolean or timestamp"
        raise LookupTableError(path, expected, f"{name!r} of {values.type}", "select")
    try:
        return as_type(values, type_)
    except ColumnError as error:
        raise LookupTableError(
            path, f"a column of {error.expected}", f"{name!r}: {error.found}", "select"
        ) from None
