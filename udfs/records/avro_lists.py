"""Where the lists of a job are in a writer's Avro schema, and how their elements are read.

>>> from udfs.records.avro_schema import parse_schema
>>> array = '{"type": "array", "items": ["null", "int"]}'
>>> writer = parse_schema(f'{{"type": "record", "name": "R", "fields": [{{"name": "n", "type": {array}}}]}}')
>>> (found,) = find_lists(writer, None, (ListField("n", (Field("", "double"),)),))
>>> found.value({"n": [1, None]}), sorted(found.paths)
([1, None], [('n', '[]')])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from udfs.records.avro_columns import MISSING, FoundColumn, find_column, find_value, types_of, walk
from udfs.records.avro_schema import Node, SchemaError
from udfs.records.avro_values import same
from udfs.records.fields import Field
from udfs.records.lists import ListField
from udfs.records.maps import MapField, entries_of
from udfs.records.problems import Problem, RejectedError

# The step into the elements of a list; no field of Avro has such a name.
INTO = "[]"


@dataclass(frozen=True)
class FoundList:
    """A list in a writer's schema, at `steps`, or `absent` from it; `members` are within its elements."""

    field: ListField
    steps: tuple[str, ...]
    members: tuple[FoundColumn, ...]
    absent: object = MISSING

    @property
    def paths(self) -> set[tuple[str, ...]]:
        """Where values are that must be read."""
        return {(*self.steps, INTO, *member.steps) for member in self.members} if self.steps else set()

    def value(self, record: Mapping[str, Any]) -> object:
        """The list of a record that fastavro read, `MISSING` where there is none. Raises RejectedError."""
        if not self.steps:
            return self.absent
        found: Any = record
        for step in self.steps:
            if found is None:
                return None
            if not isinstance(found, dict) or step not in found:
                return MISSING
            found = found[step]
        if isinstance(found, dict):
            (entry,) = self.members
            return entries_of(
                found.items(),
                self.field,
                lambda value, path: _at(path, entry.field, lambda: entry.converted(value)),
            )
        if not isinstance(found, list) or self.field.wrong_length(len(found)):
            return found
        if self._elements_as_stored:
            return found
        if (names := self._renamed) is not None:
            return [None if each is None else {name: each[step] for name, step in names} for each in found]
        return [self._element(each, f"{self.field.path_text}[{place}]") for place, each in enumerate(found)]

    @cached_property
    def as_stored(self) -> bool:
        """As of a column; of objects also that their members are so."""
        own = (self.field.name,)
        if isinstance(self.field, MapField) or self.absent is not MISSING:
            return False
        return self.field.steps == own and self.steps in (own, ()) and self._elements_as_stored

    @cached_property
    def _elements_as_stored(self) -> bool:
        if self.field.bare:
            return all(each is same for member in self.members for each in member.converters.values())
        return all(member.as_stored for member in self.members)

    @cached_property
    def _renamed(self) -> tuple[tuple[str, str], ...] | None:
        """What members are called and what is stored, if none is made of that or lies deeper."""
        there = [member for member in self.members if member.steps]
        absent = all(member.absent is MISSING for member in self.members if not member.steps)
        plain = all(each is same for member in there for each in member.converters.values())
        if self.field.bare or not (absent and plain and all(len(member.steps) == 1 for member in there)):
            return None
        return tuple((member.field.name, member.steps[0]) for member in there)

    def _element(self, element: Any, path: str) -> object:
        if self.field.bare:
            (member,) = self.members
            return _at(path, member.field, lambda: member.converted(element))
        if element is None:
            return None
        values = (
            (
                member.field.name,
                _at(
                    f"{path}.{'.'.join(member.field.steps)}", member.field, lambda m=member: m.value(element)
                ),
            )
            for member in self.members
        )
        return {name: value for name, value in values if value is not MISSING}


def find_lists(writer: Node, reader: Node | None, lists: Iterable[ListField]) -> tuple[FoundList, ...]:
    """All lists; raises SchemaError naming the first that the writer's schema cannot fill."""
    return tuple(_find(writer, reader, each) for each in lists)


def _find(writer: Node, reader: Node | None, field: ListField) -> FoundList:
    steps, leaves, wanted = walk(writer, reader, field.steps)
    if not leaves:
        return FoundList(field, (), (), _default(field, wanted))
    kind, called = ("map", "a map") if isinstance(field, MapField) else ("array", "a list")
    arrays = [leaf for leaf in leaves if leaf.kind == kind]
    others = [leaf for leaf in leaves if leaf.kind not in (kind, "null")]
    if others or len(arrays) != 1:
        found = (others or leaves)[0].name
        raise SchemaError(f"{field.path_text}: expected {called}, the writer has {found}")
    items = arrays[0].items
    of_reader = [node.items for node in wanted if isinstance(node, Node) and node.kind == kind]
    assert items
    inner = of_reader[0] if of_reader else None
    return FoundList(field, steps, tuple(_members(field, items, inner)))


def _members(field: ListField, items: Node, reader: Node | None) -> Iterator[FoundColumn]:
    """How the members of elements are read; messages name them without the place in the list."""
    if field.bare or isinstance(field, MapField):
        member = field.members[-1]
        named = Field(
            "", member.type, digits=member.digits, path=(*field.steps[:-1], f"{field.steps[-1]}{INTO}")
        )
        yield find_value(list(types_of([items])), list(types_of([reader] if reader else [])), named)
        return
    records = [node for node in types_of([items]) if node.kind == "record"]
    others = [node for node in types_of([items]) if node.kind not in ("record", "null")]
    if len(records) != 1 or others:
        found = (others or [items])[0]
        raise SchemaError(f"{field.path_text}{INTO}: expected a record, the writer has {found.name}")
    for member in field.members:
        try:
            yield find_column(records[0], reader, member)
        except SchemaError as error:
            inside = str(error).replace("$.", f"{field.path_text}{INTO}.", 1)
            raise SchemaError(inside) from None


def _default(field: ListField, defaults: list[Any]) -> object:
    """The reader's default: nothing, or no elements."""
    values = [named.default for named, rest in defaults if not rest]
    if any(value for value in values):
        raise SchemaError(f"{field.path_text}: the reader's default has elements")
    return values[0] if values else MISSING


def _at(path: str, member: Field, read: Any) -> object:
    """What `read` gives; what is wrong with it is told with the place."""
    try:
        return read()
    except RejectedError as rejected:
        problem = rejected.problem
        message = problem.message.removeprefix(member.path_text)
        raise RejectedError(Problem(problem.stage, problem.reason, path + message)) from None
