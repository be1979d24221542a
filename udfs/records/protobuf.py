"""Protobuf records, bare or in Confluent's wire format: a schema's id, the place of the message in its file.

The registry gives the file's descriptor, or the job does; protobuf's own library reads the records.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import google.protobuf.any_pb2
import google.protobuf.duration_pb2
import google.protobuf.struct_pb2
import google.protobuf.timestamp_pb2
import google.protobuf.wrappers_pb2  # noqa: F401  These files are known without a registry.
import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

from udfs.records.avro_batch import PADDING, UnfitError
from udfs.records.avro_schema import SchemaError
from udfs.records.contract import Contract
from udfs.records.framing import HEAD, check_value, reject, schema_id
from udfs.records.problems import RejectedError
from udfs.records.protobuf_batch import plan_steps, read_batch
from udfs.records.protobuf_columns import MessageColumn, find_columns
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_cache import SchemaCache
from udfs.records.schema_registry import Schema, SchemaRegistry
from udfs.records.unframed import after_glue

MOST_LEVELS, MOST_MESSAGES = 20, 100
_WELL_KNOWN = "google/protobuf/"


class ProtobufDecoder:
    """Decodes records of at most `max_bytes` bytes, each by the schema that it was written with."""

    def __init__(
        self,
        contract: Contract,
        max_bytes: int,
        registry: RegistryParams,
        cache: SchemaCache[WriterFile] | None = None,
    ) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        client = SchemaRegistry(registry, "serialized")
        self._cache = cache or SchemaCache(client.by_id, partial(writer_file, contract), registry.wait_s)

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        try:
            table = self._read([*raws])
        except RejectedError:
            return None
        return table

    def _read(self, raws: list[bytes | None]) -> pa.Table | None:
        """The columns, if all records are of one message."""
        if not raws:
            return None
        first = check_value(raws[0], self.max_bytes)
        place, start = message_place(first, HEAD)
        message = self._cache.get(schema_id(first)).message(place)
        head = first[:start]
        whole = [
            raw for raw in raws if raw is not None and raw.startswith(head) and len(raw) <= self.max_bytes
        ]
        if len(whole) == len(raws):
            return message.read_columns(whole, self.contract, start)
        bodies: list[bytes] = []
        for raw in raws:
            value = check_value(raw, self.max_bytes)
            place, start = message_place(value, HEAD)
            if self._cache.get(schema_id(value)).message(place) is not message:
                return None
            bodies.append(value[start:])
        return message.read_columns(bodies, self.contract)

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The columns of one record; raises RejectedError with the reason."""
        value = check_value(raw, self.max_bytes)
        found = self._cache.get(schema_id(value))
        place, start = message_place(value, HEAD)
        return found.message(place).read(value[start:])


class PlainProtobufDecoder:
    """Decodes records of at most `max_bytes` bytes that are one message each, and nothing before it.

    `schema` is a set of descriptors in base64. Raises SchemaError for one that cannot be used.
    """

    def __init__(self, contract: Contract, max_bytes: int, schema: str, message: str) -> None:
        self.contract = contract
        self.max_bytes = max_bytes
        descriptor = message_of(base64.b64decode(schema), message)
        self._message = WriterMessage(
            message_factory.GetMessageClass(descriptor), find_columns(descriptor, contract), contract
        )

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        try:
            bodies = [self._value(raw) for raw in raws]
            return self._message.read_columns(bodies, self.contract)
        except RejectedError:
            return None

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The columns of one record; raises RejectedError with the reason."""
        return self._message.read(self._value(raw))

    def _value(self, raw: bytes | None) -> bytes:
        """A message whose fields all have their defaults takes no bytes."""
        return raw if raw == b"" else check_value(raw, self.max_bytes)


class WriterMessage:
    """How records of one message become columns. Raises SchemaError if they cannot."""

    def __init__(self, kind: Any, columns: tuple[MessageColumn, ...], contract: Contract) -> None:
        self._kind = kind
        self._columns = columns
        self._steps = plan_steps(kind.DESCRIPTOR, contract)

    def read(self, body: bytes) -> dict[str, object]:
        """One record's columns; raises RejectedError."""
        message = self._parsed(body)
        return {column.field.name: column.read(message) for column in self._columns if column.read}

    def read_columns(self, raws: Sequence[bytes], contract: Contract, start: int = 0) -> pa.Table:
        """The columns of all records, each of which begins at `start`.

        Raises RejectedError, or as Arrow does for what is too large.
        """
        if self._steps is not None:
            lengths = np.fromiter(map(len, raws), np.int64, len(raws))
            ends = np.cumsum(lengths)
            data = b"".join((*raws, bytes(PADDING)))
            try:
                return read_batch(self._steps, contract, data, ends - lengths + start, ends)
            except UnfitError:
                pass  # Protobuf's library says what is valid.
        messages = [self._parsed(raw[start:]) for raw in raws]
        columns = []
        for column in self._columns:
            read = column.read
            values = [read(message) for message in messages] if read else [None] * len(messages)
            field = column.field
            columns.append(field.column(values))
        return pa.Table.from_arrays(columns, schema=contract.arrow_schema())

    def _parsed(self, body: bytes) -> Any:
        try:
            return self._kind.FromString(body)
        except DecodeError:
            reject("not_protobuf", "the bytes are not of the message")


