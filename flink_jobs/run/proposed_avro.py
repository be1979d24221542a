"""Fields that a job could have of an Avro schema."""

from __future__ import annotations

from collections.abc import Iterator

from flink_jobs.run.proposed import Leaf, list_of, list_of_objects, map_of
from flink_jobs.spec import FieldType
from udfs.records.avro_schema import Node
from udfs.records.avro_values import converter
from udfs.records.decimals import MOST_DIGITS

# The first that fits: times as text, and decimals within lists, so that nothing of them is lost.
_TYPES: tuple[FieldType, ...] = ("boolean", "long", "double", "string")
_TEXTS: tuple[FieldType, ...] = ("string", "boolean", "long", "double")


def leaves(node: Node, path: tuple[str, ...] = (), nullable: bool = False) -> Iterator[Leaf]:
    """All places at the top and in records below."""
    if node.kind == "record":
        for field in node.fields:
            yield from leaves(field.node, (*path, field.name), nullable)
        return
    others = [branch for branch in node.branches if branch.kind != "null"]
    nullable |= len(others) < len(node.branches)
    if node.kind == "union" and len(others) == 1:
        yield from leaves(others[0], path, nullable)
    else:
        yield Leaf(path, not nullable, node.name, _type(node), _written(node))


def row(node: Node) -> Iterator[Leaf] | None:
    """The places of what a change of a database has as `after`, if it has."""
    after = next((_without_null(field.node) for field in node.fields if field.name == "after"), None)
    return leaves(after) if after and after.kind == "record" else None


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
        return map_of(_type(item) or _bytes(item))
    return _list(item)


def _bytes(leaf: Node) -> str | None:
    return "bytes" if leaf.kind in ("bytes", "fixed") and not leaf.logical else None


def _list(item: Node) -> str | None:
    """An array as the type of a field, with the members that can be read."""
    if item.kind != "record":
        return list_of(_type(item) or _bytes(item))
    nodes = {field.name: _without_null(field.node) for field in item.fields}
    return list_of_objects({name: _type(node) or _bytes(node) for name, node in nodes.items()})


def _without_null(node: Node) -> Node:
    """The one type of a union with null, or the node itself."""
    others = [branch for branch in node.branches if branch.kind != "null"]
    return others[0] if len(others) == 1 else node
