"""Fields that a job could have of a JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flink_jobs.run.proposed import Leaf, is_name, list_of, list_of_objects, map_of
from flink_jobs.spec import FieldType
from udfs.records.json_schema import JsonSchema

_TYPES: dict[str, FieldType] = {
    "boolean": "boolean",
    "integer": "long",
    "number": "double",
    "string": "string",
}
_CHOICES = ("oneOf", "anyOf")


def leaves(schema: JsonSchema) -> Iterator[Leaf]:
    """All places at the top and in objects below."""
    return _below(schema, schema.document, (), False, ())


def row(schema: JsonSchema) -> Iterator[Leaf] | None:
    """The places of what a change of a database has as `after`, if it has."""
    top, _ = without_null(schema, schema.document)
    properties = top.get("properties")
    after = properties.get("after") if isinstance(properties, dict) else None
    part, _ = without_null(schema, after)
    return _below(schema, part, (), False, ()) if part.get("properties") else None


def _below(
    schema: JsonSchema, part: object, path: tuple[str, ...], nullable: bool, above: tuple[int, ...]
) -> Iterator[Leaf]:
    """`above` are the objects around, by the identity of their properties."""
    here, with_null = without_null(schema, part)
    nullable |= with_null
    properties = here.get("properties")
    if not isinstance(properties, dict) or not properties:
        yield Leaf(path, not nullable, _found(here), _type(here), _written(schema, here))
    elif id(properties) in above:
        yield Leaf(path, False, "an object within itself")
    else:
        for name, inner in properties.items():
            absent = nullable or name not in required_names(here)
            yield from _below(schema, inner, (*path, name), absent, (*above, id(properties)))


def required_names(part: dict[str, Any]) -> list[str]:
    """The properties that an object must have."""
    given = part.get("required")
    return given if isinstance(given, list) else []


def without_null(schema: JsonSchema, part: object) -> tuple[dict[str, Any], bool]:
    """What the part says of values that are not null, and whether it also takes null."""
    found = schema.target(part)
    here: dict[str, Any] = found if isinstance(found, dict) else {}
    for choice in _CHOICES:
        branches = here.get(choice)
        if isinstance(branches, list) and len(branches) == 2:
            targets = [schema.target(each) for each in branches]
            others = [each for each in targets if not (isinstance(each, dict) and each.get("type") == "null")]
            if len(others) == 1 and isinstance(others[0], dict):
                return others[0], True
    kinds = here.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        others = [kind for kind in kinds if kind != "null"]
        return {**here, "type": others[0] if len(others) == 1 else others}, True
    return here, False


def _type(part: dict[str, Any]) -> FieldType | None:
    kind = part.get("type")
    if isinstance(kind, str):
        return None if part.get("contentEncoding") == "base64" else _TYPES.get(kind)
    values = part.get("enum")
    texts = kind is None and isinstance(values, list) and all(isinstance(each, str) for each in values)
    return "string" if texts else None


def _written(schema: JsonSchema, part: dict[str, Any]) -> str | None:
    """What is more than one of the plain types."""
    kind = part.get("type")
    if kind == "string" and part.get("contentEncoding") == "base64":
        return "bytes"
    if kind == "object" and isinstance(part.get("additionalProperties"), dict):
        return map_of(_value(schema, part["additionalProperties"]))
    return _list(schema, part["items"]) if kind == "array" and isinstance(part.get("items"), dict) else None


def _list(schema: JsonSchema, items: object) -> str | None:
    item, _ = without_null(schema, items)
    properties = item.get("properties")
    if not isinstance(properties, dict):
        return list_of(_value(schema, item))
    return list_of_objects(
        {name: _value(schema, inner) for name, inner in properties.items() if is_name(name)}
    )


def _value(schema: JsonSchema, part: object) -> str | None:
    here, _ = without_null(schema, part)
    return _type(here) or ("bytes" if _written(schema, here) == "bytes" else None)


def _found(part: dict[str, Any]) -> str:
    kind = part.get("type")
    if isinstance(kind, list):
        return " or ".join(str(each) for each in kind)
    return kind if isinstance(kind, str) else "any value"
