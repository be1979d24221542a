"""Columns of text, as CSV has them, in the type that is wanted, or that all their values look like.

>>> from_text(pa.array(["02139", "NA", ""]), "string").to_pylist()
['02139', 'NA', None]
>>> from_text(pa.array(["1", "NA", ""]), "long").to_pylist()
[1, None, None]
>>> looks_like(pa.array(["02139", "2139"])), looks_like(pa.array(["1", ""])), looks_like(pa.array(["True"]))
('string', 'long', 'boolean')
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from udfs.tables.columns import ColumnError, as_type
from udfs.types import ARROW, ColumnType

# What pandas, R, Arrow and databases write for a value that is missing. In a text they may be values.
NOTHING = (
    "", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "Null", "None", "none",
    "NaT", r"\N",
)  # fmt: skip
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")

_INTEGER = r"[+-]?[0-9]+"
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|Inf|infinity|Infinity)"
# Numbers as programs write them: 02139 and +49 are codes.
_PLAIN_INTEGER = r"-?(0|[1-9][0-9]*)"
_PLAIN_NUMBER = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|-?inf|-?Infinity"
_BOOLEAN = "true|false|True|False|TRUE|FALSE"
_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_ZONE = r"[0-9]{2}:[0-9]{2}.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


def from_text(texts: pa.Array, wanted: ColumnType) -> pa.Array:
    """The texts as ARROW[wanted]; raises ColumnError with the first that is none.

    An empty text is null, and so is NA, NaN, null and the like, except in strings.
    """
    if wanted == "string":
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    texts = _present(pc.utf8_trim_whitespace(texts))
    if wanted == "boolean":
        return _boolean(texts)
    if wanted == "timestamp":
        return _timestamp(texts)
    if wanted == "long" and _all(texts, _INTEGER):
        return _parsed(pc.utf8_ltrim(texts, "+"), pa.int64(), wanted)
    _check(texts, _NUMBER, wanted)
    numbers = _parsed(pc.utf8_ltrim(texts, "+"), pa.float64(), wanted)
    return as_type(numbers, wanted)


def looks_like(texts: pa.Array) -> ColumnType | None:
    """The narrowest type that all texts can be without losing a character that matters; None without any.

    Digits after a zero, such as 02139, and more than 64 bits hold, are text.
    """
    found = _present(texts).drop_null()
    if not len(found):
        return None
    forms: dict[ColumnType, str] = {
        "long": _PLAIN_INTEGER,
        "double": _PLAIN_NUMBER,
        "boolean": _BOOLEAN,
        "timestamp": _TIME,
    }
    for kind, form in forms.items():
        if _all(found, form) and fits(found, kind):
            return kind
        if kind == "long" and _all(found, form):
            return "string"
    return "string"


def fits(texts: pa.Array, kind: ColumnType) -> bool:
    """Whether all the texts can be of a type."""
    try:
        from_text(texts, kind)
    except ColumnError:
        return False
    return True


def _present(texts: pa.Array) -> pa.Array:
    nothing = pc.is_in(texts, value_set=pa.array(NOTHING))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), texts)


def _all(texts: pa.Array, form: str) -> bool:
    matched = pc.all(pc.match_substring_regex(texts, f"^({form})$"))
    return matched.as_py() is not False


def _check(texts: pa.Array, form: str, wanted: ColumnType) -> None:
    matched = pc.match_substring_regex(texts, f"^({form})$")
    odd = texts.filter(pc.fill_null(pc.invert(matched), False))
    if len(odd):
        raise ColumnError(wanted, repr(odd[0].as_py()))


def _parsed(texts: pa.Array, type_: pa.DataType, wanted: ColumnType) -> pa.Array:
    try:
        return texts.cast(type_)
    except pa.ArrowException as error:
        raise ColumnError(wanted, str(error)) from None


def _boolean(texts: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(texts)
    _check(lower, "|".join((*_TRUE, *_FALSE)).replace(".", r"\."), "boolean")
    flags = pc.is_in(lower, value_set=pa.array(_TRUE))
    return pc.if_else(pc.is_valid(texts), flags, pa.scalar(None, pa.bool_()))


def _timestamp(texts: pa.Array) -> pa.Array:
    """To the millisecond; without a zone, as UTC."""
    _check(texts, _TIME, "timestamp")
    texts = pc.replace_substring_regex(texts, r"(\.[0-9]{3})[0-9]+", r"\1")
    texts = pc.replace_substring_regex(texts, r"^(.{10})$", r"\1T00:00")
    zoned = pc.match_substring_regex(texts, _ZONE)
    texts = pc.if_else(zoned, texts, pc.binary_join_element_wise(texts, "Z", ""))
    return _parsed(texts, ARROW["timestamp"], "timestamp")
