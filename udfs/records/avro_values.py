r"""What Avro stores, as values of a job's columns: exact, and the same text on each machine.

>>> as_text(Node("long", logical="timestamp-millis"))(1_357_034_400_005)
'2013-01-01T10:00:00.005Z'
>>> as_text(Node("bytes", logical="decimal", precision=9, scale=2))(b"\x01\x00")
'2.56'
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from uuid import UUID

from udfs.records.avro_schema import Node
from udfs.records.problems import Problem, RejectedError
from udfs.types import ColumnType

Convert = Callable[[object], object]
_UNITS = {"millis": 3, "micros": 6, "nanos": 9}
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS = range(date.min.toordinal() - _EPOCH, date.max.toordinal() - _EPOCH + 1)
_LARGEST_DECIMAL = 416  # bytes of 1000 digits


def converter(node: Node, wanted: ColumnType) -> Convert | None:
    """How a value of the node becomes one of the column; None where it cannot be one.

    Integers stay what is stored, also where they stand for times. All else is Avro's own promotion.
    """
    match wanted, node.kind:
        case ("long", "int" | "long") | ("boolean", "boolean"):
            return same
        case "double", "int" | "long" | "float" | "double":
            return same
        case "double", "bytes" | "fixed" if node.logical == "decimal":
            return lambda value: float(_decimal(node, value))
        case "decimal", "bytes" | "fixed" if node.logical == "decimal":
            return lambda value: _decimal(node, value)
        case ("decimal", "int" | "long") | ("bytes", "bytes" | "fixed") if not node.logical:
            return same
        case "decimal", "string":
            return same
        case "string", _:
            return as_text(node)
    return None


def same(value: object) -> object:
    """The value itself."""
    return value


def as_text(node: Node) -> Convert | None:
    """Times in ISO 8601, decimals in digits; None for what has no one text."""
    kind, logical = node.kind, node.logical
    if kind in ("string", "enum"):
        return same
    if logical == "decimal":
        return lambda value: f"{_decimal(node, value):f}"
    if logical == "uuid":
        return lambda value: str(UUID(bytes=value))  # type: ignore[arg-type]
    if logical == "date":
        return lambda value: _day(value)
    if logical and logical.startswith("time-"):
        digits = _UNITS[logical.rpartition("-")[2]]
        return lambda value: _time(value, digits)
    if logical and "timestamp-" in logical:
        digits, ending = _UNITS[logical.rpartition("-")[2]], "" if logical.startswith("local") else "Z"
        return lambda value: timestamp_text(value, digits) + ending
    return None


def _decimal(node: Node, value: object) -> Decimal:
    assert isinstance(value, bytes)
    if len(value) > _LARGEST_DECIMAL:
        _reject(f"a decimal of at most {node.precision} digits")
    number = int.from_bytes(value, "big", signed=True)
    digits = tuple(map(int, str(abs(number))))
    if len(digits) > node.precision:
        _reject(f"a decimal of at most {node.precision} digits")
    return Decimal((int(number < 0), digits, -node.scale))


def _day(value: object) -> str:
    if value not in _DAYS:
        _reject("a date of the years 1 to 9999")
    return date.fromordinal(value + _EPOCH).isoformat()  # type: ignore[operator]


def _time(value: object, digits: int) -> str:
    seconds, fraction = divmod(value, 10**digits)
    if not 0 <= seconds < 86_400:
        _reject("a time of day")
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{fraction:0{digits}}"


def timestamp_text(value: object, digits: int) -> str:
    """The time since 1970 in ISO 8601, without a zone; `digits` of a second. Raises RejectedError."""
    day, rest = divmod(value, 86_400 * 10**digits)
    return f"{_day(day)}T{_time(rest, digits)}"


def _reject(expected: str) -> None:
    raise RejectedError(Problem("contract", "wrong_type", f"expected {expected}, got another value"))
