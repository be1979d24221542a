"""Files as records: a row is the JSON that a producer would have sent, or an error that names its column."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flink_jobs.errors import InputError
from flink_jobs.history.fields import as_field
from flink_jobs.history.records import from_table, read_records
from flink_jobs.jobfile import load_job_text
from flink_jobs.spec import JobSpec
from udfs.types import ARROW, ColumnType

JOB = """
job: shop
source:
  topic: orders
  event_time: {event_time}
  schema:
    id: {{type: string, required: true}}
    amount: double
    items: long
    paid: boolean
    at: {{type: {kind}, required: {required}}}
model: {{name: fraud}}
"""


def job(event_time: str = "{field: at, unit: iso8601}") -> JobSpec:
    kind = "string" if "iso8601" in event_time else "long"
    required = str("field: at" in event_time).lower()
    text = JOB.format(event_time=event_time, kind=kind, required=required)
    return load_job_text(text, "job.yaml", Path())


def rows(**columns: Any) -> pa.Table:
    return pa.table({"id": ["a", "b"], "at": ["2026-01-01T00:00:00Z"] * 2} | columns)


def values(table: pa.Table, event_time: str = "{field: at, unit: iso8601}") -> list[Any]:
    return [json.loads(message.value or b"") for message in from_table(job(event_time), table).records]


def test_columns_of_the_schema_become_json_and_others_stay_aside() -> None:
    table = rows(amount=[0.1 + 0.2, float("nan")], items=[3.0, None], paid=[True, None], label=[1, 0])
    first, second = values(table)
    assert first == {"id": "a", "at": "2026-01-01T00:00:00Z", "amount": 0.1 + 0.2, "items": 3, "paid": True}
    assert second == {"id": "b", "at": "2026-01-01T00:00:00Z", "amount": None, "items": None, "paid": None}
    assert isinstance(first["items"], int)
    read = from_table(job(), table)
    assert (read.columns, read.absent) == (table, ())


def test_optional_fields_may_be_absent_and_required_ones_not() -> None:
    assert from_table(job(), rows()).absent == ("amount", "items", "paid")
    with pytest.raises(InputError, match=r"missing: id \(did you mean 'ID'\?\), at$"):
        from_table(job(), pa.table({"ID": ["a"]}))


@pytest.mark.parametrize(
    ("times", "unit", "written"),
    [
        ([datetime(2026, 1, 1, 5, 30, 0, 250_999)], "iso8601", "2026-01-01T05:30:00.250Z"),
        ([datetime(2026, 1, 1, 5, 30, tzinfo=UTC)], "ms", 1_767_245_400_000),
        ([datetime(2026, 1, 1, 5, 30)], "s", 1_767_245_400),
        ([date(2026, 1, 1)], "us", 1_767_225_600_000_000),
    ],
)
def test_times_are_written_as_the_job_reads_them(times: list[Any], unit: str, written: object) -> None:
    table = pa.table({"id": ["a"], "at": times})
    assert values(table, f"{{field: at, unit: {unit}}}")[0]["at"] == written


@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (["1"], "double", "must be double, as in source.schema; got string"),
        ([1], "string", "must be string, as in source.schema; got int64"),
        ([1], "boolean", "must be boolean"),
        ([1.5], "long", "must be whole numbers, as it is a long; got 1.5"),
        (pa.array([2**63], pa.uint64()), "long", "must be 64-bit integers"),
        ([[1]], "long", "must be long"),
    ],
)
def test_a_column_that_cannot_be_the_field_is_named(column: Any, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=f"column 'x' {message}"):
        as_field(pa.chunked_array([column]), kind, "column 'x'")


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array(["x", None]).dictionary_encode(), "string", ["x", None]),
        (pa.array([1, 2], pa.int8()), "double", [1.0, 2.0]),
        (pa.array([0.5, float("inf")], pa.float32()), "double", [0.5, None]),
        (pa.array([2**63 - 1, None]), "long", [2**63 - 1, None]),
        (pa.nulls(2), "boolean", [None, None]),
    ],
)
def test_columns_keep_their_values(column: pa.Array, kind: ColumnType, expected: list[Any]) -> None:
    made = as_field(pa.chunked_array([column]), kind, "x")
    assert (made.type, made.to_pylist()) == (ARROW[kind], expected)


def test_raw_records_with_key_and_timestamp() -> None:
    table = pa.table({"value": [b"oops", None], "key": ["k", None], "timestamp": [5, 6], "label": [1, 0]})
    first, second = from_table(job(), table).records
    assert (first.value, first.key, first.timestamp) == (b"oops", b"k", 5)
    assert (second.value, second.key, second.timestamp) == (None, None, 6)


def test_the_event_time_of_a_header() -> None:
    table = pa.table({"id": ["a", "b"], "sent": [7, None]})
    records = from_table(job("{header: sent, unit: ms}"), table).records
    assert [record.headers for record in records] == [(("sent", b"7"),), ()]
    with pytest.raises(InputError, match="must have a column 'sent': the header"):
        from_table(job("{header: sent, unit: ms}"), pa.table({"id": ["a"]}))


def test_files(tmp_path: Path) -> None:
    lines = tmp_path / "orders.jsonl"
    lines.write_bytes(b'{"id":"a","late":true}\r\n{"id":"b"}\n')
    read = read_records(job(), lines)
    assert [record.value for record in read.records] == [b'{"id":"a","late":true}', b'{"id":"b"}']
    assert read.columns.column("late").to_pylist() == [True, None]
    lines.write_bytes(b'{"id":"a"}\noops\n')
    assert (len(read_records(job(), lines).records), len(read_records(job(), lines, 1).records)) == (2, 1)

    parquet = tmp_path / "orders.parquet"
    pq.write_table(rows(), parquet, row_group_size=1)
    assert [len(read_records(job(), parquet, limit).records) for limit in (None, 1, 5)] == [2, 1, 2]
    (tmp_path / "x.xlsx").touch()
    with pytest.raises(InputError, match=r"must end in one of \.parquet, .*; got '\.xlsx'"):
        read_records(job(), tmp_path / "x.xlsx")
    with pytest.raises(InputError, match="there is no such file"):
        read_records(job(), tmp_path / "gone.parquet")
    parquet.write_bytes(b"oops")
    with pytest.raises(InputError, match="must be a Parquet file"):
        read_records(job(), parquet)


def test_rows_for_an_avro_job_are_read_as_the_json_that_they_were_made_to() -> None:
    written = JOB.format(event_time="{}", kind="string", required="false").replace(
        "  topic: orders", "  topic: orders\n  format: avro\n  schema_registry: {url: 'http://r'}"
    )
    avro = load_job_text(
        written.replace("amount: double", "amount: {type: double, field: a.b}"), "job.yaml", Path()
    )
    made = from_table(avro, rows(amount=[1.0, 2.0]))
    source = made.read_by(avro).source
    assert (source.format, source.schema_registry, source.fields["amount"].field) == ("json", None, None)
    assert json.loads(made.records[0].value or b"")["amount"] == 1.0
    whole = from_table(avro, pa.table({"value": pa.array([b"\0\0\0\0\1x"], pa.binary())}))
    assert whole.read_by(avro) is avro
    assert from_table(job(), rows()).read_by(job()).source == job().source


def test_rows_for_fields_within_others_are_read_flat_and_lines_as_they_are(tmp_path: Path) -> None:
    text = JOB.format(event_time="{}", kind="string", required="false")
    nested = load_job_text(
        text.replace("amount: double", "amount: {type: double, field: a.b}"), "job.yaml", Path()
    )
    assert from_table(nested, rows(amount=[1.0, 2.0])).read_by(nested).source.fields["amount"].field is None
    (tmp_path / "lines.jsonl").write_text('{"id": "a", "a": {"b": 1.5}}')
    assert (
        read_records(nested, tmp_path / "lines.jsonl").read_by(nested).source.fields["amount"].field == "a.b"
    )
