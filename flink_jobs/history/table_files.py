"""Tables that people keep in files.

table = read_table(Path("holdout.csv"), {"zip": "string"})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from flink_jobs.errors import InputError
from udfs import tables
from udfs.model.manifest import Output
from udfs.tables.read import CSV, ENDINGS
from udfs.types import ColumnType


def read_table(
    file: Path, types: Mapping[str, ColumnType] | None = None, limit: int | None = None
) -> pa.Table:
    """A Parquet or CSV file with rows; those of its columns that `types` names have that type.

    Raises `InputError` for anything else.
    """
    table = open_table(file, types, limit)
    if not table.num_rows:
        raise InputError(f"{file} must have rows; got none")
    return table


def open_table(
    file: Path, types: Mapping[str, ColumnType] | None = None, limit: int | None = None
) -> pa.Table:
    """As `read_table`, where a file may be without rows."""
    if not file.is_file():
        raise InputError(f"{file} must be a Parquet or CSV file; there is no such file")
    suffix = file.suffix.lower()
    if suffix not in ENDINGS:
        raise InputError(f"{file} must end in .parquet or .csv; got {suffix or 'no ending'!r}")
    try:
        return tables.read_table(file, types, limit=limit)
    except tables.TableFileError as error:
        if error.column is None:
            kind = "CSV" if suffix in CSV else "Parquet"
            raise InputError(f"{file} must be a {kind} file; {error.found}") from error
        raise InputError(f"{file} must have {error.expected}; got {error.found}") from error


def label_type(output: Output) -> ColumnType:
    """The type of labels of a model with this output.

    >>> label_type(Output(kind="binary", classes=("no", "yes")))
    'string'
    """
    if output.kind in ("regression", "anomaly"):
        return "double" if output.kind == "regression" else "boolean"
    kinds: dict[type, ColumnType] = {str: "string", bool: "boolean", int: "long"}
    found = {kinds[type(name)] for name in output.classes}
    return found.pop() if len(found) == 1 else "string"
