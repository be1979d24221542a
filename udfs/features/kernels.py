"""The operations of derived features on Arrow arrays, which `udfs.features.expressions` calls.

An operation takes the type of its result, its params and its operands (arrays of one length without scalars)
and returns an array of that length, or raises FeatureError or ArrowInvalid if a row has no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.types import ARROW, ColumnType

FAILS_ON_ANY = frozenset({"widen_exact", "parse", "to_long", "round", "divide", "extract", "time_text"})
FAILS_ON_LONG = frozenset({"add", "subtract", "multiply", "negate", "abs", "mod"})
# With an infinity or NaN these would give a finite or non-double result: an error would go unseen.
NEEDS_FINITE = frozenset(
    {"mod", "sign", "exp", "power", "least", "greatest", "nullif", "case_of", "between", "in"}
    | {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
    | {"to_long", "to_string", "to_boolean"}
)
FIRST_INSTANT, LAST_INSTANT = -62_135_596_800_000, 253_402_300_799_999
MILLISECONDS = {"SECOND": 1000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class FeatureError(Exception):
    """At least one row of the batch has no answer; evaluate fewer rows to find it."""


def require_finite(array: pa.Array) -> None:
    """Raises FeatureError when a number is NaN or infinite."""
    if pa.types.is_floating(array.type) and pc.all(pc.is_finite(array)).as_py() is False:
        raise FeatureError("an operand must be a finite number; got NaN or infinity (division by zero?)")


def numpy_mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """A mask without nulls, shape (n,): null is False."""
    mask: npt.NDArray[np.bool_] = array.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _simple(kernel: Callable[..., pa.Array], **options: Any) -> Callable[..., pa.Array]:
    return lambda type_, params, *operands: kernel(*operands, **options)


def _by_type(
    for_long: Callable[..., pa.Array], for_double: Callable[..., pa.Array]
) -> Callable[..., pa.Array]:
    return lambda type_, params, *operands: (for_long if type_ == "long" else for_double)(*operands)


def _divide(type_: ColumnType, params: tuple[()], left: pa.Array, right: pa.Array) -> pa.Array:
    require_finite(right)  # x / infinity would be an innocent 0
    return pc.divide(left, right)


def _mod(type_: ColumnType, params: tuple[()], left: pa.Array, right: pa.Array) -> pa.Array:
    """Truncated remainder: it has the sign of the dividend, as in SQL and C."""
    null = numpy_mask(pc.or_(left.is_null(), right.is_null()))
    dividend, divisor = (side.fill_null(1).to_numpy() for side in (left, right))
    if type_ == "long":
        if bool(((divisor == 0) & ~null).any()):
            raise FeatureError("the divisor of MOD must not be zero; got 0")
        divisor = np.where((divisor == -1) | (divisor == 0), 1, divisor)  # min % -1 overflows in C
    with np.errstate(invalid="ignore"):
        return pa.array(np.fmod(dividend, divisor), mask=null)


def _exp(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    with np.errstate(over="ignore"):
        return pa.array(np.exp(values.fill_null(0.0).to_numpy()), mask=numpy_mask(values.is_null()))


def _round(type_: ColumnType, params: tuple[int], values: pa.Array) -> pa.Array:
    if type_ == "long":
        return values
    return pc.round(values, ndigits=params[0], round_mode="half_towards_infinity")


def _extreme(kernel: Callable[..., pa.Array]) -> Callable[..., pa.Array]:
    def apply(type_: ColumnType, params: tuple[()], *operands: pa.Array) -> pa.Array:
        if type_ != "timestamp":
            return kernel(*operands, skip_nulls=False)
        return kernel(*(operand.cast(pa.int64()) for operand in operands), skip_nulls=False).cast(
            ARROW[type_]
        )

    return apply


def _between(
    type_: ColumnType, params: tuple[()], value: pa.Array, low: pa.Array, high: pa.Array
) -> pa.Array:
    return pc.and_kleene(pc.greater_equal(value, low), pc.less_equal(value, high))


def _in(type_: ColumnType, params: tuple[ColumnType, list[Any]], values: pa.Array) -> pa.Array:
    choices = pa.array(params[1], ARROW[params[0]])
    if params[0] == "double":
        values, choices = pc.add(values, 0.0), pc.add(choices, 0.0)  # Arrow hashes -0.0 apart from 0.0
    found = pc.is_in(values, value_set=choices)
    return pc.if_else(values.is_valid(), found, pa.scalar(None, pa.bool_()))


def _nullif(type_: ColumnType, params: tuple[()], value: pa.Array, other: pa.Array) -> pa.Array:
    same = pc.equal(value, other).fill_null(False)
    return pc.if_else(same, pa.scalar(None, value.type), value)


def _cast(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    return values.cast(ARROW[type_])


def _widen(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    return values.cast(ARROW[type_], safe=False)


TEXT = {
    "long": r"\A-?[0-9]+\z",
    "double": r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z",
    "boolean": r"(?i)\A(true|false)\z",
}


def _parse(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    # Arrow alone would also take 0x1F, inf, nan, and 1 for true.
    if pc.all(pc.match_substring_regex(values, TEXT[type_])).as_py() is False:
        raise FeatureError(f"CAST must get text that holds a {type_}; got other text")
    return values.cast(ARROW[type_])


def _to_long(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    return pc.trunc(values).cast(pa.int64())


def _naive(values: pa.Array) -> pa.Array:
    """The same instants without a zone: Arrow needs no time zone database for them."""
    bounds = pc.min_max(values.cast(pa.int64())).as_py()
    if bounds["min"] is not None and (bounds["min"] < FIRST_INSTANT or bounds["max"] > LAST_INSTANT):
        raise FeatureError("a timestamp must be in the years 1 to 9999; got one outside")
    return values.cast(pa.timestamp("ms"))


def _time_text(type_: ColumnType, params: tuple[()], values: pa.Array) -> pa.Array:
    return pc.strftime(_naive(values), format="%Y-%m-%d %H:%M:%S")


EXTRACT: dict[str, Callable[[pa.Array], pa.Array]] = {
    "YEAR": pc.year,
    "QUARTER": pc.quarter,
    "MONTH": pc.month,
    "WEEK": pc.iso_week,
    "DAY": pc.day,
    "HOUR": pc.hour,
    "MINUTE": pc.minute,
    "SECOND": pc.second,
    "DOY": pc.day_of_year,
    "ISODOW": lambda times: pc.day_of_week(times, count_from_zero=False, week_start=1),
    "SUNDAYDOW": lambda times: pc.day_of_week(times, count_from_zero=False, week_start=7),
    "EPOCH": lambda times: pc.divide(pc.floor_temporal(times, unit="second").cast(pa.int64()), 1000),
}


def _extract(type_: ColumnType, params: tuple[str], times: pa.Array) -> pa.Array:
    return EXTRACT[params[0]](_naive(times)).cast(pa.int64())


def _timestamp_diff(type_: ColumnType, params: tuple[str], start: pa.Array, end: pa.Array) -> pa.Array:
    between = pc.subtract(end.cast(pa.int64()), start.cast(pa.int64()))
    return pc.divide(between, MILLISECONDS[params[0]])


def _substring(type_: ColumnType, params: tuple[int, int | None], values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(values, start=params[0], stop=params[1])


def _concat(type_: ColumnType, params: tuple[()], *operands: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(*operands, "", null_handling="emit_null")


OPERATIONS: dict[str, Callable[..., pa.Array]] = {
    "add": _by_type(pc.add_checked, pc.add),
    "subtract": _by_type(pc.subtract_checked, pc.subtract),
    "multiply": _by_type(pc.multiply_checked, pc.multiply),
    "divide": _divide,
    "mod": _mod,
    "negate": _by_type(pc.negate_checked, pc.negate),
    "abs": _by_type(pc.abs_checked, pc.abs),
    "sign": lambda type_, params, values: pc.sign(values).cast(ARROW[type_]),
    "round": _round,
    "floor": _by_type(lambda values: values, pc.floor),
    "ceil": _by_type(lambda values: values, pc.ceil),
    "sqrt": _simple(pc.sqrt),
    "ln": _simple(pc.ln),
    "log10": _simple(pc.log10),
    "log2": _simple(pc.log2),
    "exp": _exp,
    "power": _simple(pc.power),
    "sin": _simple(pc.sin),
    "cos": _simple(pc.cos),
    "least": _extreme(pc.min_element_wise),
    "greatest": _extreme(pc.max_element_wise),
    "equal": _simple(pc.equal),
    "not_equal": _simple(pc.not_equal),
    "less": _simple(pc.less),
    "less_equal": _simple(pc.less_equal),
    "greater": _simple(pc.greater),
    "greater_equal": _simple(pc.greater_equal),
    "between": _between,
    "in": _in,
    "not": _simple(pc.invert),
    "is_null": _simple(pc.is_null),
    "is_true": _simple(pc.fill_null, fill_value=False),
    "nullif": _nullif,
    "lower": _simple(pc.utf8_lower),
    "upper": _simple(pc.utf8_upper),
    "trim": _simple(pc.utf8_trim, characters=" "),
    "length": lambda type_, params, values: pc.utf8_length(values).cast(pa.int64()),
    "substring": _substring,
    "concat": _concat,
    "like": lambda type_, params, values: pc.match_substring_regex(values, params[0]),
    "widen": _widen,
    "widen_exact": _cast,
    "parse": _parse,
    "to_long": _to_long,
    "to_string": _cast,
    "to_boolean": _cast,
    "from_boolean": _cast,
    "time_text": _time_text,
    "as_text": lambda type_, params, values: values,
    "extract": _extract,
    "timestamp_diff": _timestamp_diff,
}
