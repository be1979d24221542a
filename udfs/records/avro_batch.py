"""Reads many Avro records of one schema at once: a column after the other, by numpy, into Arrow.

Only what is plain is read so: records of primitive types, enums, fixed and unions of these. All else, and
what is not well formed, raises UnfitError; fastavro reads it record by record, and alone says what is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.avro_schema import Node

Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Leaves = dict[int, pa.Array]
# A varint has ten bytes at most; nothing is read further beyond the end of a record before that is noticed.
PADDING = 16
_LARGEST = 2**31 - 1 - PADDING


class UnfitError(Exception):
    """The batch is not plain; it may be valid."""


class Cursor:
    """Where each of the records is read next; they lie in one buffer, in this order."""

    def __init__(self, data: bytes, at: Longs, ends: Longs) -> None:
        self.data = data
        self.bytes: Bytes = np.frombuffer(data, dtype=np.uint8)
        self.at = at
        self.ends = ends

    def __len__(self) -> int:
        return len(self.at)

    def part(self, rows: Longs) -> Cursor:
        """Some of the records, at a place of their own."""
        made = Cursor.__new__(Cursor)
        made.data, made.bytes = self.data, self.bytes
        made.at, made.ends = self.at[rows], self.ends[rows]
        return made

    def advance(self, by: Longs | int) -> Longs:
        """Goes on; returns where it was. Raises UnfitError at the end of a record."""
        before = self.at
        self.at = before + by
        if (self.at > self.ends).any():
            raise UnfitError
        return before

    def varints(self) -> Longs:
        """The next integer of each record."""
        value = self.unsigned()
        signed: Longs = (value >> np.uint64(1)).astype(np.int64) ^ -(value & np.uint64(1)).astype(np.int64)
        return signed

    def unsigned(self) -> npt.NDArray[np.uint64]:
        """The same as it is written, without a sign."""
        first = self.bytes[self.at]
        self.at = self.at + 1
        value = first.astype(np.uint64)
        longer = np.flatnonzero(first & 0x80)
        if longer.size:
            self._rest(value, longer)
        if (self.at > self.ends).any():
            raise UnfitError
        return value

    def _rest(self, value: npt.NDArray[np.uint64], longer: Longs) -> None:
        """The bytes after the first, of those that have more."""
        value &= np.uint64(0x7F)
        for shift in range(7, 70, 7):
            byte = self.bytes[self.at[longer]]
            self.at[longer] += 1
            value[longer] |= (byte & 0x7F).astype(np.uint64) << np.uint64(shift)
            if shift == 63 and (byte > 1).any():
                raise UnfitError
            longer = longer[byte >= 0x80]
            if not longer.size:
                return

    def lengths(self, size: Longs | None = None) -> tuple[Longs, Longs]:
        """Where the next string of each record, of its `size`, starts, and where it ends."""
        size = self.varints() if size is None else size
        if ((size < 0) | (size > self.ends - self.at)).any():
            raise UnfitError
        start = self.at
        self.at = start + size
        return start, self.at

    def fixed(self, size: int) -> npt.NDArray[np.uint8]:
        """The next `size` bytes of each record, shape (records, size)."""
        start = self.advance(size)
        windows = np.lib.stride_tricks.sliding_window_view(self.bytes, size)
        taken: npt.NDArray[np.uint8] = windows[start]
        return taken

    def texts(self, size: Longs | None = None) -> pa.Array:
        """The next bytes or string of each record, as binary; its `size` stands before it, or is given."""
        start, end = self.lengths(size)
        # What lies between two of them is an element too, so that no byte is copied to make an array.
        offsets = np.zeros(2 * len(start) + 1, dtype=np.int32)
        offsets[1::2], offsets[2::2] = start, end
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        around = pa.Array.from_buffers(pa.binary(), 2 * len(start), buffers)
        return around.take(pa.array(np.arange(1, 2 * len(start), 2)))


@dataclass(frozen=True)
class Step:
    """How a value is read or, without `leaf`, skipped; leaves are numbered by the columns."""

    node: Node
    leaf: int | None = None
    steps: tuple[Step, ...] = ()


def plan_step(
    node: Node, leaves: Sequence[Node | None], path_leaf: dict[tuple[str, ...], int]
) -> Step | None:
    """How records are read whose column i is `leaves[i]`, at its path; None if they are not plain."""
    try:
        return _plan(node, leaves, path_leaf, ())
    except UnfitError:
        return None


def _plan(
    node: Node, leaves: Sequence[Node | None], paths: dict[tuple[str, ...], int], path: tuple[str, ...]
) -> Step:
    if node.kind in ("array", "map"):
        raise UnfitError
    if node.kind == "record":
        steps = (_plan(field.node, leaves, paths, (*path, field.name)) for field in node.fields)
        return Step(node, steps=tuple(steps))
    if node.kind == "union":
        return Step(node, steps=tuple(_plan(branch, leaves, paths, path) for branch in node.branches))
    column = paths.get(path)
    if column is None or node.kind == "null":
        return Step(node)
    if leaves[column] is not node:
        raise UnfitError
    return Step(node, column)


def read_batch(step: Step, data: bytes, starts: Longs, ends: Longs) -> Leaves:
    """The leaves of all records, which end exactly where they should. `data` has `PADDING` bytes more."""
    if len(data) > _LARGEST:
        raise UnfitError
    cursor = Cursor(data, starts, ends)
    found = _read(step, cursor)
    if (cursor.at != cursor.ends).any():
        raise UnfitError
    return found


def _read(step: Step, cursor: Cursor) -> Leaves:
    if step.node.kind == "record":
        found: Leaves = {}
        for each in step.steps:
            found |= _read(each, cursor)
        return found
    if step.node.kind == "union":
        return _read_union(step, cursor)
    if step.leaf is None:
        _skip(step.node, cursor)
        return {}
    return {step.leaf: _take(step.node, cursor)}


def _read_union(step: Step, cursor: Cursor) -> Leaves:
    """Each branch for the records that have it, with null elsewhere."""
    chosen = cursor.varints()
    if ((chosen < 0) | (chosen >= len(step.steps))).any():
        raise UnfitError
    found: Leaves = {}
    for index, branch in enumerate(step.steps):
        if branch.node.kind == "null":
            continue
        rows = np.flatnonzero(chosen == index)
        if len(rows) == len(cursor):
            return found | _read(branch, cursor)
        part = cursor.part(rows)
        read = _read(branch, part)
        cursor.at[rows] = part.at
        if read:
            place = np.zeros(len(cursor), dtype=np.int64)
            place[rows] = np.arange(len(rows))
            indices = pa.array(place, mask=chosen != index)
            found |= {leaf: values.take(indices) for leaf, values in read.items()}
    return found


def _skip(node: Node, cursor: Cursor) -> None:
    match node.kind:
        case "int" | "long" | "enum":
            cursor.varints()
        case "bytes" | "string":
            cursor.lengths()
        case "boolean":
            cursor.advance(1)
        case "float":
            cursor.advance(4)
        case "double":
            cursor.advance(8)
        case "fixed":
            cursor.advance(node.size)


def _take(node: Node, cursor: Cursor) -> pa.Array:
    match node.kind:
        case "int" | "long":
            return pa.array(cursor.varints())
        case "float" | "double":
            size = 4 if node.kind == "float" else 8
            with np.errstate(invalid="ignore"):  # NaN of a kind that a cast warns of
                return pa.array(cursor.fixed(size).view(f"<f{size}")[:, 0].astype(np.float64))
        case "boolean":
            byte = cursor.bytes[cursor.advance(1)]
            if (byte > 1).any():
                raise UnfitError
            return pa.array(byte == 1)
        case "enum":
            return _symbols(node, cursor.varints())
        case "string":
            return cursor.texts().cast(pa.string())
        case "bytes":
            return cursor.texts()
        case "fixed":
            taken = cursor.fixed(node.size)
            packed = pa.py_buffer(np.ascontiguousarray(taken))
            return pa.Array.from_buffers(pa.binary(node.size), len(taken), [None, packed])
    raise UnfitError


def _symbols(node: Node, index: Longs) -> pa.Array:
    if ((index < 0) | (index >= len(node.symbols))).any():
        raise UnfitError
    return pa.array(node.symbols, pa.string()).take(pa.array(index))
