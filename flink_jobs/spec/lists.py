"""How a job file writes lists (`list<string>`), maps (`map<string, double>`), vectors (`vector<float, 384>`).

And decimals, lengths, patterns.

>>> spelled_out({"type": "list<{sku: string, qty: long}>", "required": True})
{'type': 'list', 'required': True, 'members': {'sku': 'string', 'qty': 'long'}}
>>> spelled_out({"type": "list<string>"})
{'type': 'list', 'element': 'string'}
>>> spelled_out({"type": "vector<float, 384>"})
{'type': 'vector', 'size': 384}
>>> spelled_out({"type": "map<string, double>"})
{'type': 'map', 'element': 'double'}
>>> decimal_spelled_out({"type": "decimal(10, 2)"})
{'type': 'decimal', 'precision': 10, 'scale': 2}
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from udfs.records.fields import whole_pattern
from udfs.records.lists import LARGEST_LENGTH

MEMBER_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,199}"
_TYPE = r"string|double|long|boolean|bytes"
_DECIMAL = r"decimal\s*\(\s*[0-9]{1,2}\s*(,\s*[0-9]{1,2}\s*)?\)"
_MEMBER = rf"\s*({MEMBER_NAME})\s*:\s*({_TYPE})\s*"
_LARGEST_TEXT = 10_000
# What editors accept as a list, a vector or a map in words.
_MEMBERS = rf"\{{{_MEMBER}(,{_MEMBER})*\}}"
_LIST = rf"list\s*<\s*({_TYPE}|{_MEMBERS})\s*>"
_VECTOR = r"vector\s*<\s*(float|double)\s*,\s*[0-9]+\s*>"
_MAP = rf"map\s*<\s*string\s*,\s*({_TYPE})\s*>"
WRITTEN = rf"^\s*({_LIST}|{_VECTOR}|{_MAP}|{_DECIMAL})\s*$"
WRITTEN_DECIMAL = rf"^\s*{_DECIMAL}\s*$"


def spelled_out(data: Any) -> Any:
    """A field whose type is written as a list of something, with that as its own key."""
    written = data.get("type") if isinstance(data, dict) else None
    if not isinstance(written, str):
        return data
    if re.match(r"\s*vector\s*<", written):
        return _vector(data, written)
    if re.match(r"\s*map\s*<", written):
        return _map(data, written)
    if not re.match(r"\s*list\s*<", written):
        return data
    found = _list_of(written)
    if found is None:
        expected = "list<string>, of another type, or list<{sku: string, qty: long}>"
        raise wrong_at({("type",): wrong(expected, describe(written))})
    if given := [key for key in ("element", "members") if key in data]:
        raise wrong_at({(given[0],): wrong("left out, as the type says it", "a value")})
    return {**data, "type": "list", **found}


def decimal_spelled_out(data: Any) -> Any:
    """A field whose type is written as a decimal with its digits, with these as their own keys."""
    written = data.get("type") if isinstance(data, dict) else None
    if not isinstance(written, str) or not re.match(r"\s*decimal\s*\(", written):
        return data
    if not re.match(WRITTEN_DECIMAL, written):
        raise wrong_at({("type",): wrong("decimal(10, 2), or of other digits", describe(written))})
    if given := [key for key in ("precision", "scale") if key in data]:
        raise wrong_at({(given[0],): wrong("left out, as the type says it", "a value")})
    precision, scale = (*map(int, re.findall("[0-9]+", written)), 0)[:2]
    return {**data, "type": "decimal", "precision": precision, "scale": scale}


def _vector(data: dict[str, Any], written: str) -> dict[str, Any]:
    found = re.fullmatch(r"\s*vector\s*<\s*(float|double)\s*,\s*([0-9]{1,9})\s*>\s*", written)
    if found is None:
        raise wrong_at({("type",): wrong("vector<float, 384>, or of another size", describe(written))})
    if "size" in data:
        raise wrong_at({("size",): wrong("left out, as the type says it", "a value")})
    return {**data, "type": "vector", "size": int(found[2])}


def _map(data: dict[str, Any], written: str) -> dict[str, Any]:
    found = re.fullmatch(rf"\s*{_MAP}\s*", written)
    if found is None:
        raise wrong_at({("type",): wrong("map<string, double>, or of another type", describe(written))})
    if "element" in data:
        raise wrong_at({("element",): wrong("left out, as the type says it", "a value")})
    return {**data, "type": "map", "element": found[1]}


def _list_of(written: str) -> dict[str, Any] | None:
    """`element` or `members`; None for what is no list of values or objects."""
    inner = re.fullmatch(r"\s*list\s*<\s*(.*?)\s*>\s*", written) if len(written) < _LARGEST_TEXT else None
    if inner is None:
        return None
    if re.fullmatch(_TYPE, inner[1]):
        return {"element": inner[1]}
    if not (inner[1].startswith("{") and inner[1].endswith("}")):
        return None
    members = [re.fullmatch(_MEMBER, part) for part in inner[1][1:-1].split(",")]
    named = {found[1]: found[2] for found in members if found}
    return {"members": named} if len(named) == len(members) else None


def parse_length(value: object) -> tuple[int | None, int | None]:
    """Bounds of a length."""
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_bound, value)):
        raise wrong(f"[low, high], two whole numbers from 0 to {LARGEST_LENGTH} of which one may be null")
    low, high = value
    if low is None and high is None:
        raise wrong("[low, high] with at least one number")
    if low is not None and high is not None and low > high:
        raise wrong("[low, high] with low at most high", suggestion=f"[{high}, {low}]")
    return low, high


def _is_bound(value: object) -> bool:
    return value is None or (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_LENGTH
    )


def parse_pattern(value: object) -> str:
    """A regular expression as workers understand it."""
    if not isinstance(value, str) or not 0 < len(value) <= 1000:
        raise wrong("a regular expression of at most 1000 characters")
    for pattern in (value, whole_pattern(value)):
        try:
            pc.match_substring_regex(pa.scalar(""), pattern)
        except pa.ArrowInvalid as error:
            raise wrong("a regular expression of RE2", f"{value!r:.60} ({_reason(str(error))})") from None
    return value


def _reason(message: str) -> str:
    return message.partition("Invalid regular expression: ")[2][:100] or "not understood"
