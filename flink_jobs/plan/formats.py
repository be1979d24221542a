"""What workers are told of the format of a source's records, and whether its columns can be read from it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flink_jobs.errors import InputError, Location
from flink_jobs.plan.diagnose import Collector
from flink_jobs.plan.protobuf_files import chosen_message, read_descriptors
from flink_jobs.spec import JobSpec, SchemaRegistry
from flink_jobs.spec.contract import ContractField, SchemaField
from flink_jobs.spec.formats import Csv, RecordKey
from flink_jobs.spec.source import Source
from flink_jobs.system.certificates import pem_certificate, read_pem
from udfs.records.avro_columns import FoundColumn
from udfs.records.avro_columns import find_column as find_avro_column
from udfs.records.avro_lists import FoundList, find_lists
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.beside import BesideParams
from udfs.records.contract import Contract, Field
from udfs.records.csv_params import CsvParams
from udfs.records.debezium import EnvelopeParams, around
from udfs.records.formats import FormatParams
from udfs.records.lists import LARGEST_LENGTH, USUAL_LENGTH, ListField
from udfs.records.maps import MapField, map_field
from udfs.records.protobuf import message_of
from udfs.records.protobuf_columns import find_column
from udfs.records.registry_params import RegistryParams
from udfs.records.unframed import Framing

if TYPE_CHECKING:
    from udfs.records.json_schema import JsonSchema

_LARGEST_FILE = 1_000_000
#: Formats whose records begin with the id of a schema, where there is a registry.
REGISTERED = ("avro", "protobuf", "json_schema")


def format_params(job: JobSpec) -> FormatParams:
    """How the job's records are written. Raises InputError for files that cannot be read."""
    written = _params(job.source, job.source)
    return msgspec.structs.replace(written, envelope=envelope_params(job.source))


def envelope_params(source: Source) -> EnvelopeParams | None:
    """What is around the job's fields, if anything is."""
    envelope = source.envelope
    if envelope.kind == "none":
        return None
    return EnvelopeParams(envelope.kind, frozenset(envelope.fields), envelope.deletes == "before")


def written_contract(source: Source) -> Contract:
    """The data contract with the paths at which fields are in the whole record."""
    contract, envelope = contract_of(source), envelope_params(source)
    if envelope is None:
        return contract
    if envelope.kind == "debezium":
        return around(contract, envelope, "after")
    fields = tuple(field for field in contract.fields if field.name not in envelope.fields)
    return Contract(fields, contract.lists)


def _params(source: Source, of: Source | RecordKey) -> FormatParams:
    alone = of.format == "json_schema" and of.schema_file
    by_registry = source.schema_registry if of.format in REGISTERED and not alone else None
    registry = registry_params(by_registry) if by_registry else None
    framing = _framing(of) if isinstance(of, Source) else "none"
    if of.format == "protobuf" and of.schema_file:
        descriptors = read_descriptors(of.schema_file)
        message, _ = chosen_message(descriptors, of.message)
        return FormatParams(of.format, base64.b64encode(descriptors).decode(), message, framing=framing)
    csv = _csv_params(of) if isinstance(of, Source) and of.format == "csv" else None
    schema = _read(of.schema_file) if of.schema_file else None
    return FormatParams(of.format, schema, registry=registry, csv=csv, framing=framing)


def _framing(source: Source) -> Framing:
    """What is before records and not looked into; an id is, where there is a registry."""
    return "none" if source.schema_registry else source.framing or "none"


def _csv_params(source: Source) -> CsvParams:
    given = source.csv or Csv()
    return CsvParams(source.csv_columns, given.delimiter, given.null)


def beside_of(source: Source) -> tuple[BesideParams, ...]:
    """How the key and the headers become columns, if they do. Raises InputError as above."""
    key = source.key
    of_key = [BesideParams(key_contract(key), _params(source, key))] if key else []
    headers = [
        BesideParams(Contract((_field(name, field),)), header=field.header or name)
        for name, field in source.headers.items()
    ]
    return (*of_key, *headers)


def key_contract(key: RecordKey) -> Contract:
    """The data contract of keys."""
    return Contract(tuple(_field(name, field, field.field) for name, field in key.fields.items()))


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
    written = {**source.fields, **source.envelope.fields}
    lists = tuple(_list(name, field) for name, field in source.lists.items())
    fields = [_field(name, field, field.field) for name, field in written.items() if name not in source.lists]
    if when.field and when.field not in written:
        fields.append(Field(when.field, when.type, required=True))
    return Contract(tuple(fields), lists)


def _list(name: str, field: SchemaField) -> ListField:
    low, high = field.length or (None, USUAL_LENGTH)
    members = [_field(member, held, held.field) for member, held in field.held.items()]
    path = tuple(field.field.split(".")) if field.field else ()
    if field.type == "map":
        most = LARGEST_LENGTH if high is None else high
        return map_field(name, members[0], field.required, (low, most), path)
    if field.size:
        low, high = field.size, field.size
        members = [msgspec.structs.replace(member, required=True) for member in members]
    return ListField(
        name,
        tuple(members),
        field.required,
        (low, LARGEST_LENGTH if high is None else high),
        path,
    )


