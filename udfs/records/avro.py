"""Avro records: numpy reads a batch, fastavro a single record, by the schema that each was written with.

The writer's schema comes from a registry by its id, in Confluent's wire format, or is that of all records.
What the job does not name is skipped: there only the structure must hold.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.records.avro_batch import PADDING, Leaves, Longs, UnfitError, plan_step, read_batch
from udfs.records.avro_columns import MISSING, FoundColumn, find_columns
from udfs.records.avro_lists import INTO, FoundList, find_lists
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.avro_values import same
from udfs.records.contract import Contract
from udfs.records.framing import HEAD, check_value, reject, schema_id
from udfs.records.plain import is_plain
from udfs.records.problems import RejectedError
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import Schema, SchemaRegistry
from udfs.types import ARROW

# A batch of more schemas than this share of its records is read record by record.
_SHARE_OF_SCHEMAS = 1 / 16
_BROKEN = (EOFError, IndexError, ValueError, OverflowError, struct.error)


class WriterSchema:
    """How records of one schema become columns of the contract. Raises SchemaError if they cannot."""

    def __init__(self, contract: Contract, writer: Node, reader: Node | None = None) -> None:
        self._contract = contract
        self.columns = find_columns(writer, reader, contract)
        self._lists = find_lists(writer, reader, contract.lists)
        wanted = {column.steps for column in self.columns if column.steps}.union(
            *(each.paths for each in self._lists)
        )
        self._plain = fastavro.parse_schema(_plain(writer, wanted, (), iter(range(1_000_000))))
        every: tuple[FoundColumn | FoundList, ...] = (*self.columns, *self._lists)
        self._made = [column for column in every if not column.as_stored]
        self._leaves = [column.leaf for column in self.columns]
        self._paths = {}
        for index, column in reversed(list(enumerate(self.columns))):
            if column.steps:
                self._paths[column.steps] = index
        self._step = self._planned(writer)

    def _planned(self, writer: Node) -> Any:
        if self._lists or any(column.steps and column.leaf is None for column in self.columns):
            return None
        return plan_step(writer, self._leaves, self._paths)

    def read(self, body: bytes) -> dict[str, object]:
        """One record's columns; raises RejectedError."""
        record = self._read(body)
        columns: list[FoundColumn | FoundList] = [*self.columns, *self._lists]
        values = ((column.field.name, column.value(record)) for column in columns)
        return {name: value for name, value in values if value is not MISSING}

    def _read(self, body: bytes) -> Mapping[str, Any]:
        stream = io.BytesIO(body)
        try:
            record = fastavro.schemaless_reader(stream, self._plain, None)
        except UnicodeDecodeError:
            reject("invalid_utf8", "a string is not valid UTF-8")
        except _BROKEN as error:
            reject("not_avro", f"the bytes are not of the schema: {_cause(error)}")
        if stream.tell() != len(body):
            reject("not_avro", f"{len(body) - stream.tell()} bytes follow the record")
        assert isinstance(record, dict)
        return record

    def read_columns(self, data: bytes, starts: Longs, ends: Longs) -> pa.Table:
        """The columns of all records; raises UnfitError or RejectedError where one needs the careful way."""
        if self._step is None:
            return self._read_each(data[start:end] for start, end in zip(starts, ends, strict=True))
        leaves = read_batch(self._step, data, starts, ends)
        columns = [self._column(column, leaves, len(starts)) for column in self.columns]
        return pa.Table.from_arrays(columns, schema=self._contract.arrow_schema())

    def _read_each(self, bodies: Iterable[bytes]) -> pa.Table:
        records = [self._row(body) for body in bodies]
        if not is_plain(self._contract, records):
            raise UnfitError
        return self._contract.columns(records)

    def _row(self, body: bytes) -> Mapping[str, Any]:
        """As `read`, but with what else the record has; most columns are in it as they are stored."""
        record = self._read(body)
        if self._made:
            values = [(column.field.name, column.value(record)) for column in self._made]
            record = {**record}
            for name, value in values:
                record[name] = value
                if value is MISSING:
                    del record[name]
        return record

    def _column(self, column: FoundColumn, leaves: Leaves, rows: int) -> pa.Array:
        kind = ARROW[column.field.type]
        if not column.steps:
            absent = None if column.absent is MISSING else column.absent
            return column.field.column([absent] * rows)
        stored = leaves.get(self._paths[column.steps])
        if stored is None:
            return pa.nulls(rows, kind)
        plain = not column.field.digits and column.field.type != "bytes"
        if plain and all(convert is same for convert in column.converters.values()):
            nearest = pa.types.is_floating(kind) and pa.types.is_integer(stored.type)
            return stored.cast(kind, safe=not nearest)
        return column.field.column([column.converted(value) for value in stored.to_pylist()])


