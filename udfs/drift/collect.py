"""Counts the rows of a batch per window, segment and column, on the reference's bins.

    collector = Collector(params, reference, version)
    parts = collector.collect(columns, event_time)     # one per window and segment that occurs in the batch

A part is a few KB whatever the size of the batch; parts of all workers are merged per window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.drift.counts import (
    EXAMPLES,
    CategoricalCounts,
    ColumnCounts,
    Ints,
    NumericCounts,
    WindowCounts,
)
from udfs.drift.joint import joint_counts
from udfs.drift.params import CollectParams
from udfs.drift.reference import CategoricalReference, ColumnReference, NumericReference, Reference

OTHER = "OTHER"
EXAMPLE_LENGTH = 100
# Fixed-point values beyond this count as this: sums of a batch then stay within 64 bits.
LARGEST_FIXED = 2**40
Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Part:
    """Counts of one window and segment, `value` null for all records; `start` null: no event time, so now."""

    start: int | None
    column: str | None
    value: str | None
    version: int
    counts: WindowCounts


@dataclass(frozen=True)
class Groups:
    """Row i belongs to group `ids[i]`; group g is `keys[g]`, (window start, segment value)."""

    ids: Ints
    keys: list[tuple[int, str | None]]
    order: Ints
    bounds: Ints

    def slices(self, values: npt.NDArray[Number]) -> list[npt.NDArray[Number]]:
        """The values of each group."""
        return np.split(values[self.order], self.bounds) if len(self.keys) > 1 else [values]


class Collector:
    """Counts scored rows against the reference of the version that scored them."""

    def __init__(self, params: CollectParams, reference: Reference, version: int) -> None:
        self._params = params
        self._reference = reference
        self._version = version
        watched = {name: reference.columns[name] for name, _ in params.columns if name in reference.columns}
        self._columns: dict[str, ColumnReference] = watched | reference.outputs
        self._codes = {
            name: pa.array([*column.values, *(column.rare or [])], pa.string())
            for name, column in self._columns.items()
            if isinstance(column, CategoricalReference)
        }
        self._segments = {s.column: pa.array(s.values, pa.string()) for s in params.segments}

    def collect(self, columns: Mapping[str, pa.Array], event_time: Ints) -> list[Part]:
        """Parts of n predicted rows. `columns` holds the counted columns and those of the segments."""
        if not len(event_time):
            return []
        prepared = {name: self._prepare(name, columns[name]) for name in self._columns if name in columns}
        starts = event_time - event_time % self._params.window_ms
        parts: list[Part] = []
        for column, labels in self._segmentations(columns, len(event_time)):
            groups = _groups(starts, labels)
            counted = self._counts(prepared, groups)
            for (start, value), counts in zip(groups.keys, counted, strict=True):
                parts.append(Part(start, column, value, self._version, counts))
        return parts

    def _prepare(self, name: str, column: pa.Array) -> Floats | Coded:
        if isinstance(self._columns[name], NumericReference):
            return floats(column)
        return coded(column, self._codes[name])

    def _segmentations(
        self, columns: Mapping[str, pa.Array], rows: int
    ) -> Iterator[tuple[str | None, tuple[Ints, Sequence[str | None]]]]:
        yield None, (np.zeros(rows, dtype=np.int64), [None])
        for segment in self._params.segments:
            text = columns[segment.column].cast(pa.string())
            found = pc.index_in(text, value_set=self._segments[segment.column])
            ids = found.fill_null(len(segment.values)).to_numpy(zero_copy_only=False).astype(np.int64)
            yield segment.column, (ids, [*segment.values, OTHER])

    def _counts(self, prepared: Mapping[str, Floats | Coded], groups: Groups) -> list[WindowCounts]:
        counted: list[dict[str, ColumnCounts]] = [{} for _ in groups.keys]
        for name, values in prepared.items():
            found = _column(self._columns[name], values, groups)
            for columns, counts in zip(counted, found, strict=True):
                columns[name] = counts
        sizes = np.diff([0, *groups.bounds, len(groups.ids)])
        result = [WindowCounts(int(n), columns=c) for n, c in zip(sizes, counted, strict=True)]
        joint = self._reference.joint
        if joint and all(name in prepared for name in joint.columns):
            for i, chosen in enumerate(groups.slices(np.arange(len(groups.ids)))):
                matrix = {name: prepared[name][chosen] for name in joint.columns}  # type: ignore[index]
                result[i].joint = joint_counts(joint, matrix)
        return result


@dataclass(frozen=True)
class Coded:
    """`codes[i]`: place among the reference's values, then the rare ones; -1 null, -2 unseen."""

    codes: Ints
    text: pa.Array


