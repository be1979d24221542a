"""What is kept of a set of rows so that sets can be joined: for each kind a value per row, and how two join.

Each has `identity`, of no rows; `lift`, of each row alone; `combine`, of earlier with later rows.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from udfs.windows.columns import Bools, Ints

Arrays = tuple[NDArray[Any], ...]
Kind = Literal["count", "sum", "squares", "min", "max", "decayed", "first", "last"]


class Need(NamedTuple):
    """What must be known of sets of rows: a part of an aggregate, of a column, where another one is true."""

    kind: Kind
    column: str
    where: str | None = None
    half_life_ms: int = 0


class Lifted(NamedTuple):
    """A column's values; `valid` are the rows that count and are not null."""

    values: Any
    valid: Bools
    time: Ints


class Monoid(Protocol):
    """A row's part of an aggregate is a tuple of numbers; a tuple of arrays holds those of many."""

    identity: tuple[Any, ...]

    def lift(self, column: Lifted) -> Arrays: ...
    def combine(self, a: Arrays, b: Arrays) -> Arrays: ...


def empty(of: Monoid, like: Arrays, rows: int) -> Arrays:
    """No rows, so many times."""
    return tuple(np.full(rows, nothing, part.dtype) for nothing, part in zip(of.identity, like, strict=True))


def take(arrays: Arrays, at: Ints) -> Arrays:
    """Those rows of each."""
    return tuple([part[at] for part in arrays])


def put(arrays: Arrays, at: Ints, values: Arrays) -> None:
    """These values in those rows of each."""
    for part, value in zip(arrays, values, strict=True):
        part[at] = value
