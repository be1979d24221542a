"""JSON records whose columns are also within objects, found by their paths.

>>> from udfs.records.contract import Field
>>> decoder = NestedJsonDecoder(Contract((Field("land", "string", path=("user", "country")),)))
>>> decoder.decode_record(b'{"user": {"country": "NZ"}}')
{'land': 'NZ'}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from udfs.records.contract import Contract, Field, ListField
from udfs.records.framing import reject
from udfs.records.json import (
    JsonDecoder,
    _json_type,
    _Pairs,
    _reject_constants,
    as_columns,
    taken,
)
from udfs.records.problems import Problem, RejectedError
from udfs.records.record_by_record import read_each


@dataclass
class _Level:
    """What the job takes of a member of an object: columns that it is, and members of its own."""

    columns: list[Field | ListField] = field(default_factory=list)
    members: dict[str, _Level] = field(default_factory=dict)

    def add(self, column: Field | ListField) -> None:
        level = self
        for step in column.steps:
            level = level.members.setdefault(step, _Level())
        level.columns.append(column)

    def plain(self) -> bool:
        """Whether nothing is both a column and an object with columns, or a column of two types."""
        kinds = {_written(column) for column in self.columns}
        if len(kinds) > 1 or (kinds and self.members):
            return False
        if not all(_level_of(each).plain() for each in self.columns if isinstance(each, ListField)):
            return False
        return all(member.plain() for member in self.members.values())

    def arrow(self) -> pa.DataType:
        if self.columns:
            return _written(self.columns[0])
        return pa.struct([(name, member.arrow()) for name, member in self.members.items()])

    def below(self) -> list[Field | ListField]:
        """All columns here and further down."""
        return self.columns + [column for member in self.members.values() for column in member.below()]


def _written(column: Field | ListField) -> pa.DataType:
    """How the column is written, which of a list whose members are within objects is not how it is kept."""
    if not isinstance(column, ListField):
        return column.written
    return pa.list_(_level_of(column).arrow()) if column.nested else column.arrow


@lru_cache(maxsize=1000)
def _level_of(column: ListField) -> _Level:
    """What the job takes of an element."""
    level = _Level()
    for member in () if column.bare else column.members:
        level.add(member)
    return level


class NestedJsonDecoder(JsonDecoder):
    """Decodes UTF-8 JSON objects of at most `max_bytes` bytes, as `JsonDecoder` does."""

    def __init__(self, contract: Contract, max_bytes: int = 512_000) -> None:
        super().__init__(contract, max_bytes)
        self._top = _Level()
        for column in contract.every:
            self._top.add(column)
        self._plain = self._top.plain()
        if self._plain:
            self._schema = pa.schema(list(self._top.arrow()))
            self._parse = pyarrow.json.ParseOptions(
                explicit_schema=self._schema, unexpected_field_behavior="ignore", newlines_in_values=False
            )

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly one valid object on one line."""
        if not self._quick:
            return read_each(self, raws)
        table = self._read_table(raws) if self._plain else None
        if table is None:
            return None
        columns = {column.name: _column(table, column) for column in self.contract.every}
        found = as_columns(pa.table(columns), self.contract)
        return None if found is None else found.cast(self.contract.arrow_schema())

    def _select(self, pairs: _Pairs) -> dict[str, object]:
        record: dict[str, object] = {}
        _collect(pairs, self._top, "$", record)
        for _, value in pairs.items:
            _reject_constants(value)
        return record


def _column(table: pa.Table, field: Field | ListField) -> pa.ChunkedArray | pa.Array:
    column, steps = table.column(field.steps[0]), field.steps
    if len(steps) > 1:
        column = pc.struct_field(column, list(steps[1:]))
    return field.flat(column.combine_chunks()) if isinstance(field, ListField) and field.nested else column


def _collect(pairs: _Pairs, level: _Level, path: str, record: dict[str, object]) -> None:
    seen: set[str] = set()
    for name, value in pairs.items:
        member = level.members.get(name)
        if member is None:
            continue
        where = f"{path}.{name}"
        if name in seen:
            reject("duplicate_key", f"{where}: stands more than once")
        seen.add(name)
        for column in member.columns:
            as_list = column if isinstance(column, ListField) else None
            record[column.name] = taken(value, where, as_list, _element)
        if not member.columns:
            taken(value, where)
        _collect_members(value, member, where, record)


def _element(value: object, path: str, of: ListField) -> object:
    if of.bare or not isinstance(value, _Pairs):
        return taken(value, path)
    found: dict[str, object] = {}
    _collect(value, _level_of(of), path, found)
    return found


def _collect_members(value: object, member: _Level, where: str, record: dict[str, object]) -> None:
    if not member.members:
        return
    if isinstance(value, _Pairs):
        _collect(value, member, where, record)
    elif value is None:
        record |= {column.name: None for column in member.below()}
    else:
        found = f"{where}: expected an object, got {_json_type(value)}"
        raise RejectedError(Problem("contract", "wrong_type", found))
