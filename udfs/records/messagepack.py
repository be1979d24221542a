r"""MessagePack records: a map of texts to values, as in JSON; msgspec reads them.

>>> from udfs.records.contract import Field
>>> fields = (Field("n", "long"), Field("land", "string", path=("user", "country")))
>>> decoder = MessagePackDecoder(Contract(fields), 100)
>>> decoder.decode_record(b"\x82\xa1n\x07\xa4user\x81\xa7country\xa2NZ")
{'n': 7, 'land': 'NZ'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from udfs.records.contract import Contract, Field, ListField
from udfs.records.framing import check_value, reject
from udfs.records.json import MAX_DEPTH
from udfs.records.maps import MapField, entries_of
from udfs.records.plain import are_lists, are_of
from udfs.records.problems import Problem, RejectedError

_MISSING = object()
# The bytes that begin maps and arrays, among others.
_CONTAINERS = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
# As messages call them.
_NAMES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


class MessagePackDecoder:
    """Decodes records of at most `max_bytes` bytes."""

    def __init__(self, contract: Contract, max_bytes: int) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        self._decode = msgspec.msgpack.Decoder().decode

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        try:
            found = [self._read(raw) for raw in raws]
            columns = [self._column(found, field) for field in self.contract.fields]
            lists = [self._lists(found, each) for each in self.contract.lists]
        except RejectedError:
            return None
        every = [*columns, *lists]
        if any(column is None for column in every):
            return None
        return pa.Table.from_arrays(every, schema=self.contract.arrow_schema())

    @staticmethod
    def _column(records: Sequence[dict[Any, Any]], field: Field) -> pa.Array | None:
        values = _values(records, field)
        return field.column(values) if are_of(field, values) else None

    @staticmethod
    def _lists(records: Sequence[dict[Any, Any]], field: ListField) -> pa.Array | None:
        values = [_held(value, field) for value in _values(records, field)]
        return field.column(values) if are_lists(field, values) else None

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        found = self._read(raw)
        values = ((field.name, _value(found, field)) for field in self.contract.every)
        record = {name: value for name, value in values if value is not _MISSING}
        for each in self.contract.lists:
            if each.name in record:
                record[each.name] = _held(record[each.name], each)
        return record

    def _read(self, raw: bytes | None) -> dict[Any, Any]:
        """The record as a dictionary; raises RejectedError."""
        value = check_value(raw, self.max_bytes)
        try:
            found = self._decode(value)
        except RecursionError:
            reject("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")
        except UnicodeDecodeError:
            reject("invalid_utf8", "a text is not valid UTF-8")
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError) as error:
            reject("not_messagepack", f"the bytes are no MessagePack: {type(error).__name__}")
        if not isinstance(found, dict):
            reject("not_an_object", f"expected a map, got {_kind(found)}")
        if len(value) - len(value.translate(None, _CONTAINERS)) > MAX_DEPTH and _is_deep(found):
            reject("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")
        return found


def _values(records: Sequence[dict[Any, Any]], field: Field | ListField) -> list[object]:
    """The field of each record, None where it is not there. Raises RejectedError."""
    if len(field.steps) == 1:
        (name,) = field.steps
        return [record.get(name) for record in records]
    found = [_value(record, field) for record in records]
    return [None if value is _MISSING else value for value in found]


def _held(value: object, of: ListField) -> object:
    """A list or a map as the contract checks it."""
    if isinstance(of, MapField) and isinstance(value, dict):
        return entries_of(value.items(), of, lambda entry, _: entry)
    return _elements(value, of) if of.nested else value


def _elements(value: object, of: ListField) -> object:
    """The elements of a list with their members at the top, as the contract checks them."""
    if not isinstance(value, list) or of.wrong_length(len(value)):
        return value
    return [_element(each, of, f"{of.path_text}[{place}]") for place, each in enumerate(value)]


def _element(element: object, of: ListField, path: str) -> object:
    if not isinstance(element, dict):
        return element
    values = ((member.name, _value(element, member, path)) for member in of.members)
    return {name: value for name, value in values if value is not _MISSING}


def _value(record: dict[Any, Any], field: Field | ListField, root: str = "$") -> object:
    found: Any = record
    for place, step in enumerate(field.steps):
        if found is None:
            return None
        if not isinstance(found, dict):
            path = ".".join(field.steps[:place])
            message = f"{root}.{path}: expected an object, got {_kind(found)}"
            raise RejectedError(Problem("contract", "wrong_type", message))
        if step not in found:
            return _MISSING
        found = found[step]
    return found


def _is_deep(found: object) -> bool:
    """Whether it has more levels than are allowed, counted without recursion."""
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        children = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for group in children for child in group if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
