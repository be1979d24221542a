"""Counts which values of two columns come together: a small table for each pair of inputs, numbers or texts.

A column has a few levels: between quartiles of the reference, or groups of values with about as many rows
each, and one for missing values. Tables are integers, so that those of all batches add up exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.profile.blocks import Blocks, correlation_of_sums, in_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_COLUMNS = 12
MIN_REFERENCE_ROWS = 100
GROUPS = 5
_QUARTILES = (0.25, 0.5, 0.75)
# Rows at once, so that their flags stay in the processor's cache.
_BLOCK = 4_096
# Rows by which it is told how alike those near in time are; from all of the time.
_ALIKE_ROWS = 100_000
_SMALL = 5.0
# Of fewer blocks for each part of a row their variances cannot be told apart.
_BLOCKS_A_PART = 4


class PairColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The levels of a column: of numbers by `cuts`, the level of x is the number of cuts below x.

    Texts have the level of each of the reference's values, and that of all `others`. Missing values have the
    level after the last one.
    """

    name: str
    cuts: list[float] | None = None
    levels: list[int] | None = None
    others: int = 0

    def __post_init__(self) -> None:
        if (self.cuts is None) == (self.levels is None):
            raise ValueError("a column of pairs must have either cuts or levels")
        if self.cuts is not None and (
            not self.cuts or not np.isfinite(self.cuts).all() or any(a >= b for a, b in pairwise(self.cuts))
        ):
            raise ValueError("the cuts of a column of pairs must be finite and increase")
        if min([*(self.levels or []), self.others]) < 0:
            raise ValueError("levels must not be negative")

    @property
    def missing(self) -> int:
        """The level of missing values."""
        return len(self.cuts) + 1 if self.cuts is not None else max([*(self.levels or []), self.others]) + 1


class PairReference(msgspec.Struct, frozen=True):
    """k columns, and for each pair of them, (0, 1), (0, 2), …, the table of the reference's rows.

    A table is (width, width), row by row. `blocks` say how alike rows near in time are in it, and `even` how
    even that is among its degrees of freedom, up to 1: where it is not, chance makes larger differences.
    """

    columns: list[PairColumn]
    tables: list[list[int]]
    blocks: list[Blocks] = []
    even: list[float] = []

    def __post_init__(self) -> None:
        k = len(self.columns)
        if not 2 <= k <= MAX_COLUMNS or len({column.name for column in self.columns}) != k:
            raise ValueError(f"pairs must be of 2 to {MAX_COLUMNS} distinct columns; got {k}")
        pairs = k * (k - 1) // 2
        if len(self.tables) != pairs or {len(table) for table in self.tables} != {self.width**2}:
            raise ValueError(f"there must be {pairs} tables of {self.width}² counts")
        if len(self.blocks) != len(self.even) or len(self.blocks) not in (0, pairs):
            raise ValueError(f"there must be blocks of {pairs} pairs, or of none")
        if self.even and not 0 < min(self.even) <= max(self.even) <= 1:
            raise ValueError("how even blocks are must be above 0, and at most 1")
        if min(min(table) for table in self.tables) < 0:
            raise ValueError("counts must not be negative")

    @property
    def width(self) -> int:
        """Levels of the column that has the most, with that of missing values."""
        return max(column.missing for column in self.columns) + 1

    def counts(self) -> Ints:
        """The tables as an array, (pairs, width, width)."""
        return np.array(self.tables, dtype=np.int64).reshape(-1, self.width, self.width)


msgspec.json.Decoder(PairReference)  # so that it is known before there are threads: `udfs.model.manifest`


def pair_places(k: int) -> tuple[Ints, Ints]:
    """The columns of each pair, in the order of the tables."""
    return np.triu_indices(k, 1)


