"""The scalar values of a job file: durations, sizes, numbers, names and addresses.

parse_duration("5m")   # 300000, milliseconds
parse_size("512 KB")   # 512000, bytes
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from flink_jobs.spec.diagnostics import wrong

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
UNITS_BYTES = {"B": 1, "KB": 1_000, "MB": 1_000_000}
LONGEST_MS = 999 * UNITS_MS["d"]  # Flink SQL has no longer intervals
LARGEST_RECORD = 100 * UNITS_BYTES["MB"]
RESERVED_COLUMNS = frozenset({"event_time"})

_DURATION = r"[0-9]{1,12}(ms|s|m|h|d)"
_SIZE = r"[0-9]{1,9} ?(B|KB|MB)"
_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_SPELLED_UNITS = {
    "milli": "ms",
    "ms": "ms",
    "s": "s",
    "sec": "s",
    "min": "m",
    "m": "m",
    "h": "h",
    "hr": "h",
    "hour": "h",
    "d": "d",
    "day": "d",
}


@dataclass(frozen=True, eq=False)
class Parsed:
    """Annotates a type with the function that reads it from YAML and with its JSON Schema."""

    parse: Callable[[object], object]
    json: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> dict[str, Any]:
        return dict(self.json)


def matching(pattern: str, expected: str) -> Parsed:
    """Text that the whole of `pattern` matches."""

    def parse(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise wrong(expected)

    return Parsed(parse, {"type": "string", "pattern": f"^{pattern}$"})


def _version(value: object) -> int:
    if isinstance(value, int) and value == 1 and value is not True:
        return 1
    raise wrong("1, the only version of keys so far")


FileVersion = Annotated[int, Parsed(_version, {"type": "integer", "const": 1})]


def not_owned(what: str, owners: Mapping[str, str]) -> AfterValidator:
    """A name that no other key of the job file decides: `owners` are these keys, `what` is "an option"."""

    def check(name: str) -> str:
        if name in owners:
            raise wrong(f"{what} other than {name}, which comes from {owners[name]}", repr(name))
        return name

    return AfterValidator(check)


def overridable(names: Collection[str]) -> AfterValidator:
    """A name that another key decides, but that may be set against it, with a reason."""

    def check(name: str) -> str:
        if name not in names:
            raise wrong(f"one of: {', '.join(names)}", repr(name))
        return name

    return AfterValidator(check)


def whole(low: int, high: int) -> Parsed:
    """An integer from `low` to `high`."""

    def parse(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise wrong(f"an integer from {low} to {high}")

    return Parsed(parse, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float) -> Parsed:
    """A number from `low` to `high`."""

    def parse(value: object) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        raise wrong(f"a number from {low:g} to {high:g}")

    return Parsed(parse, {"type": "number", "minimum": low, "maximum": high})


def parse_share(value: object) -> float:
    """A share as a number from 0 to 1, or in per cent such as 5%."""
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if isinstance(value, bool) or not 0 <= share <= 1:
        raise wrong("a share from 0 to 1, or per cent such as 5%", repr(value))
    return share


SHARE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
    ]
}
Share = Annotated[float, Parsed(parse_share, SHARE_SCHEMA)]


def parse_duration(value: object, minimum: int = 0) -> int:
    """Milliseconds of a text such as "200ms", "30s", "5m", "6h" or "1d"."""
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        raise wrong("a duration such as 200ms, 30s, 5m, 6h or 1d", suggestion=_respelled_duration(value))
    digits, unit = re.fullmatch(r"([0-9]+)([a-z]+)", value).groups()  # type: ignore[union-attr]
    duration = int(digits) * UNITS_MS[unit]
    if not minimum <= duration <= LONGEST_MS:
        raise wrong(f"a duration from {format_duration(minimum)} to {format_duration(LONGEST_MS)}")
    return duration


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads as this many milliseconds."""
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % UNITS_MS[unit] == 0:
            return f"{milliseconds // UNITS_MS[unit]}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _respelled_duration(value: object) -> str | None:
    match = re.fullmatch(r"\s*([0-9]{1,12})\s*([A-Za-z]{1,12}?)s?\s*", str(value))
    unit = _SPELLED_UNITS.get(re.sub("(ute|ond|isecond)$", "", match[2].lower())) if match else None
    return f"{int(match[1])}{unit}" if match and unit else None


