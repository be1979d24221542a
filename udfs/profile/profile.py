"""Makes the reference profile of a model version: how its inputs and outputs were distributed in training.

Counts and fixed-point sums are integers, so that profiles on the same bins merge exactly, in any order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.profile.joint import joint_reference
from udfs.profile.reference import parse_reference
from udfs.profile.references import reference_parts

BINS = 64
TOP = 100
MAX_RARE = 1_000
_SEED = 0
# Scaled values stay below 2**30, so that a square fits in 64 bits.
_BITS = 30

Column = dict[str, Any]
Ints = npt.NDArray[np.int64]


def reference_profile(
    inputs: pa.Table,
    outputs: pa.Table | None = None,
    *,
    bins: int = BINS,
    top: int = TOP,
    importance: Mapping[str, float] | None = None,
    segments: Sequence[str] | pa.Table = (),
    event_time: pa.ChunkedArray | None = None,
) -> dict[str, Any]:
    """Profile n reference rows, as plain JSON values.

    `columns` and `outputs` map names to: for numbers `edges` (quantiles, ties merged), `counts` and `sums`
    per bin [edge, next edge), the last one closed; for strings and booleans the `top` most frequent values,
    and the `rare` others unless they are more than 1,000. `joint` tells how the numeric inputs move together.
    `importance` weighs the inputs' drift: not negative, written as shares of 1; equal ones by default.
    `segments` are inputs, or other columns of the rows, whose values get references of their own; with
    `event_time` (timestamps) so does each hour of the week.
    Raises ValueError if importance names no input or is not a weight, and KeyError for an unknown segment.
    """
    profile = {
        "schema": "tailrace.profile/1",
        "rows": inputs.num_rows,
        "columns": _columns(inputs, bins, top),
        "outputs": _columns(outputs, bins, top) if outputs is not None else {},
        "joint": _joint(inputs),
        "importance": _shares(inputs.column_names, importance),
    }
    chosen = segments if isinstance(segments, pa.Table) else inputs.select(list(segments))
    if not chosen.column_names and event_time is None:
        return profile
    columns = dict(zip(inputs.column_names, inputs.columns, strict=True))
    made = dict(zip(outputs.column_names, outputs.columns, strict=True)) if outputs is not None else {}
    return profile | reference_parts(
        parse_reference(encode_profile(profile)),
        {name: _whole(column) for name, column in (columns | made).items()},
        {name: _whole(chosen[name]) for name in chosen.column_names},
        None if event_time is None else _milliseconds(event_time),
    )


def encode_profile(profile: dict[str, Any]) -> bytes:
    """The bytes of `profile.json`: the same for the same rows."""
    return json.dumps(profile, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _milliseconds(times: pa.ChunkedArray) -> Ints:
    found: Ints = _whole(times.cast(pa.timestamp("ms"))).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _columns(table: pa.Table, bins: int, top: int) -> dict[str, Column]:
    return {name: _column(table[name], bins, top) for name in table.column_names}


def _column(column: pa.ChunkedArray, bins: int, top: int) -> Column:
    return _numeric(column, bins) if _is_number(column.type) else _categorical(column, top)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _joint(inputs: pa.Table) -> dict[str, Any] | None:
    names = [name for name in inputs.column_names if _is_number(inputs[name].type)]
    columns = {name: inputs[name].cast(pa.float64(), safe=False).to_numpy() for name in names}
    return joint_reference(columns, _SEED)


def _shares(names: list[str], importance: Mapping[str, float] | None) -> dict[str, float]:
    """Inputs that are not named have no weight; all have the same if no weight is above 0."""
    weights = {name: float((importance or {}).get(name, 0.0)) for name in names}
    unknown = sorted(set(importance or {}) - set(names))
    if unknown:
        raise ValueError(f"importance must name inputs ({', '.join(names)}); got {', '.join(unknown)}")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
        raise ValueError("importance must be finite and not negative")
    largest = max(weights.values(), default=0.0)
    if not largest:
        return {name: 1 / len(names) for name in names}
    # By the largest first, so that the sum cannot overflow.
    total = math.fsum(weight / largest for weight in weights.values())
    return {name: weight / largest / total for name, weight in weights.items()}


def _numeric(column: pa.ChunkedArray, bins: int) -> Column:
    present = column.drop_null().cast(pa.float64(), safe=False).to_numpy()
    values = present[np.isfinite(present)]
    edges = _edges(values, bins)
    indexes = np.searchsorted(edges[1:-1], values, side="right")
    exponent = _exponent(values)
    fixed = np.rint(np.ldexp(values, exponent)).astype(np.int64)
    size = max(len(edges) - 1, min(len(edges), 1))
    return {
        "kind": "numeric",
        "edges": edges.tolist(),
        "counts": np.bincount(indexes, minlength=size).tolist(),
        "null": column.null_count,
        "invalid": len(present) - len(values),
        "count": len(values),
        "fixed_point": {
            "exponent": exponent,
            "sum": int(fixed.sum()),
            "sum_squares": _sum_squares(fixed),
            "sums": _sums(fixed, indexes, size),
        },
        **_moments(values),
    }


def _edges(values: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.float64]:
    """Quantiles that occur among the values; one edge when all values are equal, none without values.

    A largest value that is as frequent as a bin has one of its own, as each other such value has: else nobody
    would see zeros become ones.
    """
    if not len(values):
        return np.empty(0)
    quantiles = np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    edges: npt.NDArray[np.float64] = np.unique(quantiles + 0.0)
    largest = np.count_nonzero(values == edges[-1])
    with np.errstate(over="ignore"):
        beyond = np.nextafter(edges[-1], np.inf)
    if len(edges) > 1 and largest > 1 and largest * bins >= len(values) and np.isfinite(beyond):
        edges = np.append(edges, beyond)
    return edges


def _exponent(values: npt.NDArray[np.float64]) -> int:
    """The power of two that scales the values to integers: value = integer / 2**exponent."""
    largest = float(np.abs(values).max(initial=0.0))
    return _BITS - math.frexp(largest)[1] if largest else _BITS


def _sum_squares(fixed: Ints) -> int:
    """Exact: each square fits in 64 bits, their sum need not."""
    squares = fixed * fixed
    return (int((squares >> 32).sum()) << 32) + int((squares & 0xFFFFFFFF).sum())


def _sums(fixed: Ints, indexes: Ints, size: int) -> list[int]:
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, indexes, fixed)
    return [int(value) for value in sums]


def _moments(values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """Minimum, maximum, mean and standard deviation (ddof 0), whatever the order of the values."""
    if not len(values):
        return {"min": None, "max": None, "mean": None, "std": None}
    # Scaled by a power of two, which is exact, so that squares neither overflow nor vanish.
    exponent = _exponent(values)
    scaled = np.ldexp(values, exponent)
    mean = math.fsum(scaled) / len(values)
    variance = math.fsum((scaled - mean) ** 2) / len(values)
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": math.ldexp(mean, -exponent),
        "std": math.ldexp(math.sqrt(variance), -exponent),
    }


def _categorical(column: pa.ChunkedArray, top: int) -> Column:
    counted = pc.value_counts(column.drop_null().cast(pa.string()))
    found = pa.table({"value": counted.field("values"), "count": counted.field("counts")})
    found = found.sort_by([("count", "descending"), ("value", "ascending")])
    first, rest = found.slice(0, top), found.slice(top)
    return {
        "kind": "categorical",
        "values": first["value"].to_pylist(),
        "counts": first["count"].to_pylist(),
        "other": pc.sum(rest["count"]).as_py() or 0,
        "rare": sorted(rest["value"].to_pylist()) if len(rest) <= MAX_RARE else None,
        "distinct": len(found),
        "null": column.null_count,
    }
