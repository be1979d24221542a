"""Tells what a reference says of values that it has too rarely to know: those that will be new.

Of a column with a tail, the values that are looked at one by one are chosen on one half of the rows, and
counted on the other: what was chosen for being frequent looks more frequent than it is. A row whose value no
other row has counts as unseen, as it would in a window: the estimate of Good, "The population frequencies of
species and the estimation of population parameters" (Biometrika, 1953), by leaving one out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# From this share of rows with a value of their own on, a column tells rows apart, and not what they are like.
ID_SHARE = 0.5
# Of fewer rows nothing can be said.
LEAST_ROWS = 100
# Rare values in so few rows move no test, and are not worth half of the reference.
TAIL_SHARE = 0.001
_SEED = 20130102
# No value of the reference, and null to nobody.
_NEW = "\x00new"

Flags = npt.NDArray[np.bool_]


def tested_half(rows: int) -> Flags:
    """Which of n rows are counted; values are chosen by the others."""
    flags: Flags = np.random.default_rng(_SEED).permutation(rows) < rows // 2
    return flags


def has_tail(counts: Sequence[int], top: int) -> bool:
    """Whether so many rows have values that are not looked at one by one, or that no other row has.

    `counts` are those of all values, the largest first.
    """
    rows = sum(counts)
    rare = sum(counts[top:]) + sum(count == 1 for count in counts[:top])
    return rows >= LEAST_ROWS and rare > TAIL_SHARE * rows


def ranked(text: pa.Array) -> tuple[list[str], list[int]]:
    """The values with their counts, the most frequent first; nulls are left out."""
    counted = pc.value_counts(text.drop_null())
    table = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
    table = table.sort_by([("count", "descending"), ("value", "ascending")])
    return table["value"].to_pylist(), table["count"].to_pylist()


def with_new(text: pa.Array) -> pa.Array:
    """The rows with values that no other row has as values that nobody knows."""
    values, counts = ranked(text)
    once = pa.array([value for value, count in zip(values, counts, strict=True) if count == 1], pa.string())
    alone = pc.and_(pc.is_in(text, value_set=once), pc.is_valid(text))
    return pc.if_else(alone, pa.scalar(_name_of_none(values)), text)


def _name_of_none(values: Sequence[str]) -> str:
    name = _NEW
    while name in values:
        name += "\x00"
    return name
