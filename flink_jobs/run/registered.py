"""What a schema registry has of a subject, whether that has a job's fields, and which could be made of it.

found = newest(job.source.schema_registry, job.source.subject)
proposed_fields(found.schema)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from flink_jobs.errors import InputError, Location, WorkError
from flink_jobs.plan.formats import (
    Misfit,
    json_misfits,
    json_schema,
    message_misfits,
    misfits,
    registry_params,
)
from flink_jobs.run import proposed_avro
from flink_jobs.run.proposed import Proposed, as_fields
from flink_jobs.spec import SchemaRegistry
from udfs.records.avro_columns import types_of
from udfs.records.avro_schema import Node, SchemaError, parse_schema
from udfs.records.contract import Contract
from udfs.records.output_schema import KINDS, SchemaFormat
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import NoSuchSchemaError, RegistryError, Schema
from udfs.records.schema_registry import SchemaRegistry as Client

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from udfs.records.json_schema import JsonSchema

_FORMATS = {kind: written_as for written_as, kind in KINDS.items()}
_SPEAKS = {"avro": "an Avro schema", "protobuf": "Protobuf messages", "json_schema": "a JSON Schema"}
# Of which the envelope's own are looked for.
_MOST_LEAVES = 10_000
# By these a next version must be read by the readers of this one.
_KEPT_FOR_READERS = ("FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")


@dataclass(frozen=True)
class Registered:
    """The newest version of a subject: records of a type that has the name `record`, if it has one.

    `level` is the compatibility that the registry asks of the next version.
    """

    version: int | None
    format: SchemaFormat
    schema: Node | Descriptor | JsonSchema
    record: str | None = None
    level: str | None = None


class SubjectError(InputError):
    """What is wrong with a subject, or with the record that is looked for in it; `key` says which."""

    def __init__(self, key: Literal["subject", "record"], expected: str, found: str) -> None:
        super().__init__(f"the {key} must be {expected}; got {found}")
        self.key, self.expected, self.found = key, expected, found


def newest(registry: SchemaRegistry, subject: str) -> Registered:
    """The newest schema of the subject.

    Raises SubjectError for a subject that is not there or has no schema that is read, WorkError when the
    registry does not answer.
    """
    return newest_at(registry_params(registry), subject, registry.record)


def newest_at(params: RegistryParams, subject: str, record: str | None = None) -> Registered:
    """The same, of a registry that no job file names; `record` is a message, where the file has several."""
    client = Client(params)
    try:
        schema = client.latest(subject)
        level = client.compatibility(subject)
        if schema.kind == "PROTOBUF":
            schema = Client(params, "serialized").latest(subject)
    except NoSuchSchemaError as error:
        raise SubjectError("subject", "one of the registry", f"{subject!r}: {error}") from error
    except RegistryError as error:
        raise WorkError(f"{subject}: {error}") from error
    if schema.kind not in _FORMATS:
        expected = "one of Avro, Protobuf or JSON Schema"
        raise SubjectError("subject", expected, f"{subject!r}, which has {schema.kind}")
    try:
        return _read(schema, subject, record, level)
    except SchemaError as error:
        expected = "one whose schema can be read"
        raise SubjectError("subject", expected, f"{subject!r}, whose schema {error}") from error


def _read(schema: Schema, subject: str, record: str | None, level: str | None) -> Registered:
    kind = _FORMATS[schema.kind]
    if kind == "protobuf":
        message = _message(schema, subject, record)
        return Registered(schema.version, kind, message, message.full_name, level)
    if kind == "json_schema":
        parsed = json_schema(schema.text, schema.references)
        title = parsed.document.get("title")
        return Registered(schema.version, kind, parsed, title if isinstance(title, str) else None, level)
    node = parse_schema(schema.text, (text for _, text in schema.references))
    if node.kind != "record":
        raise SubjectError("subject", "one of records", f"{subject!r}, which has {node.name}")
    return Registered(schema.version, kind, node, node.full_name, level)


def _message(schema: Schema, subject: str, record: str | None) -> Any:
    from flink_jobs.plan.protobuf_files import chosen_of  # Start-up: for this format.  # noqa: PLC0415
    from udfs.records.protobuf import names_of, registered_file  # As above.  # noqa: PLC0415

    file, pool = registered_file(schema, "registered.proto")
    names = names_of(file)
    chosen = chosen_of(names, record)
    if chosen is None:
        found = ", ".join(names[:20]) + ", …" * (len(names) > 20)
        expected = f"one of the messages of {subject!r} ({found}), by schema_registry.record or --record"
        raise SubjectError("record", expected, record or "nothing")
    return pool.FindMessageTypeByName(chosen)


def proposed_fields(schema: Node | Descriptor | JsonSchema) -> list[Proposed]:
    """All that may be a field of the job, and what may not, at the top and in records below."""
    return as_fields(_proposer(schema).leaves(schema))


def proposed_row(
    schema: Node | Descriptor | JsonSchema,
) -> tuple[list[Proposed], list[Proposed]] | None:
    """Of Debezium's envelope: fields of its own, and those of the row that was changed; None for others."""
    proposer = _proposer(schema)
    leaves = islice(proposer.leaves(schema), _MOST_LEAVES)
    own = {leaf.path[0]: leaf for leaf in leaves if len(leaf.path) == 1}
    row = proposer.row(schema)
    if row is None or "op" not in own:
        return None
    envelope = [own[name] for name in ("op", "ts_ms") if name in own]
    found = as_fields([*envelope, *row])
    return found[: len(envelope)], found[len(envelope) :]