class AvroDecoder:
    """Decodes Avro records of at most `max_bytes` bytes.

    With a `registry` each begins with its schema's id, and `schema` is the reader's, which gives aliases and
    defaults; without one, `schema` is that of all records. Raises SchemaError for one that cannot be used.
    """

    def __init__(
        self,
        contract: Contract,
        max_bytes: int,
        schema: str | None = None,
        registry: RegistryParams | None = None,
        cache: SchemaCache[WriterSchema] | None = None,
    ) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        node = parse_schema(schema) if schema else None
        self._cache: SchemaCache[WriterSchema] | None = None
        if registry or cache:
            self._cache = cache or registry_cache(contract, registry, node)
            self._head = HEAD
        else:
            if node is None:
                raise SchemaError("is missing")
            self._only = WriterSchema(contract, node)
            self._head = 0

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        values = [*raws]
        try:
            blob = b"".join([*values, bytes(PADDING)])  # type: ignore[list-item]
        except TypeError:
            return None
        lengths = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
        if not values or lengths.max() > self.max_bytes or lengths.min() <= self._head:
            return None
        ends = np.cumsum(lengths)
        try:
            return self._read(blob, ends - lengths, ends)
        except (UnfitError, RejectedError):
            return None

    def _read(self, blob: bytes, starts: Longs, ends: Longs) -> pa.Table:
        if self._cache is None:
            return self._only.read_columns(blob, starts, ends)
        ids = _schema_ids(blob, starts)
        distinct = np.unique(ids)
        if len(distinct) == 1:
            return self._cache.get(int(ids[0])).read_columns(blob, starts + HEAD, ends)
        if len(distinct) > max(4, len(ids) * _SHARE_OF_SCHEMAS):
            raise UnfitError
        groups = [np.flatnonzero(ids == number) for number in distinct]
        tables = [
            self._cache.get(int(number)).read_columns(blob, starts[rows] + HEAD, ends[rows])
            for number, rows in zip(distinct, groups, strict=True)
        ]
        place = np.argsort(np.concatenate(groups))
        return pa.concat_tables(tables).combine_chunks().take(pa.array(place))

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The columns of one record; raises RejectedError with the reason."""
        value = check_value(raw, self.max_bytes)
        if self._cache is None:
            return self._only.read(value)
        return self._cache.get(schema_id(value)).read(value[HEAD:])


def registry_cache(
    contract: Contract, registry: RegistryParams | None, reader: Node | None
) -> SchemaCache[WriterSchema]:
    """Schemas of the registry, as they are read for the contract."""
    assert registry is not None
    client = SchemaRegistry(registry)
    return SchemaCache(client.by_id, partial(writer_schema, contract, reader), registry.wait_s)


def writer_schema(contract: Contract, reader: Node | None, number: int, schema: Schema) -> WriterSchema:
    """What was registered under the number, for the contract. Raises RejectedError."""
    try:
        if schema.kind != "AVRO":
            raise SchemaError(f"is {schema.kind}, not AVRO")
        return WriterSchema(
            contract, parse_schema(schema.text, (text for _, text in schema.references)), reader
        )
    except SchemaError as error:
        reject("schema_incompatible", f"schema {number}: {error}")


def _schema_ids(blob: bytes, starts: Longs) -> npt.NDArray[np.uint32]:
    heads = np.lib.stride_tricks.sliding_window_view(np.frombuffer(blob, np.uint8), HEAD)[starts]
    if heads[:, 0].any():
        raise UnfitError
    ids: npt.NDArray[np.uint32] = np.ascontiguousarray(heads[:, 1:]).view(">u4")[:, 0]
    return ids


def _cause(error: Exception) -> str:
    return "they end too early" if isinstance(error, EOFError) else "an index or length is out of range"


def _plain(node: Node, wanted: set[tuple[str, ...]], path: tuple[str, ...], numbers: Iterator[int]) -> Any:
    """The schema for fastavro: without logical types, and without texts and symbols that nobody reads."""
    named = path in wanted
    match node.kind:
        case "record":
            fields = [
                {"name": field.name, "type": _plain(field.node, wanted, (*path, field.name), numbers)}
                for field in node.fields
            ]
            return {"type": "record", "name": f"r{next(numbers)}", "fields": fields}
        case "union":
            return [_plain(branch, wanted, path, numbers) for branch in node.branches]
        case "array":
            assert node.items
            return {"type": "array", "items": _plain(node.items, wanted, (*path, INTO), numbers)}
        case "map":
            assert node.items
            return {"type": "map", "values": _plain(node.items, wanted, (*path, INTO), numbers)}
        case "enum":
            if named:
                return {"type": "enum", "name": f"e{next(numbers)}", "symbols": list(node.symbols)}
            return "long"
        case "fixed":
            return {"type": "fixed", "name": f"f{next(numbers)}", "size": node.size}
        case "string":
            return "string" if named else "bytes"
    return node.kind
