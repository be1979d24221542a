"""Encodes partial and merged counts for the stream and for Flink's state, without zeros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from udfs.profile.collect import PartialProfile
from udfs.profile.counts import (
    CategoricalCounts,
    ColumnCounts,
    Ints,
    JointCounts,
    NumericCounts,
    WindowCounts,
)
from udfs.profile.keys import KeyPart
from udfs.profile.steps import StepPart

VERSION = 1
_LARGEST = 2**63


class _Numeric(msgspec.Struct, frozen=True, array_like=True, tag=0):
    cells: int
    places: list[int]
    counts: list[int]
    sums: list[int | str]
    squares: str
    low: float | None
    high: float | None
    null: int
    invalid: int


class _Categorical(msgspec.Struct, frozen=True, array_like=True, tag=1):
    cells: int
    places: list[int]
    counts: list[int]
    other: int
    unseen: int
    null: int
    examples: list[str]


class _Joint(msgspec.Struct, frozen=True, array_like=True):
    n: int
    first: bytes
    second: bytes


class _Pairs(msgspec.Struct, frozen=True, array_like=True):
    """The tables of pairs, each count in as few bytes as the largest one needs."""

    pairs: int
    width: int
    counts: bytes


Columns = dict[str, _Numeric | _Categorical]


class _Window(msgspec.Struct, frozen=True, array_like=True):
    predicted: int
    dead: int
    late: int
    columns: Columns
    joint: _Joint | None
    problems: list[tuple[str, str, str | None, int]]
    span: tuple[int, int] | None = None
    pairs: _Pairs | None = None


class _Part(msgspec.Struct, frozen=True, array_like=True):
    start: int | None
    column: str | None
    value: str | None
    version: int
    counts: _Window


class _Step(msgspec.Struct, frozen=True, array_like=True):
    start: int
    version: int
    sums: dict[str, tuple[int, int]]


class _Keys(msgspec.Struct, frozen=True, array_like=True):
    start: int
    version: int
    hashes: bytes
    levels: dict[int, int]


class _Parts(msgspec.Struct, frozen=True, array_like=True):
    version: int
    parts: list[_Part]
    steps: list[_Step] = []
    keys: list[_Keys] = []


class BatchProfile(NamedTuple):
    """What a worker tells the monitor of a batch."""

    parts: list[PartialProfile]
    steps: list[StepPart]
    keys: list[KeyPart]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Parts)


def encode_partial_profiles(
    parts: Iterable[PartialProfile], steps: Iterable[StepPart] = (), keys: Iterable[KeyPart] = ()
) -> bytes:
    """Sums that outgrow 64 bits travel as text."""
    packed = [_Part(p.start, p.column, p.value, p.version, _pack(p.counts)) for p in parts]
    stepped = [_Step(step.start, step.version, dict(step.sums)) for step in steps]
    keyed = [_Keys(key.start, key.version, key.hashes.tobytes(), dict(key.levels)) for key in keys]
    return _encoder.encode(_Parts(VERSION, packed, stepped, keyed))


def encode_batch_profiles(profiles: Iterable[BatchProfile]) -> bytes | None:
    """All together, or None where there is nothing to tell."""
    parts: list[PartialProfile] = []
    steps: list[StepPart] = []
    keys: list[KeyPart] = []
    for each in profiles:
        parts += each.parts
        steps += each.steps
        keys += each.keys
    return encode_partial_profiles(parts, steps, keys) if parts else None


def decode_partial_profiles(data: bytes) -> list[PartialProfile]:
    """The counts alone. Raises ValueError for bytes of another version."""
    return decode(data).parts


def decode(data: bytes) -> BatchProfile:
    """All that `encode_partial_profiles` was given. Raises ValueError for bytes of another version."""
    decoded = _decoder.decode(data)
    if decoded.version != VERSION:
        raise ValueError(f"counts must be of version {VERSION}; got {decoded.version}")
    parts = [PartialProfile(p.start, p.column, p.value, p.version, _unpack(p.counts)) for p in decoded.parts]
    steps = [StepPart(step.start, step.version, step.sums) for step in decoded.steps]
    keys = [
        KeyPart(key.start, key.version, np.frombuffer(key.hashes, dtype=np.uint64), key.levels)
        for key in decoded.keys
    ]
    return BatchProfile(parts, steps, keys)


def pack_columns(columns: Mapping[str, ColumnCounts]) -> Columns:
    """Counts as plain data."""
    return {name: _pack_column(column) for name, column in columns.items()}


def unpack_columns(packed: Columns) -> dict[str, ColumnCounts]:
    """What `pack_columns` was given."""
    return {name: _unpack_column(column) for name, column in packed.items()}


def _pack(counts: WindowCounts) -> _Window:
    columns = pack_columns(counts.columns)
    joint = counts.joint
    packed = _Joint(joint.n, joint.first.tobytes(), joint.second.tobytes()) if joint else None
    problems = [(*key, count) for key, count in counts.problems.items()]
    pairs = _pack_pairs(counts.pairs) if counts.pairs is not None else None
    return _Window(counts.predicted, counts.dead, counts.late, columns, packed, problems, counts.span, pairs)


def _pack_column(column: ColumnCounts) -> _Numeric | _Categorical:
    places = np.flatnonzero(column.counts)
    kept = column.counts[places].tolist()
    if isinstance(column, CategoricalCounts):
        return _Categorical(
            len(column.counts),
            places.tolist(),
            kept,
            column.other,
            column.unseen,
            column.null,
            list(column.examples),
        )
    sums = [value if -_LARGEST <= value < _LARGEST else str(value) for value in column.sums[places].tolist()]
    return _Numeric(
        len(column.counts),
        places.tolist(),
        kept,
        sums,
        str(column.squares),
        column.low,
        column.high,
        column.null,
        column.invalid,
    )


def _unpack(packed: _Window) -> WindowCounts:
    columns = unpack_columns(packed.columns)
    problems = {(stage, reason, field): count for stage, reason, field, count in packed.problems}
    joint = _unpack_joint(packed.joint) if packed.joint else None
    pairs = _unpack_pairs(packed.pairs) if packed.pairs else None
    return WindowCounts(
        packed.predicted, packed.dead, packed.late, columns, joint, problems, packed.span, pairs
    )


def _unpack_column(packed: _Numeric | _Categorical) -> ColumnCounts:
    counts: Ints = _spread(packed.cells, packed.places, packed.counts, np.dtype(np.int64))
    if isinstance(packed, _Categorical):
        return CategoricalCounts(counts, packed.other, packed.unseen, packed.null, tuple(packed.examples))
    sums = _spread(packed.cells, packed.places, [int(value) for value in packed.sums], np.dtype(object))
    return NumericCounts(
        counts, sums, int(packed.squares), packed.low, packed.high, packed.null, packed.invalid
    )


def _spread(size: int, places: Sequence[int], values: Sequence[int], kind: np.dtype) -> np.ndarray:  # type: ignore[type-arg]
    spread = np.zeros(size, dtype=kind)
    spread[list(places)] = values
    return spread


def _unpack_joint(packed: _Joint) -> JointCounts:
    first = np.frombuffer(packed.first, dtype=np.int64)
    second = np.frombuffer(packed.second, dtype=np.int64)
    return JointCounts(packed.n, first, second.reshape(len(first), -1))


def _pack_pairs(counts: Ints) -> _Pairs:
    kind = np.min_scalar_type(int(counts.max(initial=0)))
    return _Pairs(len(counts), counts.shape[-1], counts.astype(kind.newbyteorder("<")).tobytes())


def _unpack_pairs(packed: _Pairs) -> Ints:
    cells = packed.pairs * packed.width**2
    counts = np.frombuffer(packed.counts, dtype=f"<u{len(packed.counts) // cells}")
    return counts.astype(np.int64).reshape(packed.pairs, packed.width, packed.width)
