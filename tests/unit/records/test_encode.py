"""Predictions as JSON: whatever the columns hold, each line is one JSON object with the same values."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.records.encode import json_objects

TEXT = (
    st.text()
    | st.text(st.characters(max_codepoint=0x22))
    | st.sampled_from(['"', "\\", "\x7f", "\u2028", "😀"])
)
LONGS = st.integers(-(2**63), 2**63 - 1)


def lines(columns: dict[str, pa.Array], **tail: object) -> list[Any]:
    made = json_objects(columns, tail)
    assert made.type == pa.binary()
    return [json.loads(line) for line in made.to_pylist()]


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, min_size=1)


@given(name=TEXT, values=nullable(TEXT))
def test_any_text_comes_back(name: str, values: list[str | None]) -> None:
    made = lines({name: pa.array(values, pa.string())})
    assert made == [{name: value} for value in values]


@given(values=nullable(TEXT.filter(str.isascii)))
def test_ascii_is_written_as_the_standard_library_does(values: list[str | None]) -> None:
    made = json_objects({"a": pa.array(values, pa.string())}, {}).to_pylist()
    expected = [
        json.dumps({"a": value}, separators=(",", ":")).replace("\\u007f", "\x7f") for value in values
    ]
    assert [json.loads(line) for line in made] == [json.loads(line) for line in expected]
    assert [line.lower() for line in made] == [line.lower().encode() for line in expected]


@given(values=nullable(st.floats()))
def test_floats_come_back_to_the_bit(values: list[float | None]) -> None:
    made = lines({"a": pa.array(values, pa.float64())})
    for line, value in zip(made, values, strict=True):
        if value is None or not math.isfinite(value):
            assert line == {"a": None}
        else:
            assert line["a"] == value
            assert struct.pack("d", line["a"]) == struct.pack("d", value) or value == 0


@given(longs=nullable(LONGS), flags=nullable(st.booleans()))
def test_integers_and_booleans_keep_value_and_type(longs: list[int | None], flags: list[bool | None]) -> None:
    rows = min(len(longs), len(flags))
    columns = {"long": pa.array(longs[:rows], pa.int64()), "flag": pa.array(flags[:rows], pa.bool_())}
    for line, long, flag in zip(lines(columns), longs, flags, strict=False):
        assert line["long"] == long
        assert line["flag"] is flag


@given(values=nullable(st.integers(0, 253_402_300_799_999)))
def test_times_are_iso_8601_in_utc(values: list[int | None]) -> None:
    for line, ms in zip(lines({"at": pa.array(values, pa.timestamp("ms", "UTC"))}), values, strict=True):
        if ms is None:
            assert line["at"] is None
        else:
            assert len(line["at"]) == len("2026-01-01T00:00:00.000Z")
            expected = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
            assert datetime.fromisoformat(line["at"]) == expected


@given(values=st.lists(st.tuples(st.floats(0, 1), TEXT), min_size=1), start=st.integers(0, 3))
def test_structs_are_objects_also_in_slices(values: list[tuple[float, str]], start: int) -> None:
    p, label = zip(*values, strict=True)
    column = pa.StructArray.from_arrays([pa.array(p, pa.float64()), pa.array(label)], ["p", 'a "class"'])
    made = lines({"of": column.slice(start)})
    assert made == [{"of": {"p": one, 'a "class"': other}} for one, other in values[start:]]


@given(values=st.lists(st.tuples(TEXT, st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_slices_and_many_columns_and_the_tail(values: list[tuple[str, float]]) -> None:
    texts, floats = zip(*values, strict=True)
    columns = {"text": pa.array(["before", *texts]).slice(1), "float": pa.array([0.5, *floats]).slice(1)}
    tail = {"model": 'the "best"', "version": 3, "release": None}
    made = lines(columns, **tail)
    assert made == [{"text": text, "float": value} | tail for text, value in values]


def test_no_rows_give_no_lines() -> None:
    assert lines({"a": pa.array([], pa.string()), "b": pa.array([], pa.float64())}, model="m") == []


@pytest.mark.parametrize(
    "value", [1e-320, 5e-324, 1.7976931348623157e308, 1e16, 1e22, 0.1, -2.5, 123456789.125]
)
def test_extreme_floats_are_valid_json(value: float) -> None:
    assert lines({"a": pa.array([value])}) == [{"a": value}]
