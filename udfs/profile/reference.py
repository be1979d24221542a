"""Reads a reference profile, as `udfs.profile.profile` writes it, to count and compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from udfs.errors import ModelError
from udfs.profile.counts import CategoricalCounts, ColumnCounts, Ints, NumericCounts
from udfs.profile.joint import JointReference, parse_joint
from udfs.profile.pairs import PairReference, parse_pairs


class _FixedPoint(msgspec.Struct, frozen=True):
    """Values as (value − center) × 2**exponent."""

    exponent: int
    sum_squares: int
    sums: list[int]
    center: float = 0.0


class Outside(msgspec.Struct, frozen=True):
    """Rows below and above all bins, and the sums of each, which those that the bins are of never have."""

    counts: tuple[int, int] = (0, 0)
    sums: tuple[int, int] = (0, 0)


class NumericReference(msgspec.Struct, frozen=True, tag="numeric", tag_field="kind"):
    """K bins [edge, next edge), the last one closed; one edge is one bin with a single value, none no bin.

    `blocks` as `udfs.profile.blocks` says: how alike rows near in time are. `law` are counts of other rows by
    which statistics vary without drift: computing that takes too long to do it for each window.
    """

    edges: list[float]
    counts: list[int]
    fixed_point: _FixedPoint
    null: int
    invalid: int
    min: float | None
    max: float | None
    blocks: list[tuple[int, float]] = []
    outside: Outside = Outside()
    law: list[int] | None = None

    def __post_init__(self) -> None:
        bins = max(len(self.edges) - 1, min(len(self.edges), 1))
        if len(self.counts) != bins or len(self.fixed_point.sums) != bins:
            raise ValueError(f"counts and sums must have {bins} entries for {len(self.edges)} edges")
        if not np.isfinite(self.edges).all() or (np.diff(self.edges) <= 0).any():
            raise ValueError("edges must be finite and increase")
        if min(self.counts, default=0) < 0:
            raise ValueError("counts must not be negative")

    def as_counts(self) -> NumericCounts:
        """The reference's rows, counted as those of a window are."""
        (below, above), (sum_below, sum_above) = self.outside.counts, self.outside.sums
        counts: Ints = np.array([below, *self.counts, above], dtype=np.int64)
        sums = np.array([sum_below, *self.fixed_point.sums, sum_above], dtype=object)
        squares = self.fixed_point.sum_squares
        return NumericCounts(counts, sums, squares, self.min, self.max, self.null, self.invalid)


class _Tested(msgspec.Struct, frozen=True):
    """What windows are compared with, of a column with a tail: rows that the values were not chosen by."""

    counts: list[int]
    other: int
    unseen: int
    null: int


class CategoricalReference(msgspec.Struct, frozen=True, tag="categorical", tag_field="kind"):
    """The most frequent values; `rare` are the others, null where they are too many to keep.

    With `rare` null no value counts as unseen: it cannot be told from a rare one. `tested` as
    `udfs.profile.tails` says; null where no value is rare, and in profiles of version 1. `law` as of numbers,
    of the values, other and unseen.
    """

    values: list[str]
    counts: list[int]
    other: int
    null: int
    rare: list[str] | None = None
    tested: _Tested | None = None
    blocks: list[tuple[int, float]] = []
    law: list[int] | None = None

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.values) or len(set(self.values)) != len(self.values):
            raise ValueError("values must be distinct, with one count each")
        tested = self.tested
        if tested and len(tested.counts) != len(self.values):
            raise ValueError("tested counts must be one for each value")
        numbers = [*tested.counts, tested.other, tested.unseen] if tested else []
        if min([*self.counts, self.other, *numbers]) < 0:
            raise ValueError("counts must not be negative")

    def with_counts(self, found: CategoricalCounts) -> CategoricalReference:
        """The same values, as often as these rows have them."""
        listed = found.counts.tolist()
        tested = (
            _Tested(listed, found.other, found.unseen, found.null) if self.tested or found.unseen else None
        )
        return msgspec.structs.replace(self, counts=listed, other=found.other, null=found.null, tested=tested)

    def as_counts(self) -> CategoricalCounts:
        """The reference's rows, counted as those of a window are."""
        if (known := self.tested) is not None:
            counts: Ints = np.array(known.counts, dtype=np.int64)
            return CategoricalCounts(counts, known.other, known.unseen, known.null)
        return CategoricalCounts(np.array(self.counts, dtype=np.int64), self.other, 0, self.null)


ColumnReference = NumericReference | CategoricalReference


class _Vector(msgspec.Struct, frozen=True):
    """A vector of N elements, whose measures are columns: the mean of each element."""

    center: list[float]

    def __post_init__(self) -> None:
        if not self.center or not np.isfinite(self.center).all():
            raise ValueError("the center of a vector must be finite numbers")


class _Profile(msgspec.Struct, frozen=True):
    schema: Literal["tailrace.profile/1", "tailrace.profile/2"]
    rows: int
    columns: dict[str, ColumnReference]
    outputs: dict[str, ColumnReference] = {}
    ids: list[str] = []
    joint: dict[str, Any] | None = None
    pairs: dict[str, Any] | None = None
    importance: dict[str, float] = {}
    vectors: dict[str, _Vector] = {}
    segments: msgspec.Raw = msgspec.Raw(b"")
    hour_of_week: msgspec.Raw = msgspec.Raw(b"")


class Reference(msgspec.Struct, frozen=True):
    """`columns` are the model's inputs and other columns; `outputs` are `prediction` and `score`.

    `joint` and `pairs` say how columns go together, null where the profile, or these rows, do not.
    `vectors` are the centres of those whose measures are columns.
    `ids` are columns that tell rows apart, which are watched only where they are asked for.
    `segments` and `hour_of_week` are parts of the rows, for `udfs.profile.references` to read.
    """

    rows: int
    columns: dict[str, ColumnReference]
    outputs: dict[str, ColumnReference]
    joint: JointReference | None
    importance: dict[str, float] = {}
    segments: msgspec.Raw = msgspec.Raw(b"")
    hour_of_week: msgspec.Raw = msgspec.Raw(b"")
    ids: tuple[str, ...] = ()
    pairs: PairReference | None = None
    vectors: dict[str, list[float]] = {}

    @property
    def watched(self) -> dict[str, ColumnReference]:
        """The columns that are watched where nobody asks for any."""
        return {name: column for name, column in self.columns.items() if name not in self.ids}

    def counts(self) -> dict[str, ColumnCounts]:
        """All columns and outputs as counts."""
        return {name: column.as_counts() for name, column in (self.columns | self.outputs).items()}


_decoder = msgspec.json.Decoder(_Profile)


def parse_reference(profile: bytes) -> Reference:
    """Raises ModelError for what is not a profile, or one whose parts do not fit together."""
    try:
        parsed = _decoder.decode(profile)
        joint = parse_joint(parsed.joint) if parsed.joint else None
        pairs = parse_pairs(parsed.pairs, values_of(parsed.columns)) if parsed.pairs else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ModelError(f"the reference profile must be of tailrace.profile/1 or 2: {error}") from None
    return Reference(
        parsed.rows,
        parsed.columns,
        parsed.outputs,
        joint,
        parsed.importance,
        parsed.segments,
        parsed.hour_of_week,
        tuple(parsed.ids),
        pairs,
        {name: vector.center for name, vector in parsed.vectors.items()},
    )


def values_of(columns: Mapping[str, ColumnReference]) -> dict[str, int]:
    """How many values of each text are looked at one by one."""
    return {
        name: len(column.values)
        for name, column in columns.items()
        if isinstance(column, CategoricalReference)
    }
