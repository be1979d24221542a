"""An Avro schema as a tree of nodes, or why it cannot be read safely.

>>> node = parse_schema('{"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "int"]}]}')
>>> node.fields[0].name, [branch.kind for branch in node.fields[0].node.branches]
('a', ['null', 'int'])

fastavro checks the schema. What would let few bytes of a record take endless time or memory is refused:
schemas that contain themselves, and arrays of items that take no bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro

MAX_DEPTH, MAX_LEAVES, MAX_TEXT = 100, 10_000, 1_000_000
# Values without bytes, in one item of an array, for each byte that the item takes at least.
_MAX_EMPTY = 8
_TEMPORAL = frozenset(
    (
        *("date", "time-millis", "time-micros"),
        *(f"{local}timestamp-{unit}" for local in ("", "local-") for unit in ("millis", "micros", "nanos")),
    )
)
_STORED = {
    "date": ("int",),
    "time-millis": ("int",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("string", "fixed"),
}


class SchemaError(ValueError):
    """A schema that is none, or that is not read; the message is for a person."""


@dataclass(frozen=True)
class NamedNode:
    """A field of a record; `default` only counts with `has_default`."""

    name: str
    aliases: tuple[str, ...]
    node: Node
    has_default: bool = False
    default: Any = None


@dataclass(frozen=True)
class Node:
    """A type: `branches` are those of a union, `items` what arrays and maps hold.

    `leaves` and `depth` measure the tree below, `least` is the fewest bytes that a value takes, and `empty`
    how many values below take none. `full_name` is a record's.
    """

    kind: str
    logical: str | None = None
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    branches: tuple[Node, ...] = ()
    fields: tuple[NamedNode, ...] = ()
    items: Node | None = None
    leaves: int = 1
    depth: int = 1
    least: int = 1
    empty: int = 0
    full_name: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What the type is called in messages."""
        return self.logical or self.kind


def parse_schema(text: str, references: Iterable[str] = ()) -> Node:
    """The schema of that JSON text; `references` are texts of schemas that it names, in order.

    Raises SchemaError.
    """
    named: dict[str, Any] = {}
    try:
        for each in references:
            fastavro.parse_schema(_loaded(each), named)
        parsed = fastavro.parse_schema(_loaded(text), named)
    except SchemaError:
        raise
    except RecursionError:
        raise SchemaError(f"has more than {MAX_DEPTH} levels") from None
    except Exception as error:  # fastavro's own errors, and those of shapes that it does not look at
        raise SchemaError(f"is no Avro schema: {type(error).__name__}: {error!s:.200}") from error
    node = _Reader(named).node(parsed)
    if node.leaves > MAX_LEAVES:
        raise SchemaError(f"has more than {MAX_LEAVES} fields")
    return node


def _loaded(text: str) -> Any:
    if len(text) > MAX_TEXT:
        raise SchemaError(f"is longer than {MAX_TEXT} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SchemaError("is not JSON") from None


class _Reader:
    """Makes nodes; a named type becomes one node, however often it is named."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._made: dict[str, Node] = {}
        self._open: set[str] = set()

    def node(self, schema: Any, depth: int = 1) -> Node:
        if depth > MAX_DEPTH:
            raise SchemaError(f"has more than {MAX_DEPTH} levels")
        if isinstance(schema, list):
            return self._union([self.node(branch, depth + 1) for branch in schema])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, dict | list):
            return self.node(kind, depth + 1)
        match kind:
            case "record" | "error":
                return self._record(schema, depth)
            case "array" | "map":
                return self._many(
                    kind, self.node(schema["items" if kind == "array" else "values"], depth + 1)
                )
            case "enum":
                return self._keep(schema, Node("enum", symbols=tuple(schema["symbols"])))
            case "fixed":
                return self._keep(schema, self._fixed(schema))
            case "null":
                return Node("null", least=0, empty=1)
            case "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string":
                return self._primitive(kind, schema if isinstance(schema, dict) else {})
        return self._named_node(kind, depth)

    def _named_node(self, name: str, depth: int) -> Node:
        if name in self._open:
            raise SchemaError(f"contains itself, by {name}")
        return self._made[name] if name in self._made else self.node(self._named[name], depth)

    def _keep(self, schema: Mapping[str, Any], node: Node) -> Node:
        self._made[schema["name"]] = node
        return node

    def _record(self, schema: Mapping[str, Any], depth: int) -> Node:
        name = schema["name"]
        if name in self._open:
            raise SchemaError(f"contains itself, by {name}")
        self._open.add(name)
        fields = tuple(self._field(field, depth) for field in schema["fields"])
        self._open.remove(name)
        nodes = [field.node for field in fields]
        made = Node(
            "record",
            fields=fields,
            leaves=1 + sum(node.leaves for node in nodes),
            depth=1 + max((node.depth for node in nodes), default=0),
            least=sum(node.least for node in nodes),
            empty=sum(node.empty for node in nodes),
            full_name=name,
        )
        return self._keep(schema, made)

    def _field(self, field: Mapping[str, Any], depth: int) -> NamedNode:
        node = self.node(field["type"], depth + 1)
        default = field.get("default")
        return NamedNode(field["name"], tuple(field.get("aliases", ())), node, "default" in field, default)

    @staticmethod
    def _union(branches: list[Node]) -> Node:
        return Node(
            "union",
            branches=tuple(branches),
            leaves=sum(node.leaves for node in branches),
            depth=1 + max((node.depth for node in branches), default=0),
            least=1 + min((node.least for node in branches), default=0),
            empty=max((node.empty for node in branches if node.kind != "null"), default=0),
        )

    @staticmethod
    def _many(kind: str, items: Node) -> Node:
        least = items.least + (kind == "map")
        if not least or items.empty > _MAX_EMPTY * least:
            raise SchemaError(f"has {'an array' if kind == 'array' else 'a map'} of items that take no bytes")
        return Node(kind, items=items, leaves=1 + items.leaves, depth=1 + items.depth)

    @staticmethod
    def _fixed(schema: Mapping[str, Any]) -> Node:
        size = schema["size"]
        if not isinstance(size, int) or not 0 <= size <= MAX_TEXT:
            raise SchemaError(f"has a fixed of {size!s:.20} bytes")
        return Node("fixed", size=size, least=size, empty=int(size == 0), **_logical(schema, "fixed", size))

    @staticmethod
    def _primitive(kind: str, schema: Mapping[str, Any]) -> Node:
        least = {"float": 4, "double": 8}.get(kind, 1)
        return Node(kind, least=least, **_logical(schema, kind))


def _logical(schema: Mapping[str, Any], stored: str, size: int = 0) -> dict[str, Any]:
    """Its logical type; one that does not fit how it is stored is ignored, as Avro says."""
    name = schema.get("logicalType")
    if name == "decimal":
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        sound = isinstance(precision, int) and isinstance(scale, int) and 0 <= scale <= precision <= 1000
        if stored in _STORED["decimal"] and sound:
            return {"logical": name, "precision": precision, "scale": scale}
    elif name == "uuid":
        if stored == "string" or (stored == "fixed" and size == 16):
            return {"logical": name}
    elif name == "duration":
        return {"logical": name} if stored == "fixed" and size == 12 else {}
    elif name in _TEMPORAL and stored in _STORED.get(name, ("long",)):
        return {"logical": name}
    return {}