def _groups(starts: Ints, labels: tuple[Ints, Sequence[str | None]]) -> Groups:
    ids, names = labels
    windows, places = np.unique(starts, return_inverse=True)
    combined = places * len(names) + ids
    present, dense = np.unique(combined, return_inverse=True)
    keys = [(int(windows[g // len(names)]), names[g % len(names)]) for g in present.tolist()]
    order = np.argsort(dense, kind="stable")
    bounds = np.cumsum(np.bincount(dense, minlength=len(present)))[:-1]
    return Groups(dense, keys, order, bounds)


def floats(column: pa.Array) -> Floats:
    """Values with NaN for null; infinities stay. NaN itself becomes infinity, which counts as invalid too."""
    values = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        values = pc.if_else(pc.is_nan(values), float("inf"), values)
    result: Floats = values.to_numpy(zero_copy_only=False)
    return result


def coded(column: pa.Array, known: pa.Array) -> Coded:
    text = column.cast(pa.string())
    found = pc.index_in(text, value_set=known).fill_null(-2)
    codes = found.to_numpy(zero_copy_only=False).astype(np.int64)
    if text.null_count:
        codes[text.is_null().to_numpy(zero_copy_only=False)] = -1
    return Coded(codes, text)


def _column(reference: ColumnReference, values: Floats | Coded, groups: Groups) -> Sequence[ColumnCounts]:
    if isinstance(reference, NumericReference):
        assert isinstance(values, np.ndarray)
        return [_numeric(reference, part) for part in groups.slices(values)]
    assert isinstance(values, Coded)
    return _categorical(reference, values, groups)


def _numeric(reference: NumericReference, values: Floats) -> NumericCounts:
    """Sorted, so that bins are found by few searches, and their sums by one running sum."""
    finite = np.isfinite(values)
    kept = np.sort(values if (whole := bool(finite.all())) else values[finite])
    places = np.concatenate([[0], _bin_starts(reference, kept), [len(kept)]])
    exponent = reference.fixed_point.exponent
    with np.errstate(over="ignore"):
        largest = np.ldexp(float(LARGEST_FIXED), -exponent)
    fixed = np.rint(np.ldexp(np.clip(kept, -largest, largest), exponent)).astype(np.int64)
    running = np.concatenate([[0], np.cumsum(fixed)])
    # Adding zero makes one of the two zeros, which compare as equal but are written differently.
    low, high = (float(kept[0]) + 0.0, float(kept[-1]) + 0.0) if len(kept) else (None, None)
    null = 0 if whole else int(np.isnan(values).sum())
    return NumericCounts(
        np.diff(places),
        np.diff(running[places]).astype(object),
        _sum_squares(fixed),
        low,
        high,
        null,
        len(values) - len(kept) - null,
    )


def _bin_starts(reference: NumericReference, ordered: Floats) -> Ints:
    """Where each bin begins among the ordered values, and where the last one ends."""
    edges = np.array(reference.edges)
    if not len(edges):
        return np.zeros(1, dtype=np.int64)
    starts = np.searchsorted(ordered, edges[:-1] if len(edges) > 1 else edges)
    return np.append(starts, np.searchsorted(ordered, edges[-1], side="right"))


def _sum_squares(fixed: Ints) -> int:
    """Exact: a square is (high·2**20 + low)², and each of its three parts stays within 64 bits."""
    high, low = fixed >> 20, fixed & 0xFFFFF
    return (int(high @ high) << 40) + (int(high @ low) << 21) + int(low @ low)


def places_of(reference: CategoricalReference, codes: Ints) -> Ints:
    """The cell of each code: the values, OTHER, UNSEEN, null."""
    top = len(reference.values)
    unseen = top if reference.rare is None else top + 1
    return np.select([codes == -1, codes == -2, codes >= top], [top + 2, unseen, top], codes)


def _categorical(reference: CategoricalReference, values: Coded, groups: Groups) -> list[CategoricalCounts]:
    top = len(reference.values)
    places = places_of(reference, values.codes)
    cells = top + 3
    counts = np.bincount(groups.ids * cells + places, minlength=len(groups.keys) * cells).reshape(-1, cells)
    return [
        CategoricalCounts(row[:top], int(row[top]), int(row[top + 1]), int(row[top + 2]), examples)
        for row, examples in zip(counts, _unseen_examples(values, counts[:, top + 1], groups), strict=True)
    ]


def _unseen_examples(values: Coded, unseen: Ints, groups: Groups) -> list[tuple[str, ...]]:
    if not unseen.any():
        return [()] * len(groups.keys)
    found = []
    for rows in groups.slices(np.arange(len(values.codes))):
        strange = rows[values.codes[rows] == -2]
        distinct = pc.unique(values.text.take(pa.array(strange))).to_pylist()
        found.append(tuple(sorted(text[:EXAMPLE_LENGTH] for text in distinct)[:EXAMPLES]))
    return found
