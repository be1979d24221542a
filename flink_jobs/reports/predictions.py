"""What predictions say of their records and of how they came to be, whichever format a job writes.

told = prediction_reader(job)(record.value)
told.origin, told.time, told.version
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from flink_jobs.errors import WorkError
from flink_jobs.plan.formats import registry_params
from flink_jobs.plan.prediction_schema import output_registry
from flink_jobs.spec import JobSpec
from udfs.records.framing import HEAD, schema_id
from udfs.records.output_schema import OutputField, OutputSchema
from udfs.records.problems import RejectedError
from udfs.times import iso, parse_time

Origin = tuple[str, int, int]


class Told(msgspec.Struct, frozen=True):
    """The fields of a prediction that all have."""

    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    event_time: str | None = None
    version: int | None = None
    digest: str = ""
    release: int | None = None

    @property
    def origin(self) -> Origin | None:
        """Topic, partition and offset of the record that was predicted; None if it does not say."""
        if self.partition is None or self.offset is None:
            return None
        return self.topic, self.partition, self.offset

    @property
    def time(self) -> int | None:
        """The event time of the record, in ms; None if it does not say."""
        try:
            return parse_time(self.event_time) if self.event_time else None
        except ValueError:
            return None


_json = msgspec.json.Decoder(Told)
Fields = Callable[[bytes], Mapping[str, Any]]
Read = Callable[[int, bytes], Any]
# What `Told` is made of.
_TOLD: tuple[OutputField, ...] = (
    *(OutputField(name, "string") for name in ("topic", "digest")),
    *(OutputField(name, "long") for name in ("partition", "offset", "version", "release")),
    OutputField("event_time", "timestamp"),
)


def told_by_json(value: bytes | None) -> Told | None:
    """None for what is no prediction."""
    try:
        return _json.decode(value or b"")
    except msgspec.MsgspecError:
        return None


def prediction_reader(job: JobSpec) -> Callable[[bytes | None], Told | None]:
    """What reads the job's predictions, and gives None for what is none.

    Raises WorkError while it reads Avro and the registry does not answer.
    """
    if job.predictions.format == "json":
        return told_by_json
    fields = prediction_fields(job, OutputSchema(_TOLD, job.predictions.format))

    def told(value: bytes | None) -> Told | None:
        try:
            return msgspec.convert(fields(value or b""), Told)
        except (RejectedError, msgspec.MsgspecError):
            return None

    return told


def prediction_fields(job: JobSpec, schema: OutputSchema) -> Fields:
    """What gives the fields of a prediction after an id, times as text; none for what can't be read.

    Avro is read by the schema that it was written with, Protobuf by this one: the number of a field follows
    from its name. Raises RejectedError for bytes without an id, WorkError where Avro's registry does not
    answer.
    """
    read = _reader(job, schema)

    def fields(value: bytes) -> Mapping[str, Any]:
        found = read(schema_id(value), value[HEAD:])
        return {name: iso_of(each) for name, each in found.items()} if isinstance(found, dict) else {}

    return fields


def _reader(job: JobSpec, schema: OutputSchema) -> Read:
    match schema.format:
        case "avro":
            return _by_registry(job)
        case "protobuf":
            return _by_numbers(schema)
        case "json_schema":
            return _by_names


def _by_names(_id: int, text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return None


def _by_numbers(schema: OutputSchema) -> Read:
    from google.protobuf.message import DecodeError  # Start-up: for this format.  # noqa: PLC0415

    from udfs.records.protobuf_encode import PLACE, read_message  # Start-up, as above.  # noqa: PLC0415

    def read(_id: int, raw: bytes) -> Any:
        try:
            return read_message(schema, raw.removeprefix(PLACE))
        except DecodeError:
            return None

    return read


def _by_registry(job: JobSpec) -> Read:
    from fastavro import parse_schema, schemaless_reader  # Start-up: for this format.  # noqa: PLC0415

    from udfs.records import schema_registry  # Start-up, as above.  # noqa: PLC0415

    at = output_registry(job)
    assert at
    client = schema_registry.SchemaRegistry(registry_params(at))
    schemas: dict[int, Any] = {}

    def read(number: int, raw: bytes) -> Any:
        if number not in schemas:
            schemas[number] = fetched(number)
        if schemas[number] is None:
            return None
        try:
            return schemaless_reader(io.BytesIO(raw), schemas[number], None)
        except (EOFError, ValueError, IndexError, TypeError):
            return None

    def fetched(number: int) -> Any:
        try:
            return parse_schema(msgspec.json.decode(client.by_id(number).text))
        except schema_registry.NoSuchSchemaError:
            return None
        except schema_registry.RegistryError as error:
            raise WorkError(f"predictions: {error}") from error

    return read


def iso_of(value: Any) -> Any:
    """A time as predictions in JSON write it; anything else as it is."""
    return iso(round(value.timestamp() * 1000)) if isinstance(value, datetime) else value
