"""Changes of topics' tables from files, for runs on records of before.

The adversaries are files that do not have what the topic had, and a person who gives no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.history import Replay, read_tables
from flink_jobs.jobfile import load_job_text
from flink_jobs.spec import JobSpec

JOB = """
job: paid
source:
  topic: payments
  schema: {card: {type: string, required: true}, amount: {type: double, required: true}}
features:
  lookups:
    cards:
      topic: cards
      by: card
      key: number
      select: {tier: {column: tier, type: string}, credit: {column: limits.credit, type: double}}
      event_time: TIME
      envelope: ENVELOPE
model: {name: m}
"""
BY_FIELD = "{field: changed_at, unit: iso8601}"


def job(time: str = BY_FIELD, envelope: str = "none") -> JobSpec:
    return load_job_text(JOB.replace("TIME", time).replace("ENVELOPE", envelope), "job.yaml", Path())


def rows(**columns: Any) -> pa.Table:
    made = {"number": ["a"], "tier": ["gold"], "limits.credit": [1.5], "changed_at": ["2026-01-01T00:00:00Z"]}
    return pa.table({**made, **columns})


def whole(value: bytes | None, **columns: Any) -> pa.Table:
    return pa.table({"value": pa.array([value], pa.binary()), "key": ["a"], **columns})


def test_rows_become_the_json_that_the_lookup_reads(tmp_path: Path) -> None:
    pq.write_table(rows(), tmp_path / "cards.parquet")
    for given in (rows(), tmp_path / "cards.parquet"):
        (change,) = read_tables(job(), {"cards": given}, "--table")["cards"]
        assert json.loads(change.value or b"") == {
            "number": "a",
            "tier": "gold",
            "limits": {"credit": 1.5},
            "changed_at": "2026-01-01T00:00:00Z",
        }
        assert (change.key, change.timestamp) == (None, None)
    (tmp_path / "cards.jsonl").write_bytes(b'{"number":"a"}\n\noops\n')
    lines = read_tables(job(), {"cards": tmp_path / "cards.jsonl"}, "--table")["cards"]
    assert [each.value for each in lines] == [b'{"number":"a"}', b"oops"], "what is none, the job refuses"


def test_whole_records_are_as_they_were_deletions_too() -> None:
    for envelope, value in (("none", None), ("debezium", b'{"op":"d"}')):
        given = {"cards": whole(value, timestamp=[5])}
        (change,) = read_tables(job("{out_of_order: 1s}", envelope), given, "--table")["cards"]
        assert (change.value, change.key, change.timestamp) == (value, b"a", 5)


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda _: {}, "features.lookups.cards is a topic: its changes of that time must be given"),
    "another": (lambda _: {"card": rows()}, r"must name a lookup .*\(cards\); got 'card'"),
    "no file": (
        lambda folder: {"cards": folder / "x.parquet"},
        "x.parquet must be a Parquet or JSON lines file",
    ),
    "no column": (lambda _: {"cards": rows().drop(["tier"])}, "missing: tier"),
    "type": (lambda _: {"cards": rows(tier=[1])}, "column 'tier' must be string"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_file_lacks_is_told(case: str, tmp_path: Path) -> None:
    given, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        read_tables(job(), given(tmp_path), "--table NAME=FILE")


def test_times_and_envelopes_need_what_has_them(tmp_path: Path) -> None:
    (tmp_path / "cards.jsonl").write_bytes(b"{}\n")
    by_record = job("{out_of_order: 1s}")
    for given in (tmp_path / "cards.jsonl", rows(), whole(b"{}")):
        with pytest.raises(InputError, match="must have a column 'timestamp'"):
            read_tables(by_record, {"cards": given}, "--table")
    with pytest.raises(InputError, match="must have a binary column 'value'"):
        read_tables(job(envelope="debezium"), {"cards": rows(timestamp=[5])}, "--table")


def test_a_run_without_them_says_so_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"features\.lookups\.cards is a topic"):
        Replay(job(), [b"{}"])
    command = [
        "backtest",
        "job.yaml",
        "--input",
        "a.parquet",
        "--model",
        "1",
        "--model",
        "2",
        "--table",
        "cards",
    ]
    told = CliRunner().invoke(app, command)
    assert "--table must be NAME=FILE" in str(told.exception)
