"""Vectors in records: lists of a fixed length, each element of which becomes a column of numbers.

>>> columns = parts_of(pa.array([[1.0, 2.0], None], pa.list_(pa.float64())), 2)
>>> [column.to_pylist() for column in columns], part_names("v", 2)
([[1.0, None], [2.0, None]], ['v_0', 'v_1'])
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

LARGEST_VECTOR = 4096


def part_names(name: str, size: int) -> list[str]:
    """The columns of a vector's elements, as pandas' `add_prefix` names those of a matrix."""
    return [f"{name}_{place}" for place in range(size)]


def parts_of(vectors: pa.Array, size: int) -> list[pa.Array]:
    """Column k has element k of each of n vectors of that size; null where there is no vector."""
    given = np.asarray(vectors.is_valid().to_numpy(zero_copy_only=False))
    matrix = np.asarray(vectors.flatten().to_numpy()).reshape(-1, size).T + 0.0  # -0.0 is 0.0
    if given.all():
        return [pa.array(row) for row in matrix]
    places = pa.array(np.cumsum(given) - 1, mask=~given)
    return [pa.array(row).take(places) for row in matrix]
