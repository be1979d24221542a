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
    fields = avro_fields(job)

    def told(value: bytes | None) -> Told | None:
        try:
            return msgspec.convert(fields(value or b""), Told)
        except (RejectedError, msgspec.MsgspecError):
            return None

    return told


def avro_fields(job: JobSpec) -> Fields:
    """What gives the fields of a prediction in Avro, by the schema that it was written with; times are text.

    Raises RejectedError for bytes that are none, WorkError where the registry does not answer.
    """
    from fastavro import parse_schema, schemaless_reader  # Start-up: for this format.  # noqa: PLC0415

    from udfs.records import schema_registry  # Start-up, as above.  # noqa: PLC0415

    at = output_registry(job)
    assert at
    client = schema_registry.SchemaRegistry(registry_params(at))
    schemas: dict[int, Any] = {}

    def fields(value: bytes) -> Mapping[str, Any]:
        number = schema_id(value)
        if number not in schemas:
            schemas[number] = fetched(number)
        if schemas[number] is None:
            return {}
        try:
            read = schemaless_reader(io.BytesIO(value[HEAD:]), schemas[number], None)
        except (EOFError, ValueError, IndexError, TypeError):
            return {}
        return {name: iso_of(each) for name, each in read.items()} if isinstance(read, dict) else {}

    def fetched(number: int) -> Any:
        try:
            return parse_schema(msgspec.json.decode(client.by_id(number).text))
        except schema_registry.NoSuchSchemaError:
            return None
        except schema_registry.RegistryError as error:
            raise WorkError(f"predictions: {error}") from error

    return fields


def iso_of(value: Any) -> Any:
    """A time as predictions in JSON write it; anything else as it is."""
    return iso(round(value.timestamp() * 1000)) if isinstance(value, datetime) else value