class WriterFile:
    """A file of messages, of which a record names one."""

    def __init__(self, number: int, file: FileDescriptorProto, pool: Any, contract: Contract) -> None:
        self._number, self._file, self._pool, self._contract = number, file, pool, contract
        self._known: dict[tuple[int, ...], WriterMessage | str] = {}

    def message(self, place: tuple[int, ...]) -> WriterMessage:
        """The message of that place. Raises RejectedError."""
        found = self._known.get(place)
        if found is None:
            found = self._made(place)
            if len(self._known) < MOST_MESSAGES:
                self._known[place] = found
        if isinstance(found, str):
            reject("schema_incompatible", f"schema {self._number}: {found}")
        return found

    def _made(self, place: tuple[int, ...]) -> WriterMessage | str:
        name = self._name(place)
        if name is None:
            return "has no message of that index"
        descriptor = self._pool.FindMessageTypeByName(name)
        try:
            columns = find_columns(descriptor, self._contract)
        except SchemaError as error:
            return str(error)
        return WriterMessage(message_factory.GetMessageClass(descriptor), columns, self._contract)

    def _name(self, place: tuple[int, ...]) -> str | None:
        names = [self._file.package] if self._file.package else []
        level: Sequence[DescriptorProto] = self._file.message_type
        for index in place:
            if not 0 <= index < len(level):
                return None
            names.append(level[index].name)
            level = level[index].nested_type
        return ".".join(names)


def writer_file(contract: Contract, number: int, schema: Schema) -> WriterFile:
    """What was registered under the number, for the contract. Raises RejectedError."""
    try:
        file, pool = registered_file(schema, f"{number}.proto")
    except SchemaError as error:
        reject("schema_incompatible", f"schema {number}: {error}")
    return WriterFile(number, file, pool, contract)


def registered_file(schema: Schema, name: str) -> tuple[FileDescriptorProto, Any]:
    """A registry's file, under that name, and a pool with all that it needs. Raises SchemaError."""
    if schema.kind != "PROTOBUF":
        raise SchemaError(f"is {schema.kind}, not PROTOBUF")
    pool = descriptor_pool.DescriptorPool()
    for needed, text in schema.references:
        _add(pool, _file(text, needed))
    file = _file(schema.text, name)
    _add(pool, file)
    return file, pool


def message_of(descriptors: bytes, name: str) -> Any:
    """The descriptor of a message of a set. Raises SchemaError."""
    pool = descriptor_pool.DescriptorPool()
    files = files_of(descriptors)
    for file in files:
        _add(pool, file)
    try:
        return pool.FindMessageTypeByName(name)
    except KeyError:
        raise SchemaError(f"has no message {name}") from None


def files_of(descriptors: bytes) -> list[FileDescriptorProto]:
    """The files of a set, as protoc writes it with --include_imports. Raises SchemaError."""
    try:
        found = FileDescriptorSet.FromString(descriptors)
    except DecodeError:
        raise SchemaError("is no set of descriptors") from None
    if not any(file.message_type for file in found.file):
        raise SchemaError("has no messages")
    return [file for file in found.file if not file.name.startswith(_WELL_KNOWN)]


def message_names(descriptors: bytes) -> list[str]:
    """The messages of the set's last file, which is the one that was compiled, those within others too."""
    *_, last = files_of(descriptors)
    return names_of(last)


def names_of(file: FileDescriptorProto) -> list[str]:
    """The messages of a file, those within others too."""

    def below(prefix: str, messages: Iterable[DescriptorProto]) -> Iterator[str]:
        for message in messages:
            if message.options.map_entry:
                continue
            yield f"{prefix}{message.name}"
            yield from below(f"{prefix}{message.name}.", message.nested_type)

    return list(below(f"{file.package}." if file.package else "", file.message_type))


def _file(text: str, name: str) -> FileDescriptorProto:
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        raise SchemaError(
            "is given by the registry as text only: give schema_file, and framing: confluent"
        ) from None
    file.name = name
    return file


def _add(pool: Any, file: FileDescriptorProto) -> None:
    """With the files that all know, which no registry need have."""
    try:
        for name in file.dependency:
            if name.startswith(_WELL_KNOWN):
                _add_known(pool, name)
        pool.Add(file)
        pool.FindFileByName(file.name)
    except (TypeError, KeyError) as error:
        raise SchemaError(f"cannot be used: {error!s:.200}") from None


def _add_known(pool: Any, name: str) -> None:
    known = FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(known)
    for needed in known.dependency:
        _add_known(pool, needed)
    pool.Add(known)


def message_place(value: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """The indexes of the message in its file, from the outermost on, and where the message starts."""
    if value[at : at + 1] == b"\0":
        return (0,), at + 1
    count, at = _varint(value, at)
    if count == 0:
        return (0,), at
    if not 0 < count <= MOST_LEVELS:
        reject("not_framed", f"expected at most {MOST_LEVELS} indexes of a message")
    place = []
    for _ in range(count):
        index, at = _varint(value, at)
        place.append(index)
    return tuple(place), at


def after_place(value: bytes, _: int) -> bytes:
    """The message that follows id and indexes, which are not looked at. Raises RejectedError."""
    schema_id(value)
    return value[message_place(value, HEAD)[1] :]


def after_glues_index(value: bytes, max_bytes: int) -> bytes:
    """The message that follows AWS Glue's header and its one number of a message. Raises RejectedError."""
    body = after_glue(value, max_bytes)
    return body[_varint(body, 0)[1] :]


def _varint(value: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift, byte in zip(range(0, 35, 7), value[at : at + 5], strict=False):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + shift // 7 + 1
    return reject("not_framed", "expected the indexes of a message after the schema's id")
