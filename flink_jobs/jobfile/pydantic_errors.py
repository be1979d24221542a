"""Turns validation errors into diagnostics: no word of the validating library gets through."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flink_jobs.errors import Diagnostic, Location
from flink_jobs.jobfile.reader import HOLE
from flink_jobs.spec import JobSpec
from flink_jobs.spec.diagnostics import WRONG, describe
from flink_jobs.spec.secrets import is_private
from flink_jobs.spec.section import Section, known_keys
from udfs.suggest import nearest

_EXPECTED = {
    "missing": "given",
    "string_type": "a string",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
_OTHER_NAMES = {
    "str": ("string",),
    "text": ("string",),
    "varchar": ("string",),
    "float": ("double",),
    "number": ("double",),
    "int": ("long",),
    "integer": ("long",),
    "bigint": ("long",),
    "bool": ("boolean",),
}
_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def diagnostics_in(
    error: ValidationError,
    data: object,
    incomplete: Collection[Location],
    root: type[Section] = JobSpec,
) -> list[Diagnostic]:
    """The diagnostics of a rejected job file, without those that only follow from another one.

    `incomplete` holds the locations of mappings of which a key could not be read.
    """
    details = error.errors(include_url=False)
    misspelled = {meant_key(detail["loc"], root) for detail in details if detail["type"] == "extra_forbidden"}
    return [
        _diagnostic(detail, location, root)
        for detail in details
        if value_at(location := existing(detail["loc"], data), data) is not HOLE
        and not (detail["type"] == "missing" and (location in misspelled or location[:-1] in incomplete))
        and not (detail["type"] == "too_short" and detail["input"])  # short of valid items only
    ]


def meant_key(location: Location, root: type[Section] = JobSpec) -> Location | None:
    """The location of the known key that an unknown one probably means."""
    key = nearest(str(location[-1]), known_keys(root, location[:-1]))
    return (*location[:-1], key) if key else None


def value_at(location: Location, data: object) -> object:
    """The value at a location, or that of the scalar or hole on the way; None if there is none."""
    for key in location:
        if isinstance(data, dict):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
    return data


def existing(location: Location, data: object) -> Location:
    """The location in the file: shorthands have no keys below them, and a wrong key is at itself."""
    location = tuple(key for key in location if key != "[key]")
    for depth, key in enumerate(location):
        if not isinstance(data, dict | list):
            return location[:depth]
        data = value_at((key,), data)
    return location


def _diagnostic(detail: ErrorDetails, location: Location, root: type[Section]) -> Diagnostic:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == WRONG:
        found = context["found"] or _found(value, location)
        name = value if isinstance(value, str) and not is_private(location) else None
        return Diagnostic(
            location, context["expected"], found, context["suggestion"], name, context["choices"]
        )
    if kind == "extra_forbidden":
        keys = known_keys(root, location[:-1])
        key = str(location[-1])
        return Diagnostic(location, f"a known key ({', '.join(keys)})", describe(key), None, key, keys)
    if kind == "literal_error":
        choices = tuple(re.findall(r"'([^']*)'", str(context["expected"])))
        expected = f"one of: {', '.join(choices)}" if len(choices) > 1 else choices[0]
        suggestion = next((name for name in _OTHER_NAMES.get(str(value), ()) if name in choices), None)
        name = None if is_private(location) else str(value)
        return Diagnostic(location, expected, _found(value, location), suggestion, name, choices)
    if kind in ("too_short", "too_long"):
        return _wrong_length(location, value, context, kind == "too_short")
    found = "nothing" if kind == "missing" else _found(value, location)
    suggestion = _BOOLEANS.get(str(value).lower()) if kind == "bool_type" else None
    return Diagnostic(location, _EXPECTED.get(kind, "valid"), found, suggestion)


def _found(value: object, location: Location) -> str:
    if value is not None and is_private(location):
        kinds: dict[type, str] = {dict: "a mapping", list: "a list", str: "a string"}
        return kinds.get(type(value), "another value") + " (not shown)"
    return describe(value)


def _wrong_length(location: Location, value: object, context: dict[str, Any], short: bool) -> Diagnostic:
    what = "a mapping" if isinstance(value, dict) else "a list"
    if short:
        return Diagnostic(location, f"{what} with at least {context['min_length']} entry", describe(value))
    return Diagnostic(
        location, f"{what} with at most {context['max_length']} entries", str(context["actual_length"])
    )