def _field(name: str, field: ContractField, path: str | None = None) -> Field:
    return Field(
        name,
        field.column_type,
        field.required,
        field.low,
        field.high,
        tuple(field.values),
        tuple(path.split(".")) if path else (),
        field.length if field.length else (None, None),
        field.pattern,
        field.digits,
    )


def collect_format(job: JobSpec, found: Collector) -> None:
    """Adds schemas that cannot be read, columns that they do not have, and certificates that are none."""
    if found.doubts.below(("source",)):
        return
    source = job.source
    if source.schema_file:
        _collect_file(("source",), source, written_contract(source), found)
    if source.key and source.key.schema_file:
        _collect_file(("source", "key"), source.key, key_contract(source.key), found)
    try:
        _ = source.schema_registry and registry_params(source.schema_registry)
    except InputError as error:
        found.add(("source", "schema_registry"), "readable PEM files", str(error))


def _collect_file(where: Location, of: Source | RecordKey, contract: Contract, found: Collector) -> None:
    location, file = (*where, "schema_file"), of.schema_file
    assert file
    kind = {"avro": "an Avro schema", "protobuf": "Protobuf messages"}.get(of.format, "a JSON Schema")
    below = (*where, "schema" if len(where) == 1 else "fields")
    try:
        if of.format == "avro":
            wrong = misfits(contract, parse_schema(_read(file)), below)
        elif of.format == "json_schema":
            wrong = json_misfits(contract, json_schema(_read(file)), below)
        else:
            descriptors = read_descriptors(file)
            message, names = chosen_message(descriptors, of.message)
            if message is None:
                expected = f"given, as one of {', '.join(names[:20])}{', …' * (len(names) > 20)}"
                found.add((*where, "message"), expected, repr(of.message) if of.message else "nothing")
                return
            wrong = message_misfits(contract, message_of(descriptors, message), below)
    except InputError as error:
        found.add(location, "a readable file", str(error))
        return
    except SchemaError as error:
        found.add(location, f"a file with {kind}", f"{file}, which {error}")
        return
    for place, expected, got, name, choices in wrong:
        found.add(place, expected, got, name=name, choices=choices)


Misfit = tuple[Location, str, str, str, tuple[str, ...]]


def misfits(contract: Contract, schema: Node, below: Location = ("source", "schema")) -> Iterator[Misfit]:
    """The fields of the job that the schema cannot fill: location, expected, got, name and choices."""
    known = tuple(field.name for field in schema.fields)
    return _misfits(contract, known, "the Avro schema", lambda field: _found(field, schema).steps, below)


def message_misfits(
    contract: Contract, message: Any, below: Location = ("source", "schema")
) -> Iterator[Misfit]:
    """As `misfits`, of a Protobuf message's descriptor."""
    known = tuple(message.fields_by_name)
    return _misfits(contract, known, "the message", lambda field: find_column(message, field), below)


def json_schema(text: str, references: Sequence[tuple[str, str]] = ()) -> JsonSchema:
    """The schema of that text. Raises SchemaError."""
    from udfs.records.json_schema import JsonSchema  # Start-up: 0.1 s for this format.  # noqa: PLC0415

    return JsonSchema(text, references)


def json_misfits(
    contract: Contract, schema: JsonSchema, below: Location = ("source", "schema")
) -> Iterator[Misfit]:
    """As `misfits`, of a JSON Schema."""

    def find(field: Field | ListField) -> bool:
        kinds = schema.kinds(field.steps)
        wanted = _JSON_KINDS[_kind(field)]
        if kinds and not kinds & wanted:
            found = " or ".join(sorted(kinds))
            raise SchemaError(f"{field.path_text}: expected {' or '.join(sorted(wanted))}, it has {found}")
        return kinds is None or bool(kinds)

    return _misfits(contract, schema.names, "the JSON Schema", find, below)


_JSON_KINDS = {
    "string": {"string"},
    "bytes": {"string"},
    "decimal": {"string", "number", "integer"},
    "double": {"number", "integer"},
    "long": {"number", "integer"},
    "boolean": {"boolean"},
    "map": {"object"},
    "list": {"array"},
}


def _kind(field: Field | ListField) -> str:
    if isinstance(field, Field):
        return field.type
    return "map" if isinstance(field, MapField) else "list"


def _misfits(
    contract: Contract,
    known: tuple[str, ...],
    of: str,
    find: Callable[[Field | ListField], object],
    below: Location,
) -> Iterator[Misfit]:
    for field in contract.every:
        location: Location = (*below, field.name)
        try:
            there = find(field)
        except SchemaError as error:
            yield (*location, "type"), f"a type that {of} has there", str(error), "", ()
            continue
        if not there:
            expected = f"a field of {of} ({', '.join(known[:20])}{', …' * (len(known) > 20)})"
            name = field.steps[0]
            yield location, expected, field.path_text, "" if name in known else name, known


def _found(field: Field | ListField, schema: Node) -> FoundColumn | FoundList:
    if isinstance(field, ListField):
        return find_lists(schema, None, (field,))[0]
    return find_avro_column(schema, None, field)


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
