"""What a schema registry has of a subject, and the fields of a job that are made of it.

newest(job.source.schema_registry, job.source.subject)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flink_jobs.errors import InputError, WorkError
from flink_jobs.plan.formats import registry_params
from flink_jobs.spec import FieldType, SchemaRegistry
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.avro_values import converter
from udfs.records.decimals import MOST_DIGITS
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import NoSuchSchemaError, RegistryError
from udfs.records.schema_registry import SchemaRegistry as Client

# The first that fits: times as text, and decimals within lists, so that nothing of them is lost.
_TYPES: tuple[FieldType, ...] = ("boolean", "long", "double", "string")
_TEXTS: tuple[FieldType, ...] = ("string", "boolean", "long", "double")
MOST_FIELDS = 1_000


@dataclass(frozen=True)
class Registered:
    """The newest version of a subject."""

    version: int | None
    node: Node


@dataclass(frozen=True)
class Proposed:
    """A field for `source.schema`; `type` is None for what is no plain column, and `found` says what it is.

    `written` is how the type of a list, a map, a decimal or bytes is written.
    """

    name: str
    path: str
    type: FieldType | None
    required: bool
    found: str
    written: str | None = None


def newest(registry: SchemaRegistry, subject: str) -> tuple[Registered, str | None]:
    """The newest schema of the subject, and what its compatibility must be.

    Raises InputError for a subject that is not there or no Avro, WorkError when the registry does not answer.
    """
    return newest_at(registry_params(registry), subject)


def newest_at(params: RegistryParams, subject: str) -> tuple[Registered, str | None]:
    """The same, of a registry that no job file names."""
    client = Client(params)
    try:
        schema = client.latest(subject)
        level = client.compatibility(subject)
    except NoSuchSchemaError as error:
        raise InputError(f"the subject must be one of the registry; got {subject!r}: {error}") from error
    except RegistryError as error:
        raise WorkError(f"{subject}: {error}") from error
    if schema.kind != "AVRO":
        raise InputError(f"the subject must have an Avro schema; {subject!r} has {schema.kind}")
    try:
        node = parse_schema(schema.text, (text for _, text in schema.references))
    except SchemaError as error:
        raise InputError(
            f"the subject must have a schema that can be read; that of {subject!r} {error}"
        ) from error
    if node.kind != "record":
        raise InputError(f"the subject must have a schema of records; that of {subject!r} is {node.name}")
    return Registered(schema.version, node), level


def proposed_fields(node: Node) -> list[Proposed]:
    """All that may be a field of the job, and what may not, at the top and in records below."""
    found: list[Proposed] = []
    taken: set[str] = set()
    for path, leaf, nullable in _leaves(node, (), False):
        name = _free("_".join(path), taken)
        taken.add(name)
        kind = _type(leaf)
        found.append(Proposed(name, ".".join(path), kind, not nullable, leaf.name, _written(leaf)))
        if len(found) > MOST_FIELDS:
            raise InputError(f"the schema must have at most {MOST_FIELDS} fields; got more")
    return found


def _leaves(
    node: Node, path: tuple[str, ...], nullable: bool
) -> Iterator[tuple[tuple[str, ...], Node, bool]]:
    if node.kind == "record":
        for field in node.fields:
            yield from _leaves(field.node, (*path, field.name), nullable)
    elif node.kind == "union":
        others = [branch for branch in node.branches if branch.kind != "null"]
        nullable |= len(others) < len(node.branches)
        if len(others) == 1:
            yield from _leaves(others[0], path, nullable)
        else:
            yield path, node, nullable
    else:
        yield path, node, nullable


def _type(leaf: Node) -> FieldType | None:
    order = _TEXTS if leaf.logical else _TYPES
    return next((kind for kind in order if converter(leaf, kind)), None)


def _written(leaf: Node) -> str | None:
    """What is more than one of the plain types."""
    if leaf.logical == "decimal" and 0 < leaf.precision <= MOST_DIGITS:
        return f"decimal({leaf.precision}, {leaf.scale})"
    if leaf.items is None:
        return _bytes(leaf)
    item = _without_null(leaf.items)
    if leaf.kind == "map":
        kind = _type(item) or _bytes(item)
        return f"map<string, {kind}>" if kind else None
    return _list(item)


def _bytes(leaf: Node) -> str | None:
    return "bytes" if leaf.kind in ("bytes", "fixed") and not leaf.logical else None


def _list(item: Node) -> str | None:
    """An array as the type of a field, with the members that can be read."""
    if item.kind != "record":
        kind = _type(item) or _bytes(item)
        return f"list<{kind}>" if kind else None
    nodes = {field.name: _without_null(field.node) for field in item.fields}
    kinds = {name: _type(node) or _bytes(node) for name, node in nodes.items()}
    members = ", ".join(f"{name}: {kind}" for name, kind in kinds.items() if kind)
    return f"list<{{{members}}}>" if members else None


def _without_null(node: Node) -> Node:
    """The one type of a union with null, or the node itself."""
    others = [branch for branch in node.branches if branch.kind != "null"]
    return others[0] if len(others) == 1 else node


def _free(name: str, taken: set[str]) -> str:
    """A name that a column may have, and no other has."""
    usable = name.lstrip("_") or "field"
    usable = f"field_{usable}" if usable[0].isdigit() or usable == "event_time" else usable
    number, free = 1, usable
    while free in taken:
        number += 1
        free = f"{usable}_{number}"
    return free
