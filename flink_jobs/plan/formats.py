"""What workers are told of the format of a source's records, and whether its columns can be read from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flink_jobs.errors import InputError, Location
from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import JobSpec, SchemaRegistry
from flink_jobs.spec.source import Source
from flink_jobs.system.certificates import pem_certificate, read_pem
from udfs.records.avro_columns import find_columns
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.contract import Contract, Field
from udfs.records.formats import FormatParams
from udfs.records.registry_params import RegistryParams

_LARGEST_FILE = 1_000_000


def format_params(job: JobSpec) -> FormatParams:
    """How the job's records are written. Raises InputError for files that cannot be read."""
    source = job.source
    registry = registry_params(source.schema_registry) if source.schema_registry else None
    return FormatParams(source.format, _read(source.schema_file) if source.schema_file else None, registry)


def registry_params(registry: SchemaRegistry) -> RegistryParams:
    """How the registry is reached. Raises InputError for files that cannot be read."""
    password = registry.key_password.get_secret_value() if registry.key_password else None
    own = None
    if registry.certificate_file:
        own = pem_certificate(registry.certificate_file, registry.key_file, password)
    return RegistryParams(
        url=registry.url,
        username=registry.username,
        password=registry.password.get_secret_value() if registry.password else None,
        token=registry.token.get_secret_value() if registry.token else None,
        ca=read_pem(registry.ca_file) if registry.ca_file else None,
        certificate=own.chain if own else None,
        key=own.key if own else None,
        wait_s=registry.wait / 1000,
    )


def contract_of(source: Source) -> Contract:
    """The data contract; an event-time field that the schema does not name is required."""
    when = source.event_time
    fields = [
        Field(
            name,
            field.type,
            field.required,
            field.low,
            field.high,
            tuple(field.values),
            tuple(field.field.split(".")) if field.field else (),
        )
        for name, field in source.fields.items()
    ]
    if when.field and when.field not in source.fields:
        fields.append(Field(when.field, when.type, required=True))
    return Contract(tuple(fields))


def collect_format(job: JobSpec, found: Collector) -> None:
    """Adds schemas that cannot be read, columns that they do not have, and certificates that are none."""
    if found.doubts.below(("source",)):
        return
    source, location = job.source, ("source", "schema_file")
    if source.schema_file:
        try:
            schema = parse_schema(_read(source.schema_file))
        except InputError as error:
            found.add(location, "a readable file", str(error))
        except SchemaError as error:
            found.add(location, "a file with an Avro schema", f"{source.schema_file}, which {error}")
        else:
            _collect_columns(source, schema_of=schema, found=found)
    try:
        _ = source.schema_registry and registry_params(source.schema_registry)
    except InputError as error:
        found.add(("source", "schema_registry"), "readable PEM files", str(error))


def _collect_columns(source: Source, *, schema_of: Node, found: Collector) -> None:
    for location, expected, got, name, choices in misfits(source, schema_of):
        found.add(location, expected, got, name=name, choices=choices)


def misfits(source: Source, schema: Node) -> Iterator[tuple[Location, str, str, str, tuple[str, ...]]]:
    """The fields of the job that the schema cannot fill: location, expected, got, name and choices."""
    known = tuple(field.name for field in schema.fields)
    for field in contract_of(source).fields:
        location: Location = ("source", "schema", field.name)
        try:
            (column,) = find_columns(schema, None, Contract((field,)))
        except SchemaError as error:
            yield (*location, "type"), "a type that the Avro schema has there", str(error), "", ()
            continue
        if not column.steps:
            expected = f"a field of the Avro schema ({', '.join(known[:20])}{', …' * (len(known) > 20)})"
            name = field.steps[0]
            yield location, expected, field.path_text, "" if name in known else name, known


def _read(path: Path) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{path} ({reason})") from None
    if len(text) > _LARGEST_FILE:
        raise InputError(f"{path} (more than {_LARGEST_FILE} characters)")
    return text
