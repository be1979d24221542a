"""The schema of a job's predictions as its format writes schemas, for registries and for people.

>>> from udfs.records.output_schema import OutputField
>>> output = OutputSchema((OutputField("n", "long"), OutputField("topic", "string", nullable=False)))
>>> schema_text(output)[:61]
'{"type": "record", "name": "Prediction", "namespace": "tailra'
"""

from __future__ import annotations

import json
from typing import Any

from udfs.records.output_schema import Kind, OutputField, OutputSchema

_AVRO: dict[Kind, Any] = {
    "string": "string",
    "double": "double",
    "long": "long",
    "boolean": "boolean",
    "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
    "map": {"type": "map", "values": ["null", "double"]},
    "json": "string",
}
_JSON: dict[Kind, dict[str, Any]] = {
    "string": {"type": "string"},
    "double": {"type": "number"},
    "long": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "string", "format": "date-time"},
    "map": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
    "json": {"type": "object"},
}
_DRAFT = "http://json-schema.org/draft-07/schema#"


def schema_text(output: OutputSchema) -> str:
    """The text that is registered."""
    if output.format == "avro":
        return json.dumps(_avro(output))
    if output.format == "json_schema":
        return json.dumps(_json(output))
    from udfs.records.protobuf_schema import proto_text  # Start-up: for this format.  # noqa: PLC0415

    return proto_text(output)


def shown_schema(output: OutputSchema) -> Any:
    """The schema for people: as data, and of Protobuf as the text of a file."""
    text = schema_text(output)
    return text if output.format == "protobuf" else json.loads(text)


def _avro(output: OutputSchema) -> dict[str, Any]:
    namespace, name = output.names
    fields = [_declared(field) for field in output.fields]
    return {"type": "record", "name": name, "namespace": namespace, "fields": fields}


def _declared(field: OutputField) -> dict[str, Any]:
    if not field.nullable:
        return {"name": field.name, "type": _AVRO[field.kind]}
    return {"name": field.name, "type": ["null", _AVRO[field.kind]], "default": None}


def _json(output: OutputSchema) -> dict[str, Any]:
    """Closed, so that a field can be added and old records still hold."""
    return {
        "$schema": _DRAFT,
        "title": output.record,
        "type": "object",
        "properties": {field.name: _property(field) for field in output.fields},
        "required": [field.name for field in output.fields if not field.nullable],
        "additionalProperties": False,
    }


def _property(field: OutputField) -> dict[str, Any]:
    kind = _JSON[field.kind]
    return {**kind, "type": [kind["type"], "null"]} if field.nullable else kind
