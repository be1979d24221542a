"""Where the columns of a job are in a writer's schema: by name or alias, by path, in branches of unions.

>>> from udfs.records.avro_schema import parse_schema
>>> writer = parse_schema('{"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]}')
>>> (found,) = find_columns(writer, None, Contract((Field("n", "double"),)))
>>> found.steps, found.value({"n": 3}), found.leaf.kind
(('n',), 3, 'int')
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from udfs.records.avro_schema import Node, SchemaError
from udfs.records.avro_values import Convert, converter, same
from udfs.records.contract import Contract, Field
from udfs.records.problems import Problem, RejectedError

# The Python type that fastavro gives for each kind of leaf.
_TYPES = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "bytes": bytes,
    "fixed": bytes,
    "string": str,
    "enum": str,
    "array": list,
    "map": dict,
    "record": dict,
}
MISSING = object()


@dataclass(frozen=True)
class FoundColumn:
    """A column of the job in a writer's schema, or `absent` from it.

    `steps` are the writer's names. `leaf` is the one node that holds the values, beside nulls; None where
    there are several, or values that do not fit.
    """

    field: Field
    steps: tuple[str, ...]
    leaf: Node | None
    converters: Mapping[type, Convert]
    absent: object = MISSING

    def value(self, record: Mapping[str, Any]) -> object:
        """The column's value of a record that fastavro read, `MISSING` where there is none.

        Raises RejectedError for one that has no such value.
        """
        found: Any = record
        for step in self.steps:
            if found is None:
                return None
            if not isinstance(found, dict) or step not in found:
                return self.absent
            found = found[step]
        return self.absent if not self.steps else self.converted(found)

    @property
    def as_stored(self) -> bool:
        """Whether what a record has under the column's name, or has not, is the column's value."""
        own = (self.field.name,)
        same_name = self.field.steps == own and self.steps in (own, ())
        return same_name and self.absent is MISSING and all(each is same for each in self.converters.values())

    def converted(self, stored: object) -> object:
        """What is stored, as the column's value."""
        try:
            return self.converters.get(type(stored), same)(stored)
        except RejectedError as rejected:
            raise RejectedError(_at(self.field, rejected.problem)) from None


def _at(field: Field, problem: Problem) -> Problem:
    return Problem(problem.stage, problem.reason, f"{field.path_text}: {problem.message}")


def find_columns(writer: Node, reader: Node | None, contract: Contract) -> tuple[FoundColumn, ...]:
    """All columns; raises SchemaError naming the first that the writer's schema cannot fill.

    A `reader` schema gives what fields were called before, and their defaults.
    """
    if writer.kind != "record":
        raise SchemaError(f"expected a record, the writer has {writer.name}")
    return tuple(find_column(writer, reader, field) for field in contract.fields)


def find_column(writer: Node, reader: Node | None, field: Field) -> FoundColumn:
    """One column; raises SchemaError if the writer's schema cannot fill it."""
    steps, leaves, absent = walk(writer, reader, field.steps)
    if not leaves:
        return FoundColumn(field, (), None, {}, _default(field, absent))
    return find_value(leaves, absent, field, steps)


def find_value(
    leaves: list[Node], wanted: list[Any], field: Field, steps: tuple[str, ...] = ()
) -> FoundColumn:
    """A column of values that are of one of these types; `wanted` are those of the reader."""
    fitting = [leaf for leaf in leaves if leaf.kind == "null" or converter(leaf, field.type)]
    values = [leaf for leaf in fitting if leaf.kind != "null"]
    if not fitting or (not values and len(leaves) > 1):
        _unfit(field, next(leaf for leaf in leaves if leaf.kind != "null"))
    _check_logical(field, values, wanted)
    single = values[0] if len(values) == 1 and len(fitting) == len(leaves) else None
    return FoundColumn(field, steps, single, _converters(field, leaves), MISSING)


def walk(
    node: Node, reader: Node | None, path: tuple[str, ...]
) -> tuple[tuple[str, ...], list[Node], list[Node | object]]:
    """The writer's names along the path, the types at its end, and what the reader's schema says of that.

    That is the reader's type, or its type and default where the writer has no such field.
    """
    steps: list[str] = []
    level, wanted = [node], [reader] if reader else []
    for position, name in enumerate(path):
        named = [field for each in _records(wanted) for field in each.fields if field.name == name]
        aliases = {name, *(alias for field in named for alias in field.aliases)}
        fields = [field for each in _records(level) for field in each.fields if field.name in aliases]
        if not fields:
            if position and not _records(level):
                _no_record(path[:position], level)
            defaults = [(field, path[position + 1 :]) for field in named if field.has_default]
            return (), [], list(defaults)
        # Its own name comes before an alias, as in Avro.
        chosen = name if any(field.name == name for field in fields) else fields[0].name
        steps.append(chosen)
        level = [field.node for field in fields if field.name == chosen]
        wanted = [field.node for field in named]
    return tuple(steps), list(types_of(level)), list(types_of(wanted))


def _records(nodes: list[Node]) -> list[Node]:
    return [node for node in types_of(nodes) if node.kind == "record"]


def types_of(nodes: Sequence[Node]) -> Iterator[Node]:
    """The nodes, with branches in the place of unions."""
    for node in nodes:
        if node.kind == "union":
            yield from types_of(list(node.branches))
        else:
            yield node


def _converters(field: Field, leaves: list[Node]) -> dict[type, Convert]:
    """By the type of what is stored: two types of Avro that look alike in Python must mean the same."""
    found: dict[type, tuple[Node, Convert | None]] = {}
    for leaf in leaves:
        kind = _TYPES[leaf.kind]
        made = same if leaf.kind == "null" else converter(leaf, field.type)
        known = found.setdefault(kind, (leaf, made))
        if known[0] != leaf and not (made is same and known[1] is same):
            raise SchemaError(f"{field.path_text}: cannot tell {known[0].name} from {leaf.name} in one union")
    return {kind: made for kind, (_, made) in found.items() if made}


def _check_logical(field: Field, leaves: list[Node], reader: list[Any]) -> None:
    """Avro reads a number by the reader's logical type; one of another unit would be another time."""
    wanted = {node.logical for node in reader if isinstance(node, Node) and node.kind != "null"}
    for leaf in leaves:
        if wanted and leaf.logical not in wanted:
            expected = " or ".join(sorted(logical or "a plain value" for logical in wanted))
            raise SchemaError(f"{field.path_text}: expected {expected}, the writer has {leaf.name}")


def _default(field: Field, defaults: list[Any]) -> object:
    """The reader's default for what the writer does not have."""
    for named, rest in defaults:
        value, nodes = named.default, [named.node]
        for name in rest:
            inner = [each for record in _records(nodes) for each in record.fields if each.name == name]
            nodes = [each.node for each in inner]
            value = (
                value.get(name, MISSING) if isinstance(value, dict) else None if value is None else MISSING
            )
        if value is MISSING:
            continue
        leaves = list(types_of(nodes))
        if isinstance(value, str) and any(leaf.kind in ("bytes", "fixed") for leaf in leaves):
            value = value.encode("iso-8859-1")
        return FoundColumn(field, (), None, _converters(field, leaves)).converted(value)
    return MISSING


def _no_record(path: tuple[str, ...], found: list[Node]) -> NoReturn:
    kinds = " or ".join(node.name for node in types_of(found))
    raise SchemaError(f"$.{'.'.join(path)}: expected a record, the writer has {kinds}")


def _unfit(field: Field, leaf: Node) -> NoReturn:
    raise SchemaError(f"{field.path_text}: expected {field.kind}, the writer has {leaf.name}")
