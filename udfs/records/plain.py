"""Whether a batch of records holds what the contract's columns take, by the types of its values alone.

What this finds right, Arrow holds, and the contract checks column by column; the rest goes record by record.

>>> contract = Contract((Field("n", "double"),), (ListField("tags", (Field("", "string"),)),))
>>> is_plain(contract, [{"n": 1, "tags": ["a", None]}, {"n": None}]), is_plain(contract, [{"tags": [1]}])
(True, False)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from udfs.records.contract import Contract, Field, ListField
from udfs.records.fields import check_value
from udfs.records.maps import Entries, MapField
from udfs.types import ColumnType

_NONE = type(None)
_TYPES: dict[ColumnType, set[type]] = {
    "string": {str, _NONE},
    "double": {float, int, _NONE},
    "long": {int, _NONE},
    "boolean": {bool, _NONE},
}


def is_plain(contract: Contract, records: Sequence[Mapping[str, object]]) -> bool:
    """Whether all values are of the types of their columns; ranges are not looked at."""
    return all(
        are_of(field, [each.get(field.name) for each in records]) for field in contract.fields
    ) and all(are_lists(each, [record.get(each.name) for record in records]) for each in contract.lists)


def are_of(field: Field, values: Iterable[object]) -> bool:
    """Whether all values are of the field's type, or null."""
    allowed = _TYPES.get(field.type)
    if allowed is None:
        return not any(value is not None and check_value(field, value, "") for value in values)
    return {*map(type, values)} <= allowed


def are_lists(field: ListField, values: Sequence[object]) -> bool:
    """Whether all values are lists, or maps, with elements of the field's types, or null."""
    kind: type[list[object]] = Entries if isinstance(field, MapField) else list  # type: ignore[assignment]
    if not {*map(type, values)} <= {kind, _NONE}:
        return False
    lists = [value for value in values if isinstance(value, kind)]
    # Of one that is too long, decoders may have left the elements out.
    if any(map(field.wrong_length, {*map(len, lists)})):
        return False
    elements = list(chain.from_iterable(lists))
    if field.bare:
        return are_of(field.members[0], elements)
    if not {*map(type, elements)} <= {dict, _NONE}:
        return False
    objects = [each for each in elements if isinstance(each, dict)]
    return all(are_of(member, [each.get(member.name) for each in objects]) for member in field.members)
