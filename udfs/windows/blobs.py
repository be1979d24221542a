"""Packs rows by shard into bytes, which are the elements that Flink carries, and reads them again.

A shard holds the keys whose hash says so: the same on every machine and in every run. A blob holds rows in
the order of their event time, as an Arrow message without its schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from udfs.times import Milliseconds
from udfs.types import ARROW
from udfs.windows.params import Columns

TIME = "_time"
# What goes with the columns of a record: all that its outcome needs. Times are in ms since the epoch.
RECORD: tuple[tuple[str, pa.DataType], ...] = (
    ("_key", pa.binary()),
    ("_value", pa.binary()),
    ("_header_names", pa.list_(pa.string())),
    ("_header_values", pa.list_(pa.binary())),
    ("_partition", pa.int32()),
    ("_offset", pa.int64()),
    ("_timestamp", pa.int64()),
    (TIME, pa.int64()),
)
RECORD_NAMES = tuple(name for name, _ in RECORD)
# Of a null key, and what a hash of several columns is multiplied with.
_NULL, _FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def row_schema(columns: Columns) -> pa.Schema:
    """The schema of rows with these columns."""
    return pa.schema([*((name, ARROW[kind]) for name, kind in columns), *RECORD])


def shard_numbers(keys: Sequence[pa.Array], shards: int) -> npt.NDArray[np.int64]:
    """The shard of each of n keys, shape (n,), below `shards`; `keys` are the columns that make one."""
    hashes = np.zeros(len(keys[0]), dtype=np.uint64)
    for column in keys:
        hashes = hashes * _FACTOR + _hashes(column)
    # The upper half is the well mixed one after a multiplication.
    return ((hashes >> np.uint64(32)) % np.uint64(shards)).astype(np.int64)


def _hashes(column: pa.Array) -> npt.NDArray[np.uint64]:
    if pa.types.is_floating(column.type):
        column = pa.compute.add(column, 0.0)  # -0.0 and 0.0 are one key
    encoded = column.dictionary_encode()
    values = encoded.dictionary.cast(pa.string()).to_pandas().to_numpy(dtype=object)
    of_value: npt.NDArray[np.uint64] = pd.util.hash_array(values, categorize=False)
    found: npt.NDArray[np.uint64] = np.append(of_value, _NULL)[encoded.indices.fill_null(-1).to_numpy()]
    return found


def pack(rows: pa.Table, by: Sequence[str], shard_keys: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(Flink's key, blob) of each shard that has rows; `shard_keys` are the keys by number of the shard."""
    if not rows.num_rows:
        return
    batch = rows.combine_chunks().to_batches()[0]
    shards = shard_numbers([batch.column(name) for name in by], len(shard_keys))
    order = np.lexsort((batch.column(TIME).to_numpy(), shards))
    (batch,) = pa.Table.from_batches([batch]).take(pa.array(order)).combine_chunks().to_batches()
    edges = np.searchsorted(shards[order], np.arange(len(shard_keys) + 1))
    for shard, (start, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        if stop > start:
            yield shard_keys[shard], to_bytes(batch.slice(start, stop - start))


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """The rows as a message without schema."""
    written: bytes = batch.serialize().to_pybytes()
    return written


def from_bytes(blob: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a blob that was written with this schema."""
    return pa.ipc.read_record_batch(pa.py_buffer(blob), schema)


def times_of(rows: pa.Table | pa.RecordBatch) -> Milliseconds:
    """The event times of n rows, shape (n,)."""
    times: Milliseconds = rows.column(TIME).to_numpy()
    return times
