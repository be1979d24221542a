"""Counts the rows of a batch per window, segment and column, on the reference's bins.

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

from udfs.profile.counts import EXAMPLES, CategoricalCounts, Ints, WindowCounts
from udfs.profile.joint import joint_counts
from udfs.profile.numeric import NumericBins
from udfs.profile.pairs import PairCounter
from udfs.profile.params import CollectParams
from udfs.profile.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Reference,
    values_of,
)
from udfs.times import window_start

OTHER = "OTHER"
EXAMPLE_LENGTH = 100
Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class PartialProfile:
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
        names = [name for name, _ in params.columns]
        names += [name for vector in params.vectors for name in vector.measures]
        watched = {name: reference.columns[name] for name in names if name in reference.columns}
        self._columns: dict[str, ColumnReference] = watched | reference.outputs
        self._numeric = {n: c for n, c in self._columns.items() if isinstance(c, NumericReference)}
        self._categories = {n: c for n, c in self._columns.items() if isinstance(c, CategoricalReference)}
        self._bins = NumericBins(self._numeric)
        self._codes = {
            name: pa.array([*column.values, *(column.rare or [])], pa.string())
            for name, column in self._categories.items()
        }
        pairs = reference.pairs
        self._pairs = PairCounter(pairs, values_of(reference.columns)) if pairs else None
        self._segments = {s.column: pa.array(s.values, pa.string()) for s in params.segments}

    def collect(self, columns: Mapping[str, pa.Array], event_time: Ints) -> list[PartialProfile]:
        """Parts of n predicted rows. `columns` holds the counted columns and those of the segments."""
        if not len(event_time):
            return []
        names = [name for name in self._numeric if name in columns]
        numbers = [floats(columns[name]) for name in names]
        texts = {name: coded(columns[name], codes) for name, codes in self._codes.items() if name in columns}
        levels = self._levels(dict(zip(names, numbers, strict=True)), texts)
        starts = window_start(event_time, self._params.window_ms)
        parts: list[PartialProfile] = []
        for column, labels in self._segmentations(columns, len(event_time)):
            groups = _groups(starts, labels)
            counted = self._counts(names, numbers, texts, groups)
            self._count_pairs(counted, levels, groups)
            for counts, times in zip(counted, groups.slices(event_time), strict=True):
                counts.span = int(times.min()), int(times.max())
            for (start, value), counts in zip(groups.keys, counted, strict=True):
                parts.append(PartialProfile(start, column, value, self._version, counts))
        return parts

    def _levels(self, numbers: Mapping[str, Floats], texts: Mapping[str, Coded]) -> dict[str, Ints]:
        """Those of the pairs' columns."""
        codes = {name: values.codes for name, values in texts.items()}
        return self._pairs.levels(numbers, codes) if self._pairs else {}

    def _count_pairs(self, counted: Sequence[WindowCounts], levels: dict[str, Ints], groups: Groups) -> None:
        if self._pairs is None or not levels:
            return
        for counts, rows in zip(counted, groups.slices(np.arange(len(groups.ids))), strict=True):
            own = levels if len(counted) == 1 else {name: column[rows] for name, column in levels.items()}
            counts.pairs = self._pairs.count(own)

    def _segmentations(
        self, columns: Mapping[str, pa.Array], rows: int
    ) -> Iterator[tuple[str | None, tuple[Ints, Sequence[str | None]]]]:
        yield None, (np.zeros(rows, dtype=np.int64), [None])
        for segment in self._params.segments:
            text = columns[segment.column].cast(pa.string())
            found = pc.index_in(text, value_set=self._segments[segment.column])
            ids = found.fill_null(len(segment.values)).to_numpy(zero_copy_only=False).astype(np.int64)
            yield segment.column, (ids, [*segment.values, OTHER])

    def _counts(
        self, names: Sequence[str], numbers: Sequence[Floats], texts: Mapping[str, Coded], groups: Groups
    ) -> list[WindowCounts]:
        """One per group; `numbers` are the columns `names`, with NaN for null."""
        joint = self._reference.joint
        result = []
        for rows in groups.slices(np.arange(len(groups.ids))):
            chosen = numbers if len(groups.keys) == 1 else [column[rows] for column in numbers]
            counts = WindowCounts(
                len(rows), columns=dict(zip(names, self._bins.count(names, chosen), strict=True))
            )
            by_name = dict(zip(names, chosen, strict=True))
            if joint and by_name.keys() >= set(joint.columns):
                counts.joint = joint_counts(joint, {name: by_name[name] for name in joint.columns})
            result.append(counts)
        for name, values in texts.items():
            for counts, found in zip(
                result, _categorical(self._categories[name], values, groups), strict=True
            ):
                counts.columns[name] = found
        return result


@dataclass(frozen=True)
class Coded:
    """`codes[i]`: place among the reference's values, then the rare ones; -1 null, -2 unseen."""

    codes: Ints
    text: pa.Array


def _groups(starts: Ints, labels: tuple[Ints, Sequence[str | None]]) -> Groups:
    ids, names = labels
    windows, indexes = np.unique(starts, return_inverse=True)
    combined = indexes * len(names) + ids
    present, dense = np.unique(combined, return_inverse=True)
    keys = [(int(windows[g // len(names)]), names[g % len(names)]) for g in present.tolist()]
    order = np.argsort(dense, kind="stable")
    bounds = np.cumsum(np.bincount(dense, minlength=len(present)))[:-1]
    return Groups(dense, keys, order, bounds)


def floats(column: pa.Array) -> Floats:
    """Values with NaN for null; infinities stay. NaN itself becomes infinity, which counts as invalid too."""
    if pa.types.is_float64(column.type) and not column.null_count:
        plain: Floats = column.to_numpy(zero_copy_only=False)
        missing = np.isnan(plain)
        return np.where(missing, np.inf, plain) if missing.any() else plain
    values = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        values = pc.if_else(pc.is_nan(values), float("inf"), values)
    result: Floats = values.to_numpy(zero_copy_only=False)
    return result


def coded(column: pa.Array, known: pa.Array) -> Coded:
    """The column's values as indexes of known ones."""
    text = column.cast(pa.string())
    found = pc.index_in(text, value_set=known).fill_null(-2)
    codes = found.to_numpy(zero_copy_only=False).astype(np.int64)
    if text.null_count:
        codes[text.is_null().to_numpy(zero_copy_only=False)] = -1
    return Coded(codes, text)


def places_of(reference: CategoricalReference, codes: Ints) -> Ints:
    """The cell of each code: the values, OTHER, UNSEEN, null."""
    top = len(reference.values)
    unseen = top if reference.rare is None else top + 1
    return np.select([codes == -1, codes == -2, codes >= top], [top + 2, unseen, top], codes)


def _categorical(reference: CategoricalReference, values: Coded, groups: Groups) -> list[CategoricalCounts]:
    top = len(reference.values)
    indexes = places_of(reference, values.codes)
    cells = top + 3
    counts = np.bincount(groups.ids * cells + indexes, minlength=len(groups.keys) * cells).reshape(-1, cells)
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
