"""Files as tables: what another program wrote is read as the type that is wanted, or refused in words.

The adversaries are readers that guess: zip codes as numbers, missing texts as empty ones, Namibia as missing.
"""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.tables import TableFileError, parse_table, read_table
from udfs.types import ARROW, ColumnType

CELLS = "zip,country,paid,seats,delay,at,empty\n02139,NA,True,3,1.5,2026-01-02 03:04:05,\n00501,,,,,,\n"
TYPES: dict[str, ColumnType] = {
    "zip": "string",
    "country": "string",
    "paid": "boolean",
    "seats": "long",
    "delay": "double",
    "at": "timestamp",
    "empty": "string",
}


def cells(text: str, types: dict[str, ColumnType] | None = None, **more: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = parse_table(text.encode(), "t.csv", types, **more).to_pydict()
    return found


def test_columns_have_the_types_that_are_declared() -> None:
    table = parse_table(CELLS.encode(), "t.csv", TYPES)
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == {
        name: ARROW[kind] for name, kind in TYPES.items()
    }
    assert table.to_pylist() == [
        {
            "zip": "02139",
            "country": "NA",
            "paid": True,
            "seats": 3,
            "delay": 1.5,
            "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "empty": None,
        },
        {"zip": "00501"} | dict.fromkeys(("country", "paid", "seats", "delay", "at", "empty")),
    ]


def test_true_is_text_where_text_is_declared() -> None:
    text = 'flag\nTrue\nfalse\n""\n'
    assert cells(text, {"flag": "string"})["flag"] == ["True", "false", None]
    assert cells(text, {"flag": "boolean"})["flag"] == [True, False, None]
    assert cells("flag\n1\n0.0\nTRUE\nNA\n", {"flag": "boolean"})["flag"] == [True, False, True, None]
    with pytest.raises(TableFileError, match="a column of boolean; got 'flag' with 'yes'"):
        cells("flag\nyes\n", {"flag": "boolean"})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["02139", "10001"], ["02139", "10001"]),
        (["+49", "1"], ["+49", "1"]),
        (["0", "-1", ""], [0, -1, None]),
        (["1", "2.5", "NaN"], [1.0, 2.5, None]),
        (["1e3", ".5"], [1000.0, 0.5]),
        (["9223372036854775807", "1"], [2**63 - 1, 1]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),  # an identity that a double would round
        (["0x1F", "1"], ["0x1F", "1"]),
        (["true", "NA"], [True, None]),
        (["2026-01-01", "2026-01-01T01:00+01:00"], [datetime(2026, 1, 1, tzinfo=UTC)] * 2),
        (["2026-02-30", "2026-01-01"], ["2026-02-30", "2026-01-01"]),
        (["NA", "DE"], ["NA", "DE"]),
        (["", "NA"], [None, None]),
    ],
)
def test_what_is_not_declared_is_what_all_values_look_like(values: list[str], expected: list[Any]) -> None:
    text = "k,v\n" + "".join(f"x,{value}\n" for value in values)
    assert cells(text)["v"] == expected


def test_hints_are_followed_where_they_can_be() -> None:
    text = "a,b\n1,x\n0,2\n"
    hints: dict[str, ColumnType] = {"a": "boolean", "b": "double"}
    assert cells(text, hints=hints) == {"a": [True, False], "b": ["x", "2"]}


LONGS = st.integers(-(2**63), 2**63 - 1)
# Python 3.11 writes a lone carriage return without quotes, which ends the line for every reader.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=8)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000, tzinfo=UTC)
)
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "long": LONGS,
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "timestamp": TIMES,
}


@given(st.sampled_from(list(VALUES)), st.data())
def test_what_python_wrote_is_read_back(kind: ColumnType, data: st.DataObject) -> None:
    """Python's csv writes str() of each value, and quotes what needs it; None is an empty field."""
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=20))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["k", "v"])
    writer.writerows([["x", value] for value in values])
    assert cells(buffer.getvalue(), {"v": kind})["v"] == values