class PairCounter:
    """Counts rows in the tables of a reference. `values` are numbers of values that texts are known by."""

    def __init__(self, reference: PairReference, values: Mapping[str, int]) -> None:
        self._columns, self._width = reference.columns, reference.width
        self._levels = {
            column.name: _lookup(column, values[column.name])
            for column in reference.columns
            if column.levels is not None
        }

    def levels(self, numbers: Mapping[str, Floats], codes: Mapping[str, Ints]) -> dict[str, Ints]:
        """The level of each row in each column that is there; `codes` as `udfs.profile.collect.Coded`."""
        found = {}
        for column in self._columns:
            if column.cuts is not None and column.name in numbers:
                found[column.name] = _levels_of_numbers(column, numbers[column.name])
            elif column.levels is not None and column.name in codes:
                known = self._levels[column.name]
                found[column.name] = known[np.minimum(codes[column.name], len(known) - 2)]
        return found

    def count(self, levels: Mapping[str, Ints]) -> Ints:
        """(pairs, width, width); tables of columns that are not there stay empty."""
        k, width = len(self._columns), self._width
        total = np.zeros((k * width, k * width))
        known = [
            (place, levels[column.name])
            for place, column in enumerate(self._columns)
            if column.name in levels
        ]
        rows = len(known[0][1]) if known else 0
        for start in range(0, rows, _BLOCK):
            size = min(_BLOCK, rows - start)
            flags = np.zeros((size, k * width), dtype=np.float32)
            for place, column in known:
                flags[np.arange(size), place * width + column[start : start + size]] = 1
            # One product of matrices is the quickest count, and exact for integers.
            total += flags.T @ flags
        first, second = pair_places(k)
        return total.astype(np.int64).reshape(k, width, k, width)[first, :, second, :]


def pair_reference(
    columns: Mapping[str, PairColumn],
    numbers: Mapping[str, Floats],
    codes: Mapping[str, Ints],
    values: Mapping[str, int],
    times: Ints | None,
) -> dict[str, Any] | None:
    """The `pairs` of a profile, from columns of equal length; None for fewer than 2 columns or 100 rows."""
    known = list(columns.values())[:MAX_COLUMNS]
    rows = max([len(each) for each in (*numbers.values(), *codes.values())], default=0)
    if len(known) < 2 or rows < MIN_REFERENCE_ROWS:
        return None
    width = max(column.missing for column in known) + 1
    pairs = len(known) * (len(known) - 1) // 2
    empty = PairReference(known, [[0] * width**2] * pairs)
    counter = PairCounter(empty, values)
    levels = counter.levels(numbers, codes)
    tables = counter.count(levels)
    alike = _blocks(known, levels, tables, times) if times is not None else ([], [])
    found = PairReference(known, tables.reshape(pairs, -1).tolist(), *alike)
    return msgspec.to_builtins(found)  # type: ignore[no-any-return]


def parse_pairs(data: dict[str, Any], values: Mapping[str, int]) -> PairReference:
    """`values` are the numbers of values of texts. Raises ValueError when parts do not fit together."""
    try:
        found = msgspec.convert(data, PairReference)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    for column in found.columns:
        if column.levels is not None and len(column.levels) != values.get(column.name):
            raise ValueError("a text of pairs must have one level for each value of the column")
    return found


def numeric_levels(name: str, values: Floats) -> PairColumn | None:
    """Between quartiles; None where there are no two values."""
    present = np.sort(values[np.isfinite(values)])
    if not len(present) or present[0] == present[-1]:
        return None
    cuts = np.unique(np.quantile(present, _QUARTILES, method="inverted_cdf") + 0.0)
    # Nothing lies above the largest value, so that it is told from the others where it is frequent.
    below = present[np.searchsorted(present, present[-1]) - 1]
    return PairColumn(name, cuts=np.unique(np.minimum(cuts, below) + 0.0).tolist())


def text_levels(name: str, counts: Sequence[int], other: int) -> PairColumn | None:
    """Groups of values with as many rows each as can be; `counts` are those of the values, in their order."""
    if len(counts) + bool(other) < 2:
        return None
    loads = [0] * min(GROUPS, len(counts) + bool(other))
    levels, others = [0] * len(counts), 0
    ordered = sorted([*enumerate(counts), (-1, other)], key=lambda item: (-item[1], item[0]))
    for place, count in ordered:
        level = min(range(len(loads)), key=lambda i: (loads[i], i))
        loads[level] += count
        if place < 0:
            others = level
        else:
            levels[place] = level
    return PairColumn(name, levels=levels, others=others)


