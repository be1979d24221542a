"""Decimals in records: exact, by their digits, and never by way of a double.

>>> unscaled(JsonNumber("12.5"), (4, 2)), unscaled("0.125", (4, 2)), unscaled(0.5, (4, 2))
(1250, 'more than 2 digits after the point', 'number that is no exact decimal')
>>> decimal_text(-5, 2)
'-0.05'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

# (precision, scale)
Digits = tuple[int, int]
MOST_DIGITS = 38
_WRITTEN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_LONGEST_TEXT = 200
# Whole, so that the digits of a hash are none.
_EXPONENT = rb"[\s:,\[\x22][+-]?[0-9.]+[eE][+-]?[0-9]+[\x22\s,\]}]"
# Whose texts Arrow writes without an exponent.
_PLAIN_SCALE = 6


class JsonNumber(float):
    """A number of JSON with a fraction or an exponent, and the digits that it was written with."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> JsonNumber:
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str


def unscaled(value: object, digits: Digits) -> int | str:
    """The decimal as a whole number of its smallest unit, or what it is instead of such a decimal."""
    number = _number(value)
    if isinstance(number, str):
        return number
    precision, scale = digits
    sign, places, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return "NaN or infinity"
    if not number:
        return 0
    if number.adjusted() >= precision - scale:
        return f"more than {precision - scale} digits before the point"
    beyond = exponent + scale
    if beyond < 0 and any(places[beyond:]):
        return f"more than {scale} digits after the point"
    kept = places[:beyond] if beyond < 0 else places + (0,) * beyond
    whole = int("".join(map(str, kept)) or "0")
    return -whole if sign else whole


def _number(value: object) -> Decimal | str:
    match value:
        case bool():
            return "boolean"
        case int():
            return Decimal(value)
        case Decimal():
            return value
        case JsonNumber():
            return _parsed(value.text)
        case str():
            fits = len(value) <= _LONGEST_TEXT and re.fullmatch(_WRITTEN, value)
            return _parsed(value) if fits else "another text"
        case float():
            return "number that is no exact decimal"
        case list():
            return "array"
        case dict():
            return "object"
    return type(value).__name__


def _parsed(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return "a number of another size"


def decimal_text(number: int, scale: int) -> str:
    """The digits of a decimal, always as many after the point, so that equal ones are one text."""
    text = str(abs(number)).zfill(scale + 1)
    whole, fraction = text[: len(text) - scale], text[len(text) - scale :]
    return f"{'-' if number < 0 else ''}{whole}{'.' * bool(scale)}{fraction}"


def exact_text(value: object, digits: Digits) -> str | None:
    """The text of a value that is null or such a decimal. Raises ValueError for another."""
    if value is None:
        return None
    number = unscaled(value, digits)
    if isinstance(number, str):
        raise ValueError(number)
    return decimal_text(number, digits[1])


def json_type(digits: Digits) -> pa.DataType:
    """What Arrow's JSON reader reads decimals as without an overflow, which it would not tell of.

    It lets numbers of `precision` digits before the point through: `texts_of` looks for these.
    """
    precision, scale = digits
    kind: pa.DataType = (
        pa.decimal128(precision, scale)
        if precision + scale <= MOST_DIGITS
        else pa.decimal256(precision, scale)
    )
    return kind


def may_have_exponents(blob: bytes) -> bool:
    """Whether a number or text of the JSON may be one with an exponent: Arrow's reader fails on some of them.

    On 1e-999999999 it ends the process, hence nothing that may be one is left to it.
    """
    return b"\\u00" in blob or re.search(_EXPONENT, blob) is not None


def texts_of(column: pa.ChunkedArray, digits: Digits) -> pa.Array:
    """A column that was read as `json_type` as texts. Raises ValueError for what is too large."""
    precision, scale = digits
    values = column.combine_chunks()
    wide = values.cast(pa.decimal256(76, scale))
    limit = pa.scalar(Decimal(10) ** (precision - scale), pa.decimal256(76, scale))
    if pc.any(pc.greater_equal(pc.abs(wide), limit)).as_py():
        raise ValueError("too large")
    if scale <= _PLAIN_SCALE:
        return values.cast(pa.string())
    return pa.array([None if value is None else f"{value:f}" for value in values.to_pylist()], pa.string())


def parsed(texts: pa.Array | pa.ChunkedArray, scale: int) -> pa.Array | pa.ChunkedArray:
    """Texts of this module as decimals of Arrow."""
    return texts.cast(pa.decimal128(MOST_DIGITS, scale))


def scalars(values: Sequence[object], digits: Digits) -> list[Decimal]:
    """Bounds and values of a job file, which fit."""
    return [Decimal(text) for text in (exact_text(written(value), digits) for value in values) if text]


def written(value: object) -> object:
    """A number of a job file with the digits that it is written with."""
    return str(value) if isinstance(value, float) else value
