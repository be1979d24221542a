"""The operations of expressions on a column of lists: an element of each, how many, their sum, and the like.

>>> lists = pa.array([[1, 2], [], None])
>>> LISTS["list_sum"]("long", (), lists).to_pylist(), LISTS["list_length"]("long", (), lists).to_pylist()
([3, None, None], [2, 0, None])

A list that is null gives null, and elements that are null do not count. An operation takes the type of its
result, its params and an array of n lists of values, and returns n values; as in `kernels` it raises
FeatureError if a row has no answer. A row's result depends on its own list only, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.features.kernels import FeatureError, numpy_mask
from udfs.types import ARROW, ColumnType

# Sums of longs that are smaller in doubles fit 64 bits.
_SURELY_FITS = 2.0**62
FAILS = frozenset({"list_sum", "list_only"})

Longs = npt.NDArray[np.int64]


def member_of(lists: pa.Array, member: str) -> pa.Array:
    """Lists of a member of the elements; of an empty name, the lists themselves."""
    if not member:
        return lists
    values = pc.struct_field(lists.flatten(), [member])
    ends = pa.array(np.concatenate(([0], np.cumsum(_lengths(lists)))), pa.int32())
    return pa.ListArray.from_arrays(ends, values, mask=lists.is_null() if lists.null_count else None)


def _lengths(lists: pa.Array) -> Longs:
    """Elements of each list, none where it is null."""
    found: Longs = pc.list_value_length(lists).fill_null(0).cast(pa.int64()).to_numpy()
    return found


def _length(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
    return pc.list_value_length(lists).cast(pa.int64())


def _count(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
    _, lengths = _given(lists)
    return pa.array(lengths, pa.int64(), mask=numpy_mask(lists.is_null()))


def _given(lists: pa.Array) -> tuple[pa.Array, Longs]:
    """The elements that are not null, and how many each list has."""
    values, lengths = lists.flatten(), _lengths(lists)
    if not values.null_count:
        return values, lengths
    rows = np.repeat(np.arange(len(lists)), lengths)[numpy_mask(values.is_valid())]
    return values.drop_null(), np.bincount(rows, minlength=len(lists)).astype(np.int64)


def _item(type_: ColumnType, params: tuple[int], lists: pa.Array) -> pa.Array:
    """The element at a place, from 1 on; null beyond the end."""
    place, lengths = params[0], _lengths(lists)
    starts = np.cumsum(lengths) - lengths
    taken = lists.flatten().take(pa.array(starts + place - 1, mask=lengths < place))
    return _without_negative_zero(taken)


def _value(type_: ColumnType, params: tuple[str], lists: pa.Array) -> pa.Array:
    """The value of a key in each map, whose entries are keys and values; null without."""
    entries = lists.flatten()
    places = np.flatnonzero(numpy_mask(pc.equal(pc.struct_field(entries, ["key"]), params[0])))
    rows = np.repeat(np.arange(len(lists)), _lengths(lists))[places]
    found, missing = np.zeros(len(lists), np.int64), np.ones(len(lists), np.bool_)
    found[rows], missing[rows] = places, False
    return _without_negative_zero(pc.struct_field(entries, ["value"]).take(pa.array(found, mask=missing)))


def _only(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
    if (_lengths(lists) > 1).any():
        raise FeatureError("ELEMENT must get a list of at most one element; got more")
    return _item(type_, (1,), lists)


def _contains(type_: ColumnType, params: tuple[ColumnType, Any], lists: pa.Array) -> pa.Array:
    values, lengths = lists.flatten(), _lengths(lists)
    equal = numpy_mask(pc.equal(values, pa.scalar(params[1], ARROW[params[0]])))
    rows = np.repeat(np.arange(len(lists)), lengths)[equal]
    found = np.zeros(len(lists), dtype=np.bool_)
    found[rows] = True
    return pa.array(found, mask=numpy_mask(lists.is_null()))


def _reduced(reduce: np.ufunc, lists: pa.Array, kind: pa.DataType) -> tuple[pa.Array, Longs]:
    """The elements of each list by a function of numpy, null without any; and how many there are."""
    values, lengths = _given(lists)
    filled = lengths > 0
    starts = (np.cumsum(lengths) - lengths)[filled]
    found = np.zeros(len(lists), dtype=kind.to_pandas_dtype())
    if len(starts):
        with np.errstate(over="ignore", invalid="ignore"):
            found[filled] = reduce.reduceat(values.cast(kind, safe=False).to_numpy(), starts)
    return pa.array(found, kind, mask=~filled), lengths


def _sum(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
    total, _ = _reduced(np.add, lists, ARROW[type_])
    if type_ == "long":
        sizes = pc.abs(_given(lists)[0].cast(pa.float64(), safe=False))
        if len(sizes) and pc.sum(sizes).as_py() >= _SURELY_FITS:
            _check_sums(lists)
    return _without_negative_zero(total)


def _check_sums(lists: pa.Array) -> None:
    for each in lists.to_pylist():
        if not -(2**63) <= sum(value for value in each or () if value is not None) < 2**63:
            raise FeatureError("the sum must fit a 64-bit integer; got an overflow")


def _mean(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
    total, lengths = _reduced(np.add, lists, pa.float64())
    return pc.add(pc.divide(total, pa.array(np.maximum(lengths, 1).astype(np.float64))), 0.0)


def _extreme(reduce: np.ufunc) -> Callable[..., pa.Array]:
    def apply(type_: ColumnType, params: tuple[()], lists: pa.Array) -> pa.Array:
        return _without_negative_zero(_reduced(reduce, lists, ARROW[type_])[0])

    return apply


def _without_negative_zero(values: pa.Array) -> pa.Array:
    return pc.add(values, 0.0) if pa.types.is_floating(values.type) else values


LISTS: dict[str, Callable[..., pa.Array]] = {
    "list_length": _length,
    "list_item": _item,
    "map_value": _value,
    "list_only": _only,
    "list_count": _count,
    "list_sum": _sum,
    "list_avg": _mean,
    "list_min": _extreme(np.minimum),
    "list_max": _extreme(np.maximum),
    "list_contains": _contains,
}