@given(st.lists(st.none() | LONGS.filter(lambda n: abs(n) <= 2**53), min_size=1), st.lists(st.none() | TEXTS))
def test_what_pandas_wrote_is_read_back(longs: list[int | None], texts: list[str | None]) -> None:
    """Whole numbers beside a missing one are floats there."""
    count = min(len(longs), len(texts))
    frame = pd.DataFrame({"n": pd.Series(longs[:count], dtype=float), "t": texts[:count], "k": 1})
    found = cells(frame.to_csv(index=False), {"n": "long", "t": "string"})
    assert (found["n"], found["t"]) == (longs[:count], texts[:count])


def test_a_carriage_return_in_quotes_is_part_of_its_value() -> None:
    assert cells('n,t\n1,"a\rb"\n2,"\r"\n', {"t": "string"})["t"] == ["a\rb", "\r"]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("long", "1.5", "a column of whole numbers, as it is a long; got 'v' with 1.5"),
        ("long", "9223372036854775808", "a column of long; got 'v' with "),
        ("long", "1,5", "a column of long; got 'v' with '1,5'"),
        ("double", "1.5 km", "a column of double; got 'v' with '1.5 km'"),
        ("double", "0x1p3", "a column of double; got 'v' with '0x1p3'"),
        ("timestamp", "yesterday", "a column of timestamp; got 'v' with 'yesterday'"),
        ("timestamp", "2026-02-30", "a column of timestamp; got 'v' with "),
    ],
)
def test_a_value_that_cannot_be_is_named(kind: ColumnType, value: str, said: str) -> None:
    with pytest.raises(TableFileError, match=said.replace(".", r"\.")):
        cells(f'k,v\nx,"{value}"\n', {"v": kind})


def test_parquet_has_its_own_types_and_none_is_converted(tmp_path: Path) -> None:
    table = pa.table(
        {
            "whole": [1.0, None],
            "number": pa.array([1, 2], pa.int32()),
            "text": pa.array(["a", None]).dictionary_encode(),
            "zip": [2139, 501],
            "day": pa.array([datetime(2026, 1, 1).date(), None]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    types: dict[str, ColumnType] = {"whole": "long", "number": "double", "text": "string", "day": "timestamp"}
    found = read_table(tmp_path / "t.parquet", types)
    assert found.schema.field("zip").type == pa.int64()
    assert found.to_pydict() == {
        "whole": [1, None],
        "number": [1.0, 2.0],
        "text": ["a", None],
        "zip": [2139, 501],
        "day": [datetime(2026, 1, 1, tzinfo=UTC), None],
    }
    with pytest.raises(TableFileError, match="a column of string; got 'zip' of int64"):
        read_table(tmp_path / "t.parquet", {"zip": "string"})
    pq.write_table(pa.table({"flag": ["True"]}), tmp_path / "t.parquet")
    with pytest.raises(TableFileError, match="a column of boolean; got 'flag' of string"):
        read_table(tmp_path / "t.parquet", {"flag": "boolean"})


def test_lines_within_quotes_and_rows_beyond_a_block(tmp_path: Path) -> None:
    long_text = "x" * 3_000_000
    path = tmp_path / "t.csv"
    path.write_text(f'k,v\n"a\nb",{long_text}\nc,"d,""e"""\n', encoding="utf-8-sig")
    assert read_table(path).to_pydict() == {"k": ["a\nb", "c"], "v": [long_text, 'd,"e"']}
    assert read_table(path, limit=1).num_rows == 1
    assert read_table(path, columns=["v"]).column_names == ["v"]


def test_doubles_are_the_nearest(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**63, 20_000, np.uint64).view(np.float64)
    wanted = [value for value in bits.tolist() if math.isfinite(value)]
    text = "v\n" + "\n".join(map(repr, wanted)) + "\n9007199254740993\n"
    assert cells(text, {"v": "double"})["v"] == [*wanted, 9007199254740992.0]