def _duration(minimum: int) -> Parsed:
    schema = {"type": "string", "pattern": f"^{_DURATION}$", "examples": ["200ms", "30s", "5m", "6h", "1d"]}
    return Parsed(lambda value: parse_duration(value, minimum), schema)


def parse_size(value: object) -> int:
    """Bytes of an integer or of a text such as "512 KB" (1 KB is 1,000 bytes)."""
    size = value
    if isinstance(value, str) and re.fullmatch(_SIZE, value):
        digits, unit = re.fullmatch(r"([0-9]+) ?([A-Z]+)", value).groups()  # type: ignore[union-attr]
        size = int(digits) * UNITS_BYTES[unit]
    if not isinstance(size, int) or isinstance(size, bool):
        upper = str(value).strip().upper()
        respelled = upper if re.fullmatch(_SIZE, upper) else None
        raise wrong("a size in bytes, or such as 512 KB or 1 MB", suggestion=respelled)
    if not 1 <= size <= LARGEST_RECORD:
        raise wrong("a size from 1 B to 100 MB")
    return size


def parse_column_name(value: object) -> str:
    """A name for a column of the job."""
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        cleaned = re.sub(r"[^A-Za-z0-9_]+", "_", str(value))[:100]
        suggestion = cleaned if re.fullmatch(_NAME, cleaned) else None
        raise wrong("a column name of letters, digits and _, starting with a letter", suggestion=suggestion)
    if value in RESERVED_COLUMNS:
        raise wrong("a column name that is not reserved")
    return value


def parse_brokers(value: object) -> str:
    """A comma-separated list of host:port."""
    if not isinstance(value, str) or not all(_is_address(part.strip()) for part in value.split(",")):
        raise wrong("host:port, or several with commas between")
    return ",".join(part.strip() for part in value.split(","))


def _is_address(text: str) -> bool:
    match = re.fullmatch(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", text)
    return bool(match) and 1 <= int(match[2]) <= 65535  # type: ignore[index]


def parse_scalar(value: object) -> str | int | float | bool:
    """A string, number or boolean as it is."""
    if isinstance(value, str | int | float | bool):
        return value
    raise wrong("a string, a number, true or false")


def as_text(value: str | int | float | bool) -> str:
    """A scalar as Java reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_property(value: object) -> str:
    """A Java client property, as text."""
    if isinstance(value, str):
        return value
    raise wrong("a string or a number")


Expression = Annotated[str, matching(r"(?=[\s\S]*\S)[\s\S]{1,10000}", "an SQL expression")]
Duration = Annotated[int, _duration(0)]
PositiveDuration = Annotated[int, _duration(1)]
CheckpointInterval = Annotated[int, _duration(10)]
Size = Annotated[
    int,
    Parsed(
        parse_size,
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LARGEST_RECORD},
                {"type": "string", "pattern": f"^{_SIZE}$"},
            ]
        },
    ),
]
_COLUMN_SCHEMA = {"type": "string", "pattern": f"^(?!({'|'.join(RESERVED_COLUMNS)})$){_NAME}$"}
ColumnName = Annotated[str, Parsed(parse_column_name, _COLUMN_SCHEMA)]
Brokers = Annotated[
    str, Parsed(parse_brokers, {"type": "string", "pattern": r"^[^\s,]+:[0-9]+( *, *[^\s,]+:[0-9]+)*$"})
]
Scalar = Annotated[
    str | int | float | bool, Parsed(parse_scalar, {"type": ["string", "integer", "number", "boolean"]})
]
Property = Annotated[str, Parsed(parse_property, {"type": ["string", "integer", "number", "boolean"]})]
