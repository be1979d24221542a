"""Gives Arrow bytes to read from in memory of its own.

    pq.read_table(reader_of(data))

Arrow's threads let go of what they read from a moment after the call has returned. If that is memory of
Python while Python ends, they ask for its lock, are ended in the middle of a destructor, and the process
aborts: "terminate called without an active exception", three in 40 processes on a busy machine.
"""

from __future__ import annotations

import pyarrow as pa


def reader_of(data: bytes) -> pa.BufferReader:
    """A file of a copy of the bytes; no thread of Arrow touches a Python object through it."""
    copy = pa.BufferOutputStream()
    copy.write(data)
    return pa.BufferReader(copy.getvalue())
