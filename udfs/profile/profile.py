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

from udfs.profile.blocks import Blocks, blocks_of, correlation_in, mid_ranks
from udfs.profile.joint import joint_reference
from udfs.profile.pairs import MAX_COLUMNS, PairColumn, numeric_levels, pair_reference, text_levels
from udfs.profile.reference import parse_reference
from udfs.profile.references import reference_parts
from udfs.profile.tails import ID_SHARE, LEAST_ROWS, has_tail, ranked, tested_half
from udfs.profile.vectors import measured_weights, with_measures

BINS = 64
TOP = 100
MAX_RARE = 1_000
_SEED = 0
# Scaled values stay below 2**30, so that a square fits in 64 bits.
_BITS = 30
# Times that each value comes in the mean: a flag, a count or a grade, and no measurement.
_OFTEN = 20
# Times the values' range: from there on too few of these bits would tell the values apart.
_FAR = 1_024

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
    vectors: Sequence[str] = (),
) -> dict[str, Any]:
    """Profile n reference rows, as plain JSON values.

    `columns` and `outputs` map names to: for numbers `edges` (quantiles, ties merged), `counts` and `sums`
    per bin [edge, next edge), the last one closed; for strings and booleans the `top` most frequent values,
    and the `rare` others unless they are more than 1,000. `ids` are inputs that tell rows apart. `joint`
    tells how the numeric inputs move together, and `pairs` how two inputs do: of the 12 most important.
    `importance` weighs the inputs' drift: not negative, written as shares of 1; equal ones by default.
    `segments` are inputs, or other columns of the rows, whose values get references of their own; with
    `event_time` (timestamps) so does each hour of the week, and `blocks` say how alike rows near in time are.
    `vectors` are names of inputs `NAME_0`, `NAME_1` and so on, in whose place `NAME.norm` and `NAME.distance`
    (to the rows' mean, the `center`) are profiled.
    Raises ValueError if importance names no input or is not a weight, or a vector has no elements, and
    KeyError for an unknown segment.
    """
    _shares(inputs.column_names, importance)  # Raises where a weight is none, or of no input.
    importance = measured_weights(importance, inputs.column_names, vectors)
    given, (inputs, centers) = inputs, with_measures(inputs, vectors)
    times = None if event_time is None else _milliseconds(event_time)
    made = _columns(inputs, bins, top, times)
    results = _columns(outputs, bins, top, times) if outputs is not None else {}
    ids = [name for name, column in made.items() if _tells_apart(column)]
    shares = _shares(inputs.column_names, importance)
    profile = {
        "schema": _schema([*made.values(), *results.values()]),
        "rows": inputs.num_rows,
        "columns": made,
        "outputs": results,
        "ids": ids,
        "joint": _joint(inputs, times),
        "pairs": pairs_of(inputs, made, {n: share for n, share in shares.items() if n not in ids}, times),
        "importance": shares,
        **({"vectors": {name: {"center": center} for name, center in centers.items()}} if centers else {}),
    }
    chosen = segments if isinstance(segments, pa.Table) else given.select(list(segments))
    if not chosen.column_names and event_time is None:
        return profile
    columns = dict(zip(inputs.column_names, inputs.columns, strict=True))
    others = dict(zip(outputs.column_names, outputs.columns, strict=True)) if outputs is not None else {}
    return profile | reference_parts(
        parse_reference(encode_profile(profile)),
        {name: _whole(column) for name, column in (columns | others).items()},
        {name: _whole(chosen[name]) for name in chosen.column_names},
        times,
    )


def _schema(columns: Sequence[Column]) -> str:
    """Who knows version 1 alone would compare with the wrong counts."""
    newer = any(
        "tested" in column or "blocks" in column or "center" in column.get("fixed_point", {})
        for column in columns
    )
    return "tailrace.profile/2" if newer else "tailrace.profile/1"


def _tells_apart(column: Column) -> bool:
    """Most of its rows have a value of their own."""
    rows = sum(column["counts"]) + column.get("other", 0)
    return bool(rows >= LEAST_ROWS and column.get("singles", 0) >= ID_SHARE * rows)


