"""Fields that a job could have of a Protobuf message: what the decoder of records can read of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from flink_jobs.run.proposed import Leaf, list_of, list_of_objects, map_of
from flink_jobs.spec import FieldType
from udfs.records.avro_schema import SchemaError
from udfs.records.contract import Field, ListField
from udfs.records.lists import USUAL_LENGTH
from udfs.records.maps import map_field
from udfs.records.protobuf_columns import field_name, find_column, is_map, is_repeated, is_value

# The first that fits.
_TYPES: tuple[FieldType, ...] = ("boolean", "long", "double", "string", "bytes")


def leaves(
    message: Descriptor, path: tuple[str, ...] = (), nullable: bool = False, above: tuple[str, ...] = ()
) -> Iterator[Leaf]:
    """All places at the top and in messages below; `above` are the names of those around."""
    above = (*above, message.full_name)
    if not message.fields:
        yield Leaf(path, not nullable, f"an empty {message.full_name}")
    for field in message.fields:
        at, inner = (*path, field.name), field.message_type
        if inner is None or is_repeated(field) or is_value(inner):
            yield _leaf(message, field, at, nullable)
        elif inner.full_name in above:
            yield Leaf(at, False, f"{inner.full_name} within itself")
        else:
            yield from leaves(inner, at, True, above)


def row(message: Descriptor) -> Iterator[Leaf] | None:
    """The places of what a change of a database has as `after`, if it has."""
    after = message.fields_by_name.get("after")
    inner = None if after is None or is_repeated(after) else after.message_type
    return leaves(inner) if inner is not None and not is_value(inner) else None


def _leaf(message: Descriptor, field: FieldDescriptor, at: tuple[str, ...], nullable: bool) -> Leaf:
    may_be_absent = field.has_presence and field.label != FieldDescriptor.LABEL_REQUIRED
    required = not nullable and not may_be_absent
    found = field_name(field)
    if is_map(field):
        return Leaf(at, required, found, written=_map(message, field))
    if is_repeated(field):
        return Leaf(at, required, found, written=_list(message, field))
    kind = _first(message, (Field(field.name, kind) for kind in _TYPES))
    if kind == "bytes":
        return Leaf(at, required, found, written="bytes")
    return Leaf(at, required, found, kind)


def _map(message: Descriptor, field: FieldDescriptor) -> str | None:
    fields = (map_field(field.name, Field("", kind), False, (None, USUAL_LENGTH), ()) for kind in _TYPES)
    return map_of(_first(message, fields))


def _list(message: Descriptor, field: FieldDescriptor) -> str | None:
    item = field.message_type
    if item is None or is_value(item):
        return list_of(_first(message, (ListField(field.name, (Field("", kind),)) for kind in _TYPES)))
    kinds = {
        each.name: _first(item, (Field(each.name, kind) for kind in _TYPES))
        for each in item.fields
        if not is_repeated(each)
    }
    return list_of_objects(kinds)


def _first(message: Descriptor, wanted: Iterable[Field | ListField]) -> FieldType | None:
    """The type of the first that the message can fill."""
    for each, kind in zip(wanted, _TYPES, strict=True):
        try:
            if find_column(message, each):
                return kind
        except SchemaError:
            continue
    return None
