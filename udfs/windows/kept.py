"""What stages of windows keep in Flink's state, and how it is read by a job that has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import pyarrow as pa

from udfs.errors import StateError
from udfs.types import ARROW
from udfs.windows.blobs import TIME, from_bytes
from udfs.windows.params import Columns

# Rows of a segment that is not joined with later ones.
LARGE = 16_384
LEAST_TIME = -(2**63)


class Blobs(Protocol):
    """Numbered blobs in the state of the current shard."""

    def items(self) -> Iterable[tuple[int, bytes]]: ...

    def get(self, number: int) -> bytes: ...

    def put(self, number: int, blob: bytes) -> None: ...

    def remove(self, number: int) -> None: ...


class Until(Protocol):
    """The time up to which rows of the current shard have been released, None if none have."""

    def value(self) -> int | None: ...

    def update(self, until: int) -> None: ...


class Contract(Protocol):
    """What the state of the current shard was written for, None if nothing was."""

    def value(self) -> bytes | None: ...

    def update(self, contract: bytes) -> None: ...


class ShardState(NamedTuple):
    """The state of the shard that Flink has made the current one."""

    pending: Blobs
    kept: Blobs
    until: Until
    contract: Contract


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of rows: the columns that windows read, of which `by` are the key.

    It is written into the state, to be compared with what reads it.
    """

    by: tuple[str, ...]
    kept: Columns
    version: int = 1

    def kept_schema(self) -> pa.Schema:
        return pa.schema([*((name, ARROW[kind]) for name, kind in self.kept), (TIME, pa.int64())])

    def key(self) -> list[tuple[str, str]]:
        types = dict(self.kept)
        return [(name, types[name]) for name in self.by]


def check_key(stored: Kept, layout: Kept) -> None:
    """Raises StateError where the state is of another key, or of a version that is not known."""
    if stored.version != layout.version or stored.key() != layout.key():
        raise StateError(
            f"the savepoint keeps windows by {_words(stored.key())}, this job has {_words(layout.key())}: "
            "start it without the savepoint, or with the old key"
        )


def _words(key: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in key)


def conformed(blob: bytes, stored: Kept, layout: Kept) -> pa.RecordBatch:
    """Kept rows of the stored layout with the columns of this one."""
    return _fitted(from_bytes(blob, stored.kept_schema()), layout.kept_schema())


def _fitted(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows with the columns of the schema: null where there is none of this name and type."""
    if rows.schema == schema:
        return rows
    columns = [
        rows.column(field.name) if field in list(rows.schema) else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows of the parts."""
    (batch,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
    return batch


def numbered(blobs: Blobs) -> list[tuple[int, bytes]]:
    """All blobs, by number."""
    return sorted((number, bytes(blob)) for number, blob in blobs.items())
