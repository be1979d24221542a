"""Which decoder reads a source's records; only what a format needs is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from udfs.records.contract import Contract
from udfs.records.csv_params import CsvParams
from udfs.records.debezium import TOPS, DebeziumDecoder, EnvelopeParams
from udfs.records.decode import Decoder
from udfs.records.framed_json import FramedJsonDecoder
from udfs.records.json import JsonDecoder
from udfs.records.messagepack import MessagePackDecoder
from udfs.records.nested_json import NestedJsonDecoder
from udfs.records.registry_params import RegistryParams
from udfs.records.text import TextDecoder
from udfs.records.unframed import Framing, UnframedDecoder, after_confluent, after_glue

if TYPE_CHECKING:
    from udfs.records.json_schema import JsonSchema
    from udfs.records.schema_cache import SchemaCache

FormatName = Literal["json", "json_schema", "avro", "protobuf", "messagepack", "csv", "text"]


class FormatParams(msgspec.Struct, frozen=True):
    """How records are written; `schema` is the text of the one that the job names.

    Of Protobuf it is a set of descriptors in base64, of which records are the `message`. `framing` is what is
    before each record that is not looked into; ids are, where there is a `registry`.
    """

    name: FormatName = "json"
    schema: str | None = None
    message: str | None = None
    registry: RegistryParams | None = None
    envelope: EnvelopeParams | None = None
    csv: CsvParams | None = None
    framing: Framing = "none"


def make_decoder(contract: Contract, max_bytes: int, written: FormatParams) -> Decoder:
    """The decoder of the format."""
    if written.envelope and written.envelope.kind == "debezium":
        bare = msgspec.structs.replace(written, envelope=None)
        tops = TOPS if written.name in ("json", "json_schema") else TOPS[:1]
        return DebeziumDecoder(
            contract, lambda inner: make_decoder(inner, max_bytes, bare), written.envelope, tops
        )
    if written.framing != "none":
        name = "json" if written.name == "json_schema" and not written.schema else written.name
        bare = msgspec.structs.replace(written, name=name, framing="none")
        return UnframedDecoder(make_decoder(contract, max_bytes, bare), max_bytes, _after(written))
    if written.name == "avro":
        from udfs.records.avro import AvroDecoder  # Start-up: fastavro is for this format.  # noqa: PLC0415

        return AvroDecoder(contract, max_bytes, written.schema, written.registry)
    if written.name == "protobuf":
        from udfs.records import protobuf  # Start-up, as above.  # noqa: PLC0415

        if written.schema and written.message:
            return protobuf.PlainProtobufDecoder(contract, max_bytes, written.schema, written.message)
        assert written.registry
        return protobuf.ProtobufDecoder(contract, max_bytes, written.registry)
    if written.name == "messagepack":
        return MessagePackDecoder(contract, max_bytes)
    if written.name == "csv":
        from udfs.records.csv import CsvDecoder  # Start-up, as above.  # noqa: PLC0415

        return CsvDecoder(contract, written.csv or CsvParams(tuple(contract.names)), max_bytes)
    if written.name == "text":
        return TextDecoder(contract, max_bytes)
    nested = any(field.path for field in contract.every) or any(each.nested for each in contract.lists)
    decoder = NestedJsonDecoder(contract, max_bytes) if nested else JsonDecoder(contract, max_bytes)
    if written.name == "json_schema" and written.schema:
        from udfs.records.json_schema import JsonSchemaDecoder  # Start-up, as above.  # noqa: PLC0415

        return JsonSchemaDecoder(decoder, max_bytes, written.schema)
    if written.name == "json_schema":
        return FramedJsonDecoder(decoder, max_bytes, _schemas(written.registry))
    return decoder


def _after(written: FormatParams) -> Callable[[bytes, int], bytes]:
    """What follows the header, of Protobuf also what says which message of the file it is."""
    glue = written.framing == "glue"
    if written.name != "protobuf":
        return after_glue if glue else after_confluent
    from udfs.records import protobuf  # Start-up, as above.  # noqa: PLC0415

    return protobuf.after_glues_index if glue else protobuf.after_place


def _schemas(registry: RegistryParams | None) -> SchemaCache[JsonSchema] | None:
    """The JSON Schemas of a registry by their ids."""
    if not registry:
        return None
    from udfs.records.json_schema import registered  # Start-up, as above.  # noqa: PLC0415
    from udfs.records.schema_cache import SchemaCache  # Start-up, as above.  # noqa: PLC0415
    from udfs.records.schema_registry import SchemaRegistry  # Start-up, as above.  # noqa: PLC0415

    return SchemaCache(SchemaRegistry(registry).by_id, registered, registry.wait_s)