def encode_profile(profile: dict[str, Any]) -> bytes:
    """The bytes of `profile.json`: the same for the same rows."""
    return json.dumps(profile, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _milliseconds(times: pa.ChunkedArray) -> Ints:
    found: Ints = _whole(times.cast(pa.timestamp("ms"))).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _columns(table: pa.Table, bins: int, top: int, times: Ints | None) -> dict[str, Column]:
    made = {name: _column(table[name], bins, top) for name in table.column_names}
    for name, column in made.items() if times is not None else ():
        assert times is not None
        if blocks := _blocks(table[name], column, times):
            column["blocks"] = blocks
    return made


def _blocks(column: pa.ChunkedArray, made: Column, times: Ints) -> Blocks:
    """Left out where rows near in time are no more alike than others."""
    present = _whole(column.is_valid()).to_numpy(zero_copy_only=False)
    if made["kind"] == "numeric":
        values = _whole(column.cast(pa.float64(), safe=False)).to_numpy(zero_copy_only=False)
        present = present & np.isfinite(values)
        found = blocks_of(mid_ranks(values[present]), None, times[present])
    else:
        text = _whole(column.cast(pa.string())).filter(pa.array(present))
        place = pc.index_in(text, value_set=pa.array(made["values"], pa.string()))
        cells = place.fill_null(len(made["values"])).to_numpy(zero_copy_only=False).astype(np.int64)
        found = blocks_of(None, cells, times[present])
    gone = blocks_of((~present).astype(np.float64), None, times) if not present.all() else []
    both = [(length, max(value, correlation_in(gone, length))) for length, value in found] or gone
    return both if any(value for _, value in both) else []


def _column(column: pa.ChunkedArray, bins: int, top: int) -> Column:
    return _numeric(column, bins) if _is_number(column.type) else _categorical(column, top)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _joint(inputs: pa.Table, times: Ints | None) -> dict[str, Any] | None:
    names = [name for name in inputs.column_names if _is_number(inputs[name].type)]
    columns = {name: inputs[name].cast(pa.float64(), safe=False).to_numpy() for name in names}
    return joint_reference(columns, _SEED, times)


def pairs_of(
    inputs: pa.Table, made: Mapping[str, Column], importance: Mapping[str, float], times: Ints | None
) -> dict[str, Any] | None:
    """`pairs` of the most important inputs that have two values or more; of equals the first.

    `made` are the profile's columns, `times` in ms.
    """
    levels: dict[str, PairColumn] = {}
    numbers: dict[str, npt.NDArray[np.float64]] = {}
    codes: dict[str, Ints] = {}
    for name in sorted(importance, key=lambda name: -importance[name]):
        column = made[name]
        if column["kind"] == "numeric":
            values = _whole(inputs[name].cast(pa.float64(), safe=False)).to_numpy(zero_copy_only=False)
            found = numeric_levels(name, values)
            numbers |= {name: values} if found else {}
        else:
            found = text_levels(name, column["counts"], column["other"])
            codes |= {name: _places(inputs[name], column["values"])} if found else {}
        if found:
            levels[name] = found
        if len(levels) == MAX_COLUMNS:
            break
    known = {name: len(made[name]["values"]) for name in codes}
    return pair_reference(levels, numbers, codes, known, times)


def _places(column: pa.ChunkedArray, values: Sequence[str]) -> Ints:
    """Of each row the place of its value, the number of them for rare ones, and -1 for null."""
    text = _whole(column.cast(pa.string()))
    found = pc.index_in(text, value_set=pa.array(values, pa.string())).fill_null(len(values))
    places: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
    places[text.is_null().to_numpy(zero_copy_only=False)] = -1
    return places


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
    center = _center(values)
    exponent = _exponent(values - center)
    fixed = np.rint(np.ldexp(values - center, exponent)).astype(np.int64)
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
            **({"center": center} if center else {}),
            "sum": int(fixed.sum()),
            "sum_squares": _sum_squares(fixed),
            "sums": _sums(fixed, indexes, size),
        },
        **_moments(values),
    }


def _edges(values: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.float64]:
    """Quantiles that occur among the values; one edge when all values are equal, none without values.

    A largest value that is as frequent as a bin has one of its own, as each other such value has: else nobody
    would see zeros become ones. Where values are few and come often, each has one, however rare it is.
    """
    if not len(values):
        return np.empty(0)
    quantiles = np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    edges: npt.NDArray[np.float64] = np.unique(quantiles + 0.0)
    distinct = np.unique(values + 0.0)
    few = len(distinct) <= bins and len(values) >= _OFTEN * len(distinct)
    edges = distinct if few else edges
    largest = np.count_nonzero(values == edges[-1])
    with np.errstate(over="ignore"):
        beyond = np.nextafter(edges[-1], np.inf)
    frequent = few or (largest > 1 and largest * bins >= len(values))
    if len(edges) > 1 and frequent and np.isfinite(beyond):
        edges = np.append(edges, beyond)
    return edges


def _center(values: npt.NDArray[np.float64]) -> float:
    """What the fixed point is about: 0, unless the values lie far from it and near to each other."""
    if not len(values):
        return 0.0
    low, high = float(values.min()), float(values.max())
    return low if high > low and min(abs(low), abs(high)) > _FAR * (high - low) else 0.0


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
    """With a tail, `tested` are the counts that windows are compared with, see `udfs.profile.tails`."""
    text = _whole(column.cast(pa.string()))
    values, counts = ranked(text)
    count_of = dict(zip(values, counts, strict=True))
    tail = has_tail(counts, top)
    half = tested_half(len(text))
    chosen = ranked(text.filter(pa.array(~half)))[0][:top] if tail else values[:top]
    rest = sorted(set(values) - set(chosen))
    found: Column = {
        "kind": "categorical",
        "values": chosen,
        "counts": [count_of[value] for value in chosen],
        "other": sum(count_of[value] for value in rest),
        "rare": rest if len(rest) <= MAX_RARE else None,
        "distinct": len(values),
        "null": column.null_count,
    }
    if not tail:
        return found
    singles = sum(count == 1 for count in counts)
    new = singles / sum(counts) if found["rare"] is not None else 0.0
    return found | {"singles": singles, "tested": _tested(text.filter(pa.array(half)), chosen, new)}


def _tested(text: pa.Array, chosen: Sequence[str], new: float) -> dict[str, Any]:
    """The counts of these rows, of which the part `new` has values that are in no other row.

    That part is of all rows, as half of them alone know it less well.
    """
    count_of = dict(zip(*ranked(text), strict=True))
    counts = [count_of.get(value, 0) for value in chosen]
    present = len(text) - text.null_count
    rest = present - sum(counts)
    unseen = min(round(new * present), rest)
    return {"counts": counts, "other": rest - unseen, "unseen": unseen, "null": text.null_count}
