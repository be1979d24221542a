"""The demo's flights in Avro, through a schema registry: `scripts/demo --format avro`.

    form = avro_form(SchemaRegistry(RegistryParams(url)), "flights.departed")
    mixed_stream(departures, form=form)
    job_text(JOB_FILE.read_text(), url, JOB_FILE.parent)

Flink cannot look into Avro, so each record has the flight's time in its header, too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from flink_jobs.demo.flights import EVENT_FIELDS
from flink_jobs.demo.records import Event, Form, Outcome, Written
from udfs.records.schema_registry import SchemaRegistry

TIME_HEADER = "departed_at"
_LONGS = ("flight", "distance", "scheduled_minutes")
_TEXTS = ("flight_id", "departed_at", "carrier", "tailnum", "origin", "dest")
_UNKNOWN_ID = 999_999


def job_text(text: str, url: str, folder: Path) -> str:
    """The demo's job file as one that reads and writes Avro by the registry at `url`.

    `folder` is that of the file, from which its relative paths are.
    """
    registry = f"schema_registry: {{url: {json.dumps(url)}}}"
    edits = {
        "  topic: flights.departed\n": f"  topic: flights.departed\n  format: avro\n  {registry}\n",
        "    field: departed_at # without a field:": f"    header: {TIME_HEADER} # without a header:",
        "\npredictions:\n": f"\npredictions:\n  format: avro\n  {registry}\n",
        "registry: ../models": f"registry: {json.dumps(str(folder.parent / 'models'))}",
    }
    for before, after in edits.items():
        if text.count(before) != 1:
            raise AssertionError(f"the demo's job file must have {before.strip()!r} once")
        text = text.replace(before, after)
    return text


def avro_form(registry: SchemaRegistry, topic: str) -> Form:
    """How flights are written, with schemas that are registered for the topic."""
    write = partial(_written, registry, f"{topic}-value")
    return Form(write, _wrong(write))


def read_avro(registry: SchemaRegistry) -> Callable[[bytes], dict[str, Any]]:
    """What reads a record by the registry's schema of its id."""

    @cache
    def parsed(number: int) -> Any:
        return fastavro.parse_schema(json.loads(registry.by_id(number).text))

    def read(raw: bytes) -> dict[str, Any]:
        found = fastavro.schemaless_reader(io.BytesIO(raw[5:]), parsed(int.from_bytes(raw[1:5], "big")), None)
        assert isinstance(found, dict)
        return found

    return read


def _type(name: str) -> str:
    return "long" if name in _LONGS else "string" if name in _TEXTS else "double"


def _fields(**changed: str | None) -> str:
    """The schema as text, with other or further fields; None leaves one out."""
    types = {name: _type(name) for name in EVENT_FIELDS} | changed
    # All may be null: what must be there is the job's to say.
    fields = [{"name": name, "type": ["null", kind]} for name, kind in types.items() if kind]
    return json.dumps({"type": "record", "name": "Flight", "namespace": "nyc", "fields": fields})


@cache
def _schema(registry: SchemaRegistry, subject: str, text: str) -> tuple[bytes, Any]:
    return b"\0" + registry.register(subject, text).to_bytes(4, "big"), fastavro.parse_schema(
        json.loads(text)
    )


def _written(
    registry: SchemaRegistry, subject: str, event: Event, **changed: str | None
) -> tuple[bytes, Mapping[str, bytes]]:
    head, schema = _schema(registry, subject, _fields(**changed))
    stream = io.BytesIO()
    stream.write(head)
    fastavro.schemaless_writer(stream, schema, event)
    return stream.getvalue(), {TIME_HEADER: event["departed_at"].encode()}


def _wrong(write: Callable[..., Written]) -> dict[Outcome, Callable[[Event], Written]]:
    def with_bytes(change: Callable[[Event, bytes], bytes | None]) -> Callable[[Event], Written]:
        def changed(event: Event) -> Written:
            value, headers = write(event)
            assert value is not None
            return change(event, value), headers

        return changed

    def fields(**changed: Any) -> Callable[[Event], Written]:
        return lambda event: write(event | changed)

    def not_utf8(event: Event, value: bytes) -> bytes:
        dest = event["dest"].encode()
        return value.replace(b"\x06" + dest, b"\x06\xff" + dest[1:])

    return {
        ("decode", "tombstone"): with_bytes(lambda _event, _value: None),
        ("decode", "empty"): with_bytes(lambda _event, _value: b""),
        ("decode", "too_large"): lambda event: write(event | {"remark": "x" * 1_000_000}, remark="string"),
        ("decode", "invalid_utf8"): with_bytes(not_utf8),
        ("decode", "not_framed"): with_bytes(lambda event, _value: msgspec.json.encode(event)),
        ("decode", "not_avro"): with_bytes(lambda _event, value: value[:-5]),
        ("decode", "schema_unknown"): with_bytes(
            lambda _event, value: b"\0" + _UNKNOWN_ID.to_bytes(4, "big") + value[5:]
        ),
        ("decode", "schema_incompatible"): lambda event: write(
            event | {"dep_delay": "12"}, dep_delay="string"
        ),
        ("contract", "missing"): lambda event: write(event, origin=None),
        ("contract", "null"): fields(carrier=None),
        ("contract", "not_finite"): fields(dep_delay=float("nan")),
        ("contract", "out_of_range"): fields(dep_delay=99_999.0),
        ("contract", "not_in_values"): fields(origin="BOS"),
        ("contract", "event_time_unparsable"): lambda event: (write(event)[0], {TIME_HEADER: b"yesterday"}),
        ("feature", "not_finite"): fields(scheduled_minutes=0),
        ("feature", "feature_error"): fields(distance=2**62),
    }
