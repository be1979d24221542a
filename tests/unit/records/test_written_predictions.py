"""Predictions with a schema: whatever the columns hold, others' libraries read the same by what is
registered: fastavro, protobuf's own library by the registered file, and jsonschema.

The adversaries are numbers at the ends of their ranges, texts of any length, and a version of the model whose
predictions are of another type than those that the schema was made for.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from google.protobuf import unknown_fields
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.helpers.examples import examples
from tests.helpers.protobuf_records import message_class, proto_file
from udfs.records.encode import RawJson
from udfs.records.output_schema import (
    Kind,
    OtherTypeError,
    OutputField,
    OutputSchema,
    SchemaFormat,
)
from udfs.records.protobuf_schema import field_number, message_type, same_numbers
from udfs.records.schema_texts import schema_text, shown_schema
from udfs.records.written import written_records

TEXT = st.text() | st.integers(0, 300).map(lambda size: "é" * size)
EDGES = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]
LONGS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES)
TIMES = st.integers(-(10**12), 4 * 10**12)
MAPS = st.fixed_dictionaries({"a": st.none() | st.floats(), "é b": st.floats()})
VALUES: dict[Kind, tuple[Any, pa.DataType]] = {
    "string": (TEXT, pa.string()),
    "double": (st.floats(), pa.float64()),
    "long": (LONGS, pa.int64()),
    "boolean": (st.booleans(), pa.bool_()),
    "timestamp": (TIMES, pa.timestamp("ms", tz="UTC")),
    "map": (MAPS, pa.struct([("a", pa.float64()), ("é b", pa.float64())])),
}


def read(output: OutputSchema, raws: list[bytes]) -> list[dict[str, Any]]:
    """All of each, by a library that knows what was registered, and nothing else."""
    assert all(raw[:5] == b"\0" + output.id.to_bytes(4, "big") for raw in raws)
    return READERS[output.format](schema_text(output), [raw[5:] for raw in raws])


def read_avro(text: str, bodies: list[bytes]) -> list[dict[str, Any]]:
    schema = fastavro.parse_schema(json.loads(text))
    found: list[Any] = []
    for body in bodies:
        stream = io.BytesIO(body)
        found.append(fastavro.schemaless_reader(stream, schema, None))
        assert not stream.read()
    return found


def read_protobuf(text: str, bodies: list[bytes]) -> list[dict[str, Any]]:
    file = proto_file(text)
    kind = message_class(file, f"{file['package']}.{file['messageType'][0]['name']}")
    names = [field.name for field in kind.DESCRIPTOR.fields]
    found = []
    for body in bodies:
        assert body[:1] == b"\0", "the first message of the file"
        message = kind.FromString(body[1:])
        assert not message_unknown(message)
        there = {field.name: value for field, value in message.ListFields()}
        found.append({name: plain(there.get(name)) for name in names})
    return found


def message_unknown(message: Any) -> int:
    return len(unknown_fields.UnknownFieldSet(message))


def plain(value: Any) -> Any:
    # Of a pool of its own, as each message is here.
    if getattr(value, "DESCRIPTOR", None) and value.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        return value.ToDatetime(UTC)
    return dict(value) if isinstance(value, MutableMapping) else value


def read_json(text: str, bodies: list[bytes]) -> list[dict[str, Any]]:
    schema = json.loads(text)
    Draft7Validator.check_schema(schema)
    found = [json.loads(body) for body in bodies]
    for each in found:
        assert not list(Draft7Validator(schema).iter_errors(each))
        for name, kind in schema["properties"].items():
            if kind.get("format") == "date-time" and each.get(name):
                each[name] = datetime.fromisoformat(each[name])
    return found


READERS: dict[SchemaFormat, Callable[[str, list[bytes]], list[dict[str, Any]]]] = {
    "avro": read_avro,
    "protobuf": read_protobuf,
    "json_schema": read_json,
}


def seen(written_as: SchemaFormat, kind: Kind, value: Any) -> Any:
    """What a reader makes of it."""
    if isinstance(value, dict):
        read = {name: seen(written_as, "double", each) for name, each in value.items()}
        absent = written_as == "protobuf"
        return {name: each for name, each in read.items() if each is not None or not absent} or (
            None if absent else read
        )
    if value is None or (kind == "double" and not math.isfinite(value)):
        return None
    return datetime.fromtimestamp(0, UTC).fromtimestamp(value / 1000, UTC) if kind == "timestamp" else value


@pytest.mark.parametrize("written_as", READERS)
@settings(max_examples=examples(100))
@given(st.data())
def test_what_is_written_is_read(written_as: SchemaFormat, data: st.DataObject) -> None:
    kinds: list[Kind] = data.draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    rows = data.draw(st.integers(1, 5))
    fields, columns, expected = [], {}, [dict[str, Any]() for _ in range(rows)]
    for number, kind in enumerate(kinds):
        values, arrow = VALUES[kind]
        nullable = kind in ("double", "map") or data.draw(st.booleans())
        some = values | st.none() if nullable and kind != "map" else values
        drawn = data.draw(st.lists(some, min_size=rows, max_size=rows))
        name = f"c{number}"
        fields.append(OutputField(name, kind, nullable))
        columns[name] = pa.array(drawn, arrow)
        for row, value in zip(expected, drawn, strict=True):
            row[name] = seen(written_as, kind, value)
    fields += [
        OutputField("model", "string", nullable=False),
        OutputField("release", "long"),
        OutputField("gone", "map"),
    ]
    output = OutputSchema(tuple(fields), written_as, "shop.Scored", id=70_000)
    found = read(output, written_records(output, columns, {"model": "m", "release": None}).to_pylist())
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            if isinstance(value, datetime):
                assert abs((row[name] - value).total_seconds()) < 0.001
            else:
                assert row[name] == value
        assert (row["model"], row["release"], row.get("gone")) == ("m", None, None)


@pytest.mark.parametrize("written_as", READERS)
def test_slices_of_columns_are_written_as_they_are(written_as: SchemaFormat) -> None:
    fields = (OutputField("t", "string"), OutputField("b", "boolean"), OutputField("x", "double"))
    output = OutputSchema(fields, written_as)
    table = pa.table({"t": ["a", None, "c"], "b": [True, False, None], "x": [1.0, 2.0, None]})
    columns = {name: table.column(name).chunk(0).slice(1) for name in table.column_names}
    assert read(output, written_records(output, columns, {}).to_pylist()) == [
        {"t": None, "b": False, "x": 2.0},
        {"t": "c", "b": None, "x": None},
    ]


@pytest.mark.parametrize("written_as", READERS)
def test_explanations_are_text_or_objects(written_as: SchemaFormat) -> None:
    output = OutputSchema((OutputField("explanation", "json"),), written_as)
    text: Any = '{"base":1}'
    raws = written_records(output, {"explanation": RawJson(pa.array([text, None]))}, {}).to_pylist()
    told = json.loads(text) if written_as == "json_schema" else text
    assert read(output, raws) == [{"explanation": told}, {"explanation": None}]


@pytest.mark.parametrize("written_as", READERS)
@pytest.mark.parametrize("column", [pa.array(["yes"]), pa.array([1.0]), pa.array([1])])
def test_a_prediction_of_another_type_is_refused(written_as: SchemaFormat, column: pa.Array) -> None:
    output = OutputSchema((OutputField("prediction", "boolean"),), written_as)
    with pytest.raises(OtherTypeError, match="prediction: expected boolean, as its schema says, got"):
        written_records(output, {"prediction": column}, {})


def test_a_number_of_protobuf_is_that_of_the_name_wherever_it_stands() -> None:
    """Else a consumer with last week's message read one column as another."""
    first = OutputSchema((OutputField("b", "long"), OutputField("score", "double")), "protobuf")
    later = OutputSchema((OutputField("a", "long"), OutputField("b", "long")), "protobuf")
    raws = written_records(later, {"a": pa.array([1]), "b": pa.array([2])}, {}).to_pylist()
    old = message_type(first).FromString(raws[0][6:])
    assert (old.b, old.HasField("score")) == (2, False)
    names = ["prediction", "score", "topic", *(f"column_{n}" for n in range(1000))]
    numbers = [field_number(name) for name in names]
    assert max(numbers) < 2**29
    assert not any(19_000 <= number < 20_000 for number in numbers), "Protobuf keeps these"


