"""Vectors as two numbers each: the norm, and the Euclidean distance to the centre of the reference's rows.

>>> found = measures("v", [pa.array([3.0, None]), pa.array([4.0, None])], [0.0, 4.0])
>>> {name: column.to_pylist() for name, column in found.items()}
{'v.norm': [5.0, None], 'v.distance': [3.0, None]}

Not the cosine: it is of no use for a zero vector or where the centre is near zero, as that of centred
embeddings is; and of vectors of length 1 the Euclidean distance says the same, as d² = 1 + |c|² - 2 c·v.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.profile.params import VectorParams
from udfs.records.vectors import part_names

Floats = npt.NDArray[np.float64]


def measure_names(name: str) -> tuple[str, str]:
    """The columns that a vector is watched by."""
    return f"{name}.norm", f"{name}.distance"


def measures(name: str, parts: Sequence[pa.Array], center: Sequence[float]) -> dict[str, pa.Array]:
    """Both measures of n rows, of which `parts` are the vector's N elements; null where one of them is.

    A row's measures are the same in any batch: elements are added in their order. Beyond 1e154 they overflow
    to infinity, which counts as invalid.
    """
    squares, far = np.zeros(len(parts[0])), np.zeros(len(parts[0]))
    with np.errstate(over="ignore", invalid="ignore"):
        for part, middle in zip(parts, center, strict=True):
            values = _numbers(part)
            squares += values * values
            far += (values - middle) ** 2
    missing = np.isnan(squares)
    return {
        column: pa.array(np.sqrt(found), mask=missing)
        for column, found in zip(measure_names(name), (squares, far), strict=True)
    }


def center_of(parts: Sequence[pa.Array]) -> list[float]:
    """The mean of each element over the rows that have all, in any order. Raises ValueError for none."""
    numbers = [_numbers(part) for part in parts]
    whole = np.logical_and.reduce([np.isfinite(values) for values in numbers])
    if not whole.any():
        raise ValueError("a vector must be whole in at least one row")
    return [math.fsum(values[whole]) / int(whole.sum()) for values in numbers]


def watched_vectors(
    centers: Mapping[str, Sequence[float]],
    fed: Mapping[str, str],
    allowed: Collection[str],
    wanted: Collection[str] = (),
) -> tuple[VectorParams, ...]:
    """The vectors of a profile all whose elements are inputs `fed` by columns that are `allowed`.

    `wanted` are measures; none: all.
    """
    found = []
    for name, center in centers.items():
        columns = tuple(fed.get(part, "") for part in part_names(name, len(center)))
        chosen = tuple(each for each in measure_names(name) if not wanted or each in wanted)
        if chosen and all(column in allowed for column in columns):
            found.append(VectorParams(name, columns, chosen))
    return tuple(found)


def with_measures(rows: pa.Table, names: Sequence[str]) -> tuple[pa.Table, dict[str, list[float]]]:
    """Rows with the measures of vectors instead of their elements `NAME_0` and so on, and the centres.

    Raises ValueError for a name without elements.
    """
    centers: dict[str, list[float]] = {}
    for name in names:
        parts = elements_of(name, rows.column_names)
        if not parts:
            raise ValueError(f"vectors must have elements among the columns, such as {name}_0; got {name}")
        columns = [_whole(rows[part]) for part in parts]
        centers[name] = center_of(columns)
        measured = measures(name, columns, centers[name])
        rows = rows.drop_columns(parts)
        for column, values in measured.items():
            rows = rows.append_column(column, values)
    return rows, centers


def elements_of(name: str, columns: Collection[str]) -> list[str]:
    """The columns `NAME_0`, `NAME_1` and so on, as far as there are any."""
    known, size = {*columns}, 0
    while f"{name}_{size}" in known:
        size += 1
    return part_names(name, size)


def measured_weights(
    weights: Mapping[str, float] | None, columns: Collection[str], names: Sequence[str]
) -> dict[str, float] | None:
    """Weights of inputs, with those of a vector's elements on its two measures, half each."""
    if weights is None:
        return None
    left = dict(weights)
    for name in names:
        total = math.fsum(left.pop(part, 0.0) for part in elements_of(name, columns))
        left |= dict.fromkeys(measure_names(name), total / 2)
    return left


def _numbers(part: pa.Array) -> Floats:
    """NaN for null."""
    found: Floats = part.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
