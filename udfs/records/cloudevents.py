"""CloudEvents in Kafka: attributes in headers beside the data, or both in one JSON object, record by record.

>>> from udfs.records.json import JsonDecoder
>>> contract = Contract((Field("amount", "double"), Field("kind", "string", path=("type",))))
>>> events = CloudEvents(contract, JsonDecoder(Contract(contract.fields[:1])), frozenset({"kind"}), 1000)
>>> event = b'{"specversion": "1.0", "id": "1", "source": "/till", "type": "paid", "data": {"amount": 2}}'
>>> headers = dict.fromkeys(events.headers, [None]) | {"content-type": [b"application/cloudevents+json"]}
>>> events.decode([event], list(headers.values())).table.to_pylist()
[{'amount': 2.0, 'kind': 'paid'}]
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.beside import BesideDecoder, BesideParams, joined
from udfs.records.contract import Contract, Field
from udfs.records.decode import Decoded, Decoder, decode_batch
from udfs.records.nested_json import NestedJsonDecoder
from udfs.records.problems import Problem

CONTENT_TYPE, PREFIX = "content-type", "ce_"
STRUCTURED, _JSON = b"application/cloudevents", b"application/cloudevents+json"
Raws = Sequence[bytes | None]
Rows = npt.NDArray[np.int64]
# What each event must have. No column of a job has such a name.
_REQUIRED = (
    Field("(specversion)", "string", required=True, values=("1.0",), path=("specversion",)),
    *(Field(f"({name})", "string", required=True, path=(name,)) for name in ("id", "source", "type")),
)


def event_headers(contract: Contract, attributes: frozenset[str]) -> tuple[str, ...]:
    """The headers that are needed, in order; `attributes` are the columns that are made of attributes."""
    return (CONTENT_TYPE, *(PREFIX + field.steps[0] for field in _attributes(contract, attributes)))


def _attributes(contract: Contract, attributes: frozenset[str]) -> tuple[Field, ...]:
    return (*_REQUIRED, *(field for field in contract.fields if field.name in attributes))


class CloudEvents:
    """Decodes events; `data` decodes that of events whose attributes are in headers."""

    def __init__(self, contract: Contract, data: Decoder, attributes: frozenset[str], max_bytes: int) -> None:
        self._contract, self._data = contract, data
        self.headers = event_headers(contract, attributes)
        fields = _attributes(contract, attributes)
        self._attributes = [
            BesideDecoder(BesideParams(Contract((field,)), header=header), max_bytes)
            for field, header in zip(fields, self.headers[1:], strict=True)
        ]
        inside = [
            msgspec.structs.replace(field, path=("data", *field.steps))
            for field in contract.fields
            if field.name not in attributes
        ]
        lists = (msgspec.structs.replace(each, path=("data", *each.steps)) for each in contract.lists)
        self._structured = NestedJsonDecoder(Contract((*inside, *fields), tuple(lists)), max_bytes)

    def decode(self, raws: Raws, headers: Sequence[Raws]) -> Decoded:
        """As `decode_batch`; `headers` are the values of those of that name, of each record."""
        types = [_media_type(each) for each in headers[0]]
        structured = np.array([each.startswith(STRUCTURED) for each in types], dtype=np.bool_)
        json = np.array([each == _JSON for each in types], dtype=np.bool_)
        problems = {int(row): _OTHER_FORMAT for row in np.flatnonzero(structured & ~json)}
        beside, whole = np.flatnonzero(~structured), np.flatnonzero(json)
        parts: list[tuple[Rows, Decoded]] = []
        if len(beside):
            parts.append((beside, self._binary(raws, headers, beside)))
        if len(whole):
            parts.append((whole, decode_batch(self._structured, _taken(raws, whole))))
        for rows, decoded in parts:
            problems |= {int(rows[row]): problem for row, problem in decoded.problems.items()}
        names = self._contract.names
        tables = [self._contract.arrow_schema().empty_table()]
        tables += [decoded.table.select(names) for _, decoded in parts]
        places = np.concatenate([np.zeros(0, np.int64), *(rows[decoded.rows] for rows, decoded in parts)])
        table = pa.concat_tables(tables).combine_chunks().take(pa.array(np.argsort(places)))
        return Decoded(table, np.sort(places), problems)

    def _binary(self, raws: Raws, headers: Sequence[Raws], rows: Rows) -> Decoded:
        data = decode_batch(self._data, _taken(raws, rows))
        attributes = [
            decoder.decode(_taken(header, rows))
            for decoder, header in zip(self._attributes, headers[1:], strict=True)
        ]
        return joined(data, attributes)


_OTHER_FORMAT = Problem(
    "decode", "not_an_envelope", "header 'content-type': expected one event in JSON, got another format"
)


def _media_type(header: bytes | None) -> bytes:
    """Without its parameters."""
    return (header or b"").partition(b";")[0].strip().lower()


def _taken(raws: Raws, rows: Rows) -> Raws:
    return raws if len(rows) == len(raws) else [raws[row] for row in rows.tolist()]