def _lookup(column: PairColumn, known: int) -> Ints:
    """By code: the values, then all others, which unseen ones, -2, are too, and null, -1."""
    found = np.full(known + 2, column.others, dtype=np.int64)
    found[: len(column.levels or [])] = column.levels or []
    found[-1] = column.missing
    return found


def _levels_of_numbers(column: PairColumn, values: Floats) -> Ints:
    assert column.cuts is not None
    found = np.zeros(len(values), dtype=np.int64)
    with np.errstate(invalid="ignore"):
        for cut in column.cuts:
            found += values > cut
    finite = np.isfinite(values)
    if not finite.all():
        found[~finite] = column.missing
    return found


def _blocks(
    columns: Sequence[PairColumn], levels: Mapping[str, Ints], tables: Ints, times: Ints
) -> tuple[list[Blocks], list[float]]:
    """Of the part of each table that the columns' own shares do not make; empty where all are independent.

    With it how even that is among the parts of the table.
    """
    order = np.argsort(times, kind="stable")
    # Neighbours stay neighbours: of a longer reference the first part stands for all.
    chosen = order[:_ALIKE_ROWS]
    width = tables.shape[1]
    found: list[Blocks] = []
    even: list[float] = []
    at = times[chosen]
    blocks = in_blocks(at)
    for pair, (first, second) in enumerate(zip(*pair_places(len(columns)), strict=True)):
        cells = levels[columns[first].name][chosen] * width + levels[columns[second].name][chosen]
        table = tables[pair].ravel()
        good = table >= _SMALL
        basis = interactions(table / max(table.sum(), 1), good, width)
        # Of each row what it says of the pair: (width², degrees).
        row = np.zeros((width * width, basis.shape[1]))
        row[good] = basis[good] / np.sqrt(table[good] / table.sum())[:, None]
        squares = float((np.bincount(cells, minlength=width * width) @ (row**2)).sum())
        alike, shapes = [], [1.0]
        for length, numbers in blocks:
            sizes = np.bincount(numbers)
            places = numbers * (width * width) + cells
            counted = np.bincount(places, minlength=len(sizes) * width * width).reshape(len(sizes), -1)
            sums = counted @ row
            alike.append((length, correlation_of_sums(sums, squares, sizes)))
            shapes.append(_evenness(sums, sizes))
        known = any(value for _, value in alike)
        found.append(alike if known else [])
        even.append(min(shapes) if known else 1.0)
    return (found, even) if any(found) else ([], [])


def _evenness(sums: Floats, sizes: Ints) -> float:
    """How alike the variances of the d parts of a row are in blocks of time: 1 all the same, 1/d one alone.

    tr(Σ)² / (d tr(Σ²)), where tr(Σ²) is told from so few blocks without bias; 1 where they are too few.
    """
    count, degrees = len(sums), sums.shape[1]
    if not degrees or count < _BLOCKS_A_PART * degrees:
        return 1.0
    unit = sums / np.sqrt(sizes)[:, None]
    covariance = np.cov(unit, rowvar=False).reshape(degrees, degrees)
    free = count - 1
    trace, square = float(np.trace(covariance)), float((covariance**2).sum())
    square = free**2 / ((free - 1) * (free + 2)) * (square - trace**2 / free)
    return float(np.clip(trace**2 / degrees / max(square, 1e-300), 1 / degrees, 1.0)) if trace else 1.0


def interactions(shares: Floats, good: npt.NDArray[np.bool_], width: int) -> Floats:
    """An orthonormal basis (width², degrees) of what the good cells say beyond their rows and columns.

    In the weights of Pearson's residuals: what is independent has no part of it.
    """
    rows, columns = np.divmod(np.arange(width * width), width)
    margins = np.concatenate(
        [rows[:, None] == np.arange(width), columns[:, None] == np.arange(width)], axis=1
    )
    weighted = np.where(good, np.sqrt(shares), 0.0)[:, None] * margins
    left, sizes, _ = np.linalg.svd(weighted, full_matrices=False)
    taken = left[:, sizes > 1e-9]
    free = np.diag(good.astype(np.float64)) - taken @ taken.T
    values, vectors = np.linalg.eigh(free)
    return np.asarray(vectors[:, values > 0.5])
