r"""JSON records of a schema of the job's own: JSON without an id before it, that the schema holds as a whole.

>>> schema = JsonSchema('{"properties": {"n": {"minimum": 0}}}')
>>> schema.broken(b'{"n": 1}'), schema.broken(b'{"n": -1}').message
(None, 'properties/n/minimum of the JSON Schema does not hold')

Messages have places of the schema, as places in the record may have keys of a stranger. Patterns are RE2's,
and what a record can make slow is bounded: a hostile one takes time in proportion to its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as Broken
from jsonschema.exceptions import SchemaError as InvalidSchema
from jsonschema.validators import extend, validator_for
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import DRAFT202012

from udfs.records.avro_schema import SchemaError
from udfs.records.contract import Contract
from udfs.records.framing import reject
from udfs.records.json import JsonDecoder, parse_int
from udfs.records.problems import Problem, RejectedError
from udfs.records.schema_registry import Schema

# Of `$ref` followed for one record, beside one for each of its bytes.
LEAST_STEPS = 1_000
_SLOW = ("patternProperties", "unevaluatedProperties", "unevaluatedItems")
_DATA = ("const", "enum", "default", "examples")
_MAPS = ("properties", "$defs", "definitions", "dependentSchemas", "dependencies")
_REFS = ("$ref", "$dynamicRef", "$recursiveRef")


class JsonSchema:
    """A JSON Schema of any draft from 3 on; Draft 2020-12 where it has no `$schema`."""

    def __init__(self, text: str, references: Sequence[tuple[str, str]] = ()) -> None:
        """`references` are name and text of others that it refers to.

        Raises SchemaError for what is none, or is not read.
        """
        self.document = _parsed(text)
        others = {name: _parsed(other) for name, other in references}
        kind = validator_for(self.document, default=Draft202012Validator if self._unnamed else None)
        if kind is None:
            raise SchemaError("has a $schema that is no draft of JSON Schema")
        try:
            kind.check_schema(self.document)
        except InvalidSchema as error:
            place = "/".join(map(str, error.absolute_path)) or "its top"
            raise SchemaError(f"is no JSON Schema at {place}") from None
        registry = _registry(others)
        for document in (self.document, *others.values()):
            _check_parts(document)
        self._steps = 0
        self._resolver = _resolver(self.document, registry)
        _check_refs(self.document, self._resolver)
        for other in others.values():
            _check_refs(other, _resolver(other, registry))
        refs = {name: self._counted(kind.VALIDATORS[name]) for name in _REFS if name in kind.VALIDATORS}
        own = {"pattern": _pattern, "uniqueItems": _unique, **refs}
        self._validator = extend(kind, own)(self.document, registry=registry)
        if (problem := self.broken(b"{}")) and problem.reason == "too_deep":
            raise SchemaError("refers to itself without end")

    @property
    def _unnamed(self) -> bool:
        return "$schema" not in self.document

    def broken(self, raw: bytes) -> Problem | None:
        """What of the schema does not hold for the record, which is JSON."""
        self._steps = LEAST_STEPS + len(raw)
        try:
            found = next(self._validator.iter_errors(json.loads(raw, parse_int=parse_int)), None)
        except (RecursionError, _TooManyStepsError):
            return Problem("decode", "too_deep", "the JSON Schema refers to itself too often for this record")
        except ArithmeticError:
            return Problem("contract", "schema", "a number is too large for the JSON Schema")
        if found is None:
            return None
        place = "/".join(map(str, found.absolute_schema_path))
        return Problem("contract", "schema", f"{place:.300} of the JSON Schema does not hold")

    def kinds(self, path: Sequence[str]) -> set[str] | None:
        """The JSON types that a value at the path may have, none where it has no place; None: any."""
        here: object = self.document
        for name in path:
            here = self.target(here)
            known = here.get("properties") if isinstance(here, dict) else None
            if not isinstance(known, dict) or (name not in known and _is_open(here)):
                return None
            if name not in known:
                return set()
            here = known[name]
        here = self.target(here)
        given = here.get("type") if isinstance(here, dict) else None
        return {given} if isinstance(given, str) else {*given} if isinstance(given, list) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The properties at the top."""
        top = self.target(self.document)
        return tuple(top.get("properties", ())) if isinstance(top, dict) else ()

    def target(self, schema: object) -> object:
        """The part of the schema that a `$ref` leads to, or the part itself."""
        for _ in range(20):
            if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
                break
            schema = self._resolver.lookup(schema["$ref"]).contents
        return schema

    def _counted(self, follow: Callable[..., Iterator[Broken] | None]) -> Callable[..., Iterator[Broken]]:
        def counted(*given: Any) -> Iterator[Broken]:
            self._steps -= 1
            if self._steps < 0:
                raise _TooManyStepsError
            yield from follow(*given) or ()

        return counted


