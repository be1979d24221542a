"""What a validator says about a wrong value, in words for the person who wrote the job file.

raise wrong("a duration such as 5m", suggestion="90m")
raise wrong_at({("every",): wrong("a duration that divides hop", "7m")})
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from flink_jobs.errors import Location

WRONG = "job_file"
_LONGEST_SHOWN = 60


def wrong(
    expected: str,
    found: str | None = None,
    *,
    suggestion: str | None = None,
    choices: Sequence[str] = (),
) -> PydanticCustomError:
    """An error that reads "must be EXPECTED; got FOUND"; without `found`, the value itself is described."""
    context = {
        "expected": expected,
        "found": found,
        "suggestion": suggestion,
        "choices": tuple(choices),
    }
    return PydanticCustomError(WRONG, "must be {expected}", context)


def wrong_at(errors: Mapping[Location, PydanticCustomError]) -> ValidationError:
    """Several errors below the value that is being validated, each at its own place."""
    details = [InitErrorDetails(type=error, loc=place, input=None) for place, error in errors.items()]
    return ValidationError.from_exception_data("job file", details, hide_input=True)


def describe(value: object) -> str:
    """A value as a person would write it, cut short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return f"{'-' if value < 0 else ''}.{'nan' if value != value else 'inf'}"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list():
            return _describe_list(value)
        case str() if len(value) > _LONGEST_SHOWN:
            return f"{value[:_LONGEST_SHOWN]!r} and more"
        case int() if abs(value) >= 10**_LONGEST_SHOWN:
            return "a very long number"
    return repr(value)


def printable(text: str) -> str:
    """The text with what a terminal might obey, or cannot show, as escapes."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _describe_list(items: list[object]) -> str:
    if not items:
        return "an empty list"
    if len(items) > 10 or any(isinstance(item, dict | list) for item in items):
        return "a list"
    shown = ", ".join("null" if item is None else describe(item) for item in items)
    return f"[{shown}]" if len(shown) <= _LONGEST_SHOWN else "a list"
