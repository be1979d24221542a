"""The JSON Schema of job files, for editors; `conf/job.schema.json` is its committed copy.

    # yaml-language-server: $schema=conf/job.schema.json

It knows keys, types, values and defaults. What ties keys to each other (references, one topic twice) only
`tailrace validate` sees. Wherever a value has a form, `${VARIABLE}` is allowed too.
"""

from __future__ import annotations

import json
from typing import Any

from flink_jobs.spec import JobSpec
from flink_jobs.spec.features import LOOKUP_KINDS, WINDOW_KINDS
from flink_jobs.spec.lists import WRITTEN, WRITTEN_DECIMAL

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# By which editors and catalogs know it; nothing is to be fetched there.
SCHEMA_ID = "urn:tailrace:job-file:1"
_VARIABLE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "From the environment: ${NAME} or ${NAME:-default}.",
}
_REFERENCE = {"$ref": "#/$defs/Variable"}
# What a person reads or an editor offers stays beside the alternatives.
_NOTES = ("description", "default", "examples")
_FORMS = ("pattern", "enum", "const", "minimum")


def job_schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a job file."""
    schema = JobSpec.model_json_schema()
    definitions: Schema = schema["$defs"]
    _add_shorthands(definitions)
    for section in (schema, *definitions.values()):
        _tidy(section)
    definitions["Variable"] = dict(_VARIABLE)
    return {"$schema": DIALECT, "$id": SCHEMA_ID, "title": "Tailrace job file", **schema}


def job_schema_text() -> str:
    """The schema as the committed file holds it."""
    return json.dumps(job_schema(), indent=2) + "\n"


def _add_shorthands(definitions: Schema) -> None:
    """What validators accept besides the type that they make."""
    source = definitions["Source"]["properties"]
    of_element = definitions["ElementField"]["properties"]
    of_element["type"] = _with_words(of_element["type"], WRITTEN_DECIMAL)
    scalar = dict(of_element["type"])
    written = definitions["SchemaField"]["properties"]
    written["type"] = _with_words(written["type"], WRITTEN)
    below = [definitions[section]["properties"]["fields"] for section in ("RecordKey", "Envelope")]
    members = written["members"]["anyOf"][0]
    for fields, short in (
        (source["schema"], dict(written["type"])),
        (source["headers"], dict(definitions["HeaderField"]["properties"]["type"])),
        *((fields, scalar) for fields in (members, *below)),
    ):
        for pattern, field in fields["patternProperties"].items():
            fields["patternProperties"][pattern] = {"anyOf": [field, short]}
    written["element"]["anyOf"].append(scalar)
    kind = dict(definitions["Envelope"]["properties"]["kind"])
    source["envelope"] = {"description": kind["description"], "anyOf": [kind, source["envelope"]]}
    column = dict(definitions["SelectedColumn"]["properties"]["column"])
    taken = definitions["Lookup"]["properties"]["select"]["patternProperties"]
    for pattern, section in taken.items():
        taken[pattern] = {"anyOf": [column, section]}
    for section, key in (("Window", "by"), *(("Lookup", key) for key in ("by", "key", "select"))):
        definitions[section]["properties"][key] = _with_short_form(definitions[section]["properties"][key])
    definitions["Window"]["oneOf"] = [{"required": [kind]} for kind in WINDOW_KINDS]
    definitions["Lookup"]["oneOf"] = [{"required": [kind]} for kind in LOOKUP_KINDS]
    definitions["Window"]["dependentRequired"] = {"hop": ["every"], "every": ["hop"]}


def _with_words(schema: Schema, pattern: str) -> Schema:
    """A type, or one in words: a list or vector of something, or a decimal of so many digits."""
    in_words = {"type": "string", "pattern": pattern}
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {"description": schema["description"], "anyOf": [bare, in_words]}


def _with_short_form(schema: Schema) -> Schema:
    """One text instead of a list of one, or a list instead of a mapping of names to themselves."""
    name = {"type": "string", "minLength": 1}
    short = name if schema["type"] == "array" else {"type": "array", "items": name, "minItems": 1}
    return {"description": schema.pop("description"), "anyOf": [short, schema]}


def _tidy(schema: Schema) -> None:
    """Drop generated titles and empty defaults, forbid keys of another form, and allow variables."""
    schema.pop("title", None)
    if schema.get("default") == "":
        del schema["default"]
    if "patternProperties" in schema:
        schema["additionalProperties"] = False
    for holder in ("properties", "patternProperties"):
        for key, value in schema.get(holder, {}).items():
            _tidy(value)
            schema[holder][key] = _or_variable(value)
    for alternative in schema.get("anyOf", ()):
        _tidy(alternative)
    if isinstance(schema.get("items"), dict):
        schema["items"] = _or_variable(schema["items"])


def _or_variable(schema: Schema) -> Schema:
    alternatives = schema.get("anyOf", [schema])
    if any(alternative.get("writeOnly") for alternative in alternatives):
        return schema
    if not any(_has_form(alternative) for alternative in alternatives):
        return schema
    notes = {key: schema[key] for key in _NOTES if key in schema}
    bare = [{k: v for k, v in alternative.items() if k not in _NOTES} for alternative in alternatives]
    return {**notes, "anyOf": [*bare, _REFERENCE]}


def _has_form(schema: Schema) -> bool:
    return schema.get("type") == "boolean" or any(key in schema for key in _FORMS)
