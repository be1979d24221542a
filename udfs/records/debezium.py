"""Debezium's envelope around the rows of a table: `before` and `after` a change, and what it was, `op`.

>>> from udfs.records.contract import Field
>>> from udfs.records.nested_json import NestedJsonDecoder
>>> contract = Contract((Field("amount", "double", required=True),))
>>> decoder = DebeziumDecoder(contract, NestedJsonDecoder, EnvelopeParams("debezium"))
>>> decoder.decode_record(b'{"before": null, "after": {"amount": 2.5}, "op": "c"}')
{'amount': 2.5}

In JSON the envelope may be the `payload` beside its `schema`, as Kafka Connect writes it by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoder
from udfs.records.framing import reject
from udfs.records.problems import RejectedError

EnvelopeKind = Literal["debezium", "cloudevents"]
# No column of a job has such a name.
_OP, _BEFORE = "(op)", "(before) "
_DELETE, _ROWS = "d", ("c", "r", "u")
TOPS = ((), ("payload",))


class EnvelopeParams(msgspec.Struct, frozen=True):
    """What is around the job's fields; those of `fields` are the envelope's own.

    `before`: of a deleted row, what it was.
    """

    kind: EnvelopeKind
    fields: frozenset[str] = frozenset()
    before: bool = False


def around(contract: Contract, envelope: EnvelopeParams, row: str, top: tuple[str, ...] = ()) -> Contract:
    """The contract with paths from the top of the record; `row` is where those of the row are."""
    return Contract(
        tuple(
            msgspec.structs.replace(
                field, path=(*top, *(() if field.name in envelope.fields else (row,)), *field.steps)
            )
            for field in contract.fields
        ),
        tuple(msgspec.structs.replace(each, path=(*top, row, *each.steps)) for each in contract.lists),
    )


class DebeziumDecoder:
    """Decodes by another decoder, which `make` makes, of the fields at their paths in the envelope.

    `tops` are the paths at which the envelope may be.
    """

    def __init__(
        self,
        contract: Contract,
        make: Callable[[Contract], Decoder],
        envelope: EnvelopeParams,
        tops: Sequence[tuple[str, ...]] = TOPS,
    ) -> None:
        self.contract = around(contract, envelope, "after")
        self._places = [_Place(contract, make, envelope, top) for top in tops]

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly a row."""
        for place in self._places:
            table = place.decoder.decode_columns(raws)
            if table is None:
                return None
            if table.column(_OP).null_count < len(raws):
                return place.rows(table)
        return None

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The columns of one row; raises RejectedError with the reason."""
        for place in self._places:
            record = place.decoder.decode_record(raw)
            if record.get(_OP) is not None:
                return place.row(record)
        return reject("not_an_envelope", "expected Debezium's envelope, with $.op")


class _Place:
    """Where the envelope is in a record, and in it the rows."""

    def __init__(
        self,
        contract: Contract,
        make: Callable[[Contract], Decoder],
        envelope: EnvelopeParams,
        top: tuple[str, ...],
    ) -> None:
        self._envelope = envelope
        self._after, self._before = (around(contract, envelope, row, top) for row in ("after", "before"))
        earlier = [
            msgspec.structs.replace(field, name=_BEFORE + field.name)
            for field in self._before.fields
            if envelope.before and field.name not in envelope.fields
        ]
        op = Field(_OP, "string", path=(*top, "op"))
        lists = [
            msgspec.structs.replace(each, name=_BEFORE + each.name)
            for each in self._before.lists
            if envelope.before
        ]
        self.decoder = make(Contract((*self._after.fields, *earlier, op), (*self._after.lists, *lists)))

    def rows(self, table: pa.Table) -> pa.Table | None:
        """Of each record the row that counts; None where one may have none."""
        ops, names = table.column(_OP), self._after.names
        if pc.all(pc.is_in(ops, pa.array(_ROWS)), skip_nulls=False).as_py():
            return table.select(names)
        known = pc.is_in(ops, pa.array((*_ROWS, _DELETE)))
        if not (self._envelope.before and pc.all(known).as_py()):
            return None
        deleted = pc.equal(ops, _DELETE)
        columns = [
            pc.if_else(deleted, table.column(earlier), table.column(name))
            for name, earlier in zip(names, map(self._earlier, names), strict=True)
        ]
        return pa.table(dict(zip(names, columns, strict=True)))

    def _earlier(self, name: str) -> str:
        return name if name in self._envelope.fields else _BEFORE + name

    def row(self, record: Mapping[str, object]) -> dict[str, object]:
        """The row's columns. Raises RejectedError, also for what breaks the contract."""
        op = record[_OP]
        if op == _DELETE and not self._envelope.before:
            reject("deleted", "the row was deleted")
        if op not in (*_ROWS, _DELETE):
            reject("not_an_envelope", "$.op: expected c, r, u or d, got something else")
        contract = self._before if op == _DELETE else self._after
        found: dict[str, object] = {}
        for name in contract.names:
            source = self._earlier(name) if op == _DELETE else name
            if source in record:
                found[name] = record[source]
        if problem := contract.check(found):
            raise RejectedError(problem)
        return found