def test_two_columns_of_one_number_are_told() -> None:
    """Found by trying names: few share one."""
    taken: dict[int, str] = {}
    names = (sha256(b"%d" % n).hexdigest() for n in range(100_000))
    pair = next((taken[n], name) for name in names if taken.setdefault(n := field_number(name), name) != name)
    assert same_numbers(["x", *pair]) == pair
    assert same_numbers(["x", "y", "prediction"]) is None


def test_names_that_json_would_write_alike_are_two_fields() -> None:
    fields = tuple(OutputField(name, "long") for name in ("a_b", "aB", "_a_b"))
    output = OutputSchema(fields, "protobuf")
    raws = written_records(output, {field.name: pa.array([n]) for n, field in enumerate(fields)}, {})
    assert read(output, raws.to_pylist()) == [{"a_b": 0, "aB": 1, "_a_b": 2}]


def test_the_text_of_the_message_is_told() -> None:
    fields = (
        OutputField("probabilities", "map"),
        OutputField("event_time", "timestamp", nullable=False),
        OutputField("model", "string", nullable=False),
    )
    assert shown_schema(OutputSchema(fields, "protobuf", "Scored")) == (
        'syntax = "proto3";\nimport "google/protobuf/timestamp.proto";\nmessage Scored {\n'
        "  map<string, double> probabilities = 3;\n"
        '  google.protobuf.Timestamp event_time = 7 [json_name = "event_time"];\n'
        "  optional string model = 11;\n}"
    )
