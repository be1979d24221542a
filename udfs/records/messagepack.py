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
from udfs.records.fields import check_value as check_value_of
from udfs.records.framing import check_value, reject
from udfs.records.json import MAX_DEPTH
from udfs.records.maps import MapField, entries_of
from udfs.records.problems import Problem, RejectedError
from udfs.types import ColumnType

_MISSING = object()
_TYPES: dict[ColumnType, set[type]] = {
    "string": {str, type(None)},
    "double": {float, int, type(None)},
    "long": {int, type(None)},
    "boolean": {bool, type(None)},
}
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
            records = [self.decode_record(raw) for raw in raws]
        except RejectedError:
            return None
        columns = []
        for field in self.contract.fields:
            values = [record.get(field.name) for record in records]
            if field.type in ("decimal", "bytes"):
                if any(value is not None and check_value_of(field, value, "") for value in values):
                    return None
            elif not {*map(type, values)} <= _TYPES[field.type]:
                return None
            columns.append(field.column(values))
        for each in self.contract.lists:
            lists = [record.get(each.name) for record in records]
            if any(value is not None and each.check(value) for value in lists):
                return None
            columns.append(each.column(lists))
        return pa.Table.from_arrays(columns, schema=self.contract.arrow_schema())

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
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
        if any(isinstance(value, dict | list) for value in found.values()) and _is_deep(found):
            reject("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")
        values = ((field.name, _value(found, field)) for field in self.contract.every)
        record = {name: value for name, value in values if value is not _MISSING}
        for each in self.contract.lists:
            held = record.get(each.name)
            if isinstance(each, MapField) and isinstance(held, dict):
                record[each.name] = entries_of(held.items(), each, lambda entry, _: entry)
            elif each.nested and each.name in record:
                record[each.name] = _elements(record[each.name], each)
        return record


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
