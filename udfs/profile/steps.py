"""Counts rows and ranks of a few columns on fixed steps of event time, for the sequential detector.

A value counts as its rank among the reference's: the share of the reference below it, from 0 to 1, in fixed
point, so that sums are exact and merge in any order. Ranks have no outliers, whatever the distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.profile.blocks import correlation_in
from udfs.profile.collect import coded, floats, places_of
from udfs.profile.counts import CategoricalCounts, ColumnCounts, Ints
from udfs.profile.params import CollectParams
from udfs.profile.reference import CategoricalReference, ColumnReference, NumericReference, Reference
from udfs.times import window_start

UNIT = 2**20
Sums = tuple[int, int]


@dataclass(frozen=True)
class StepPart:
    """Of each column the number of its values, and the sum of their ranks in units of 2**-20."""

    start: int
    version: int
    sums: Mapping[str, Sums]


@dataclass(frozen=True)
class Ranks:
    """`of_cell` has the rank of each cell: below, the bins, above; or the values, OTHER, UNSEEN.

    `total` of the reference's `rows` values, and the standard deviation of one, in the same units. `alike`:
    correlations of values in spans of so many steps.
    """

    of_cell: Ints
    rows: int
    total: int
    deviation: float
    numeric: bool = True
    alike: tuple[tuple[float, float], ...] = ()

    def design(self, n: int) -> float:
        """How many values count as one where a step has n: of the span in which they are the most alike.

        Longer spans than a step's, as steps that follow each other are alike too, and their sums add up.
        """
        return max([1.0, *(1 + (n * steps - 1) * correlation for steps, correlation in self.alike)])


def ranks(reference: ColumnReference, step_ms: int = 0) -> Ranks:
    """The middle of the ranks that a cell's values have; of categories, the most frequent is the lowest."""
    counts = _cells(reference.as_counts())
    rows = int(counts.sum())
    before = np.cumsum(counts) - counts
    of_cell: Ints = np.rint((2 * before + counts) * (UNIT / (2 * max(rows, 1)))).astype(np.int64)
    total = sum(int(count) * int(rank) for count, rank in zip(counts, of_cell, strict=True))
    spread = of_cell - total / max(rows, 1)
    deviation = float(np.sqrt(counts @ spread**2 / max(rows, 1)))
    lengths = [step_ms, *(length for length, _ in reference.blocks if length > step_ms)] if step_ms else []
    alike = tuple((length / step_ms, correlation_in(reference.blocks, length)) for length in lengths)
    return Ranks(of_cell, rows, total, deviation, isinstance(reference, NumericReference), alike)


class StepCounter:
    """Counts predicted rows for the detector."""

    def __init__(self, params: CollectParams, reference: Reference, version: int) -> None:
        self._step_ms = params.step_ms
        self._version = version
        known = reference.columns | reference.outputs
        self._columns = {name: known[name] for name in params.step_columns if name in known}
        self._ranks = {name: ranks(column).of_cell for name, column in self._columns.items()}

    def count(self, columns: Mapping[str, pa.Array], event_time: Ints) -> list[StepPart]:
        """`event_time` in ms, (n,); columns that are not there are not counted."""
        starts, ids = np.unique(window_start(event_time, self._step_ms), return_inverse=True)
        sums: list[dict[str, Sums]] = [{} for _ in starts]
        for name, reference in self._columns.items():
            if name in columns:
                cells, kept = _cells_of(reference, columns[name])
                groups = ids if kept is None else ids[kept]
                n = np.bincount(groups, minlength=len(starts))
                # Sums of a batch stay below 2**53, so that they are exact as floats.
                total = np.bincount(groups, self._ranks[name][cells], minlength=len(starts))
                for i, pair in enumerate(zip(n.tolist(), total.tolist(), strict=True)):
                    sums[i][name] = (pair[0], int(pair[1]))
        return [StepPart(start, self._version, s) for start, s in zip(starts.tolist(), sums, strict=True)]


def merged_steps(parts: Sequence[StepPart]) -> dict[tuple[int, str], Sums]:
    """By version and column, whatever step the parts are of."""
    merged: dict[tuple[int, str], Sums] = {}
    for part in parts:
        for name, (n, total) in part.sums.items():
            before = merged.get((part.version, name), (0, 0))
            merged[part.version, name] = (before[0] + n, before[1] + total)
    return merged


def _cells(counts: ColumnCounts) -> Ints:
    if isinstance(counts, CategoricalCounts):
        return np.concatenate([counts.counts, [counts.other, counts.unseen]])
    return counts.counts


def _cells_of(reference: ColumnReference, column: pa.Array) -> tuple[Ints, npt.NDArray[np.bool_] | None]:
    """The cell of each value, and which rows have one: null, NaN and infinities have none; None means all."""
    if isinstance(reference, NumericReference):
        values = floats(column)
        kept = np.isfinite(values)
        whole = bool(kept.all())
        values = values if whole else values[kept]
        edges = np.array(reference.edges)
        cells: Ints = np.searchsorted(edges, values, side="right").astype(np.int64)
        if len(edges):
            # The last bin is closed; beyond it is one more cell.
            last = max(len(edges) - 1, 1)
            cells[values == edges[-1]] = last
            cells[values > edges[-1]] = last + 1
        return cells, None if whole else kept
    assert isinstance(reference, CategoricalReference)
    known = pa.array([*reference.values, *(reference.rare or [])], pa.string())
    cells = places_of(reference, coded(column, known).codes)
    kept = cells < len(reference.values) + 2
    return (cells, None) if bool(kept.all()) else (cells[kept], kept)
