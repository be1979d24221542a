"""Predictions in Avro: whatever the columns hold, fastavro reads the same values by the registered schema.

The adversaries are numbers at the ends of their ranges, texts of any length, and a version of the model whose
predictions are of another type than those that the schema was made for.
"""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from udfs.records.avro_encode import AvroField, AvroOutput, Kind, OtherTypeError, avro_records
from udfs.records.encode import RawJson

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


def read(output: AvroOutput, raws: list[bytes]) -> list[dict[str, Any]]:
    """All bytes of each, by fastavro."""
    schema = fastavro.parse_schema(json.loads(output.schema()))
    found: list[Any] = []
    for raw in raws:
        assert raw[:5] == b"\0" + output.id.to_bytes(4, "big")
        stream = io.BytesIO(raw[5:])
        found.append(fastavro.schemaless_reader(stream, schema, None))
        assert not stream.read()
    return found


def seen(kind: Kind, value: Any) -> Any:
    """What a reader makes of it."""
    if isinstance(value, dict):
        return {name: seen("double", each) for name, each in value.items()}
    if value is None or (kind == "double" and not math.isfinite(value)):
        return None
    return datetime.fromtimestamp(0, UTC).fromtimestamp(value / 1000, UTC) if kind == "timestamp" else value


@settings(max_examples=examples(300))
@given(st.data())
def test_what_is_written_is_read(data: st.DataObject) -> None:
    kinds: list[Kind] = data.draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    rows = data.draw(st.integers(1, 5))
    fields, columns, expected = [], {}, [dict[str, Any]() for _ in range(rows)]
    for number, kind in enumerate(kinds):
        values, arrow = VALUES[kind]
        nullable = kind in ("double", "map") or data.draw(st.booleans())
        drawn = data.draw(st.lists(values | st.none() if nullable else values, min_size=rows, max_size=rows))
        name = f"c{number}"
        fields.append(AvroField(name, kind, nullable))
        columns[name] = pa.array(drawn, arrow)
        for row, value in zip(expected, drawn, strict=True):
            row[name] = seen(kind, value)
    fields += [
        AvroField("model", "string", nullable=False),
        AvroField("release", "long"),
        AvroField("gone", "map"),
    ]
    output = AvroOutput(tuple(fields), id=70_000)
    found = read(output, avro_records(output, columns, {"model": "m", "release": None}).to_pylist())
    for row, wanted in zip(found, expected, strict=True):
        for name, value in wanted.items():
            if isinstance(value, datetime):
                assert abs((row[name] - value).total_seconds()) < 0.001
            else:
                assert row[name] == value
        assert (row["model"], row["release"], row["gone"]) == ("m", None, None)


def test_slices_of_columns_are_written_as_they_are() -> None:
    output = AvroOutput((AvroField("t", "string"), AvroField("b", "boolean"), AvroField("x", "double")))
    table = pa.table({"t": ["a", None, "c"], "b": [True, False, None], "x": [1.0, 2.0, None]})
    columns = {name: table.column(name).chunk(0).slice(1) for name in table.column_names}
    assert read(output, avro_records(output, columns, {}).to_pylist()) == [
        {"t": None, "b": False, "x": 2.0},
        {"t": "c", "b": None, "x": None},
    ]


def test_explanations_are_text() -> None:
    output = AvroOutput((AvroField("explanation", "string"),))
    raws = avro_records(output, {"explanation": RawJson(pa.array(['{"base":1}', None]))}, {}).to_pylist()
    assert read(output, raws) == [{"explanation": '{"base":1}'}, {"explanation": None}]


@pytest.mark.parametrize("column", [pa.array(["yes"]), pa.array([1.0]), pa.array([1])])
def test_a_prediction_of_another_type_is_refused(column: pa.Array) -> None:
    output = AvroOutput((AvroField("prediction", "boolean"),))
    with pytest.raises(OtherTypeError, match="prediction: expected boolean, as its schema says, got"):
        avro_records(output, {"prediction": column}, {})
