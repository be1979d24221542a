"""The column types of job files, signatures and expressions, and their Arrow and SQL counterparts."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

# Of tables' columns, and of models' inputs.
TableType = Literal["string", "double", "long", "boolean", "timestamp"]
# Of records, too: a decimal is the text of its digits, and bytes are base64.
ColumnType = Literal["string", "double", "long", "boolean", "timestamp", "decimal", "bytes"]

ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "decimal": pa.string(),
    "bytes": pa.string(),
}

SQL: dict[ColumnType, str] = {
    "string": "STRING",
    "double": "DOUBLE",
    "long": "BIGINT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP(3)",
    "decimal": "STRING",
    "bytes": "STRING",
}


def held_as(kind: ColumnType) -> TableType:
    """What a column is to those who do not calculate with it."""
    return "string" if kind == "decimal" or kind == "bytes" else kind