class JsonSchemaDecoder:
    """Decodes by another decoder, after which the schema must hold, too."""

    def __init__(self, inner: JsonDecoder, max_bytes: int, schema: str) -> None:
        self.contract: Contract = inner.contract
        self.max_bytes = max_bytes
        self._inner = inner
        self._schema = JsonSchema(schema)

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        table = self._inner.decode_columns(raws)
        if table is None or any(self._schema.broken(raw or b"{}") for raw in raws):
            return None
        return table

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The declared fields of one record; raises RejectedError with the reason."""
        record = self._inner.decode_record(raw)
        assert raw is not None
        if problem := self._schema.broken(raw):
            raise RejectedError(problem)
        return record


def registered(number: int, schema: Schema) -> JsonSchema:
    """The schema of an id as a registry has it. Raises RejectedError for one that is not read."""
    if schema.kind != "JSON":
        reject("schema_incompatible", f"schema {number}: expected a JSON Schema, got {schema.kind}")
    try:
        return JsonSchema(schema.text, schema.references)
    except SchemaError as error:
        reject("schema_incompatible", f"schema {number}: it {error}")


class _TooManyStepsError(Exception):
    pass


def _check_parts(schema: object) -> None:
    """Raises SchemaError for parts that make a stranger's record slow, or that RE2 does not know."""
    for part in _parts(schema):
        for name in _SLOW:
            if name in part and isinstance(part[name], dict | bool):
                raise SchemaError(f"has {name}, which is not read")
        pattern = part.get("pattern")
        if isinstance(pattern, str):
            try:
                pc.match_substring_regex(pa.scalar(""), pattern)
            except pa.ArrowInvalid:
                raise SchemaError(f"has the pattern {pattern:.100}, which RE2 does not know") from None


def _check_refs(schema: object, resolver: Any) -> None:
    for part in _parts(schema):
        for ref in (part[name] for name in _REFS if isinstance(part.get(name), str)):
            try:
                resolver.lookup(ref)
            except (Unresolvable, NoSuchResource):
                raise SchemaError(f"refers to {ref:.100}, which is not in it") from None


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    """The schema and all within it; what is data, or maps names to schemas, is none."""
    found = [schema]
    while found:
        here = found.pop()
        if isinstance(here, list):
            found += here
        elif isinstance(here, dict):
            yield here
            for name, inner in here.items():
                if name in _MAPS and isinstance(inner, dict):
                    found += inner.values()
                elif name not in _DATA:
                    found.append(inner)


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise SchemaError("is not JSON") from None
    if not isinstance(document, dict):
        raise SchemaError("is no JSON object")
    return document


def _registry(others: Mapping[str, dict[str, Any]]) -> Any:
    resources = [
        (name, Resource.from_contents(other, default_specification=DRAFT202012))
        for name, other in others.items()
    ]
    return Registry().with_resources(resources)


def _resolver(schema: dict[str, Any], registry: Any) -> Any:
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    return registry.with_resource(resource.id() or "", resource).resolver(resource.id() or "")


def _is_open(schema: object) -> bool:
    """Whether parts of the schema beside `properties` may have others."""
    beside = ("allOf", "anyOf", "oneOf", "if", "dependentSchemas", "extends", *_REFS)
    return isinstance(schema, dict) and any(name in schema for name in beside)


def _pattern(_: Any, pattern: str, instance: object, _schema: object) -> Iterator[Broken]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield Broken("pattern")


def _found(pattern: str, text: str) -> bool:
    try:
        found: bool = pc.match_substring_regex(pa.scalar(text), pattern).as_py()
    except UnicodeEncodeError:  # Half of a surrogate pair is in no text.
        return False
    return found


def _unique(_: Any, unique: bool, instance: object, _schema: object) -> Iterator[Broken]:
    if unique and isinstance(instance, list):
        seen = {json.dumps(_same(each), sort_keys=True) for each in instance}
        if len(seen) < len(instance):
            yield Broken("uniqueItems")


def _same(value: object) -> object:
    """1.0 is 1, and has the same text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_same(each) for each in value]
    return {name: _same(each) for name, each in value.items()} if isinstance(value, dict) else value
