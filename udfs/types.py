"""The column types of job files, signatures and expressions, and their Arrow and SQL counterparts."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

ColumnType = Literal["string", "double", "long", "boolean", "timestamp"]

ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
}

SQL: dict[ColumnType, str] = {
    "string": "STRING",
    "double": "DOUBLE",
    "long": "BIGINT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP(3)",
}