def _proposer(schema: Node | Descriptor | JsonSchema) -> Any:
    """The module of the schema's format."""
    if isinstance(schema, Node):
        return proposed_avro
    if hasattr(schema, "fields_by_name"):
        from flink_jobs.run import proposed_protobuf  # Start-up: for this format.  # noqa: PLC0415

        return proposed_protobuf
    from flink_jobs.run import proposed_json  # Start-up: for this format.  # noqa: PLC0415

    return proposed_json


def unfilled(
    found: Registered,
    contract: Contract,
    written_as: str,
    below: Location = ("source", "schema"),
) -> Iterator[Misfit]:
    """The fields `below` that the schema cannot fill; records are `written_as` by what the job says."""
    if found.format != written_as:
        expected = f"{found.format}, as the registry has {_SPEAKS[found.format]}"
        yield (*below[:-1], "format"), expected, written_as, "", ()
    elif isinstance(found.schema, Node):
        yield from misfits(contract, found.schema, below)
    elif hasattr(found.schema, "fields_by_name"):
        yield from message_misfits(contract, found.schema, below)
    else:
        yield from json_misfits(contract, found.schema, below)


def at_risk(found: Registered, contract: Contract) -> tuple[str, ...]:
    """The fields that the job requires, and that a next version of the subject may leave out.

    Where readers of this version must be able to read the next, that are those which they can do without:
    fields of Avro with a default, optional properties, and all of Protobuf's.
    """
    if found.level is None:
        return ()
    kept = found.level in _KEPT_FOR_READERS
    return tuple(
        field.name
        for field in contract.every
        if field.required and not (kept and _is_needed(found.schema, field.steps))
    )


def _is_needed(schema: Any, steps: tuple[str, ...]) -> bool:
    if isinstance(schema, Node):
        return _needs(schema, steps)
    if hasattr(schema, "fields_by_name"):
        return False
    from flink_jobs.run.proposed_json import required_names, without_null  # As above.  # noqa: PLC0415

    here: object = schema.document
    for name in steps:
        part, _ = without_null(schema, here)
        if name not in required_names(part):
            return False
        properties = part.get("properties")
        here = properties.get(name, {}) if isinstance(properties, dict) else {}
    return True


def _needs(node: Node, steps: tuple[str, ...]) -> bool:
    """Whether readers with this schema need what is there in each record."""
    level = [node]
    for name in steps:
        records = [each for each in types_of(level) if each.kind == "record"]
        fields = [field for each in records for field in each.fields if field.name == name]
        if not fields or any(field.has_default for field in fields):
            return False
        level = [field.node for field in fields]
    return True
