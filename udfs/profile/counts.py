"""Counts a window mergeably: integers on the reference's bins, so that merging is exact in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import add
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Part = TypeVar("Part")
EXAMPLES = 5


@dataclass
class NumericCounts:
    """`counts` has one entry per bin between two which are below and above the reference's range, so K + 2.

    `sums` has the same shape: the values of each bin in the reference's fixed point (value × 2**exponent),
    as Python integers in an object array, since they may outgrow 64 bits. `low` and `high` are the smallest
    and largest finite value, None without values. `invalid` are NaN and infinities.
    """

    counts: Ints
    sums: npt.NDArray[np.object_]
    squares: int = 0
    low: float | None = None
    high: float | None = None
    null: int = 0
    invalid: int = 0

    @property
    def n(self) -> int:
        """Finite values."""
        return int(self.counts.sum())

    def merged(self, other: NumericCounts) -> NumericCounts:
        return NumericCounts(
            self.counts + other.counts,
            self.sums + other.sums,
            self.squares + other.squares,
            _pick(min, self.low, other.low),
            _pick(max, self.high, other.high),
            self.null + other.null,
            self.invalid + other.invalid,
        )


@dataclass
class CategoricalCounts:
    """`counts` follows the reference's `values`; `other` are its rarer ones; `unseen` are not in it at all.

    `examples` are the first few unseen values in lexical order.
    """

    counts: Ints
    other: int = 0
    unseen: int = 0
    null: int = 0
    examples: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Values that are not null."""
        return int(self.counts.sum()) + self.other + self.unseen

    def merged(self, other: CategoricalCounts) -> CategoricalCounts:
        return CategoricalCounts(
            self.counts + other.counts,
            self.other + other.other,
            self.unseen + other.unseen,
            self.null + other.null,
            tuple(sorted({*self.examples, *other.examples})[:EXAMPLES]),
        )


ColumnCounts = NumericCounts | CategoricalCounts


@dataclass
class JointCounts:
    """Exact sums over the n rows in which all joint columns are finite: `first` (k,), `second` (k, k).

    Values are standardized by the reference, clipped to ±8 and rounded to 1/1024: z = integer / 1024.
    """

    n: int
    first: Ints
    second: Ints

    def merged(self, other: JointCounts) -> JointCounts:
        return JointCounts(self.n + other.n, self.first + other.first, self.second + other.second)


@dataclass
class WindowCounts:
    """All that is known of one window, segment and version. `problems` counts (stage, reason, field).

    `span` are the event times of the first and the last predicted record. `pairs` are the tables of
    `udfs.profile.pairs`, (pairs, width, width).
    """

    predicted: int = 0
    dead: int = 0
    late: int = 0
    columns: dict[str, ColumnCounts] = field(default_factory=dict)
    joint: JointCounts | None = None
    problems: dict[tuple[str, str, str | None], int] = field(default_factory=dict)
    span: tuple[int, int] | None = None
    pairs: Ints | None = None

    def merged(self, other: WindowCounts) -> WindowCounts:
        columns = dict(self.columns)
        for name, counts in other.columns.items():
            columns[name] = columns[name].merged(counts) if name in columns else counts  # type: ignore[arg-type]
        problems = dict(self.problems)
        for key, count in other.problems.items():
            problems[key] = problems.get(key, 0) + count
        joint = _both(self.joint, other.joint, JointCounts.merged)
        pairs = _both(self.pairs, other.pairs, add)
        return WindowCounts(
            self.predicted + other.predicted,
            self.dead + other.dead,
            self.late + other.late,
            columns,
            joint,
            problems,
            spanned(self.span, other.span),
            pairs,
        )


def spanned(first: tuple[int, int] | None, second: tuple[int, int] | None) -> tuple[int, int] | None:
    """The first and the last time of both."""
    return _both(first, second, lambda one, other: (min(one[0], other[0]), max(one[1], other[1])))


def _both(one: Part | None, other: Part | None, merge: Callable[[Part, Part], Part]) -> Part | None:
    """What is there of two, merged where both are."""
    if one is None or other is None:
        return other if one is None else one
    return merge(one, other)


def _pick(choose: object, first: float | None, second: float | None) -> float | None:
    present = [value for value in (first, second) if value is not None]
    return choose(present) if present else None  # type: ignore[operator]


def cells(counts: ColumnCounts) -> Ints:
    """The cells that are compared: below, the bins, above; or the values, OTHER, UNSEEN."""
    if isinstance(counts, NumericCounts):
        return counts.counts
    return np.concatenate([counts.counts, [counts.other, counts.unseen]])


def missing(counts: ColumnCounts) -> int:
    """Rows without a usable value: null, NaN or infinite."""
    return counts.null + (counts.invalid if isinstance(counts, NumericCounts) else 0)


def rows(counts: ColumnCounts) -> int:
    """All rows of the column."""
    return counts.n + missing(counts)
