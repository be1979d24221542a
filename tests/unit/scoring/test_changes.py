"""Records of a topic become changes of its table: rows as they are, Debezium's, tombstones, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.columns import job_columns
from flink_jobs.plan.window_stages import changes_params
from tests.helpers.examples import examples
from udfs.scoring.changes import ChangesReader
from udfs.windows.blobs import from_bytes
from udfs.windows.table_stage import CHANGES
from udfs.windows.versions import change_schema

JOB = """
job: a
source: {topic: in, schema: {card: string, shop: long}}
features:
  lookups:
    cards: {topic: cards, by: card, key: number, select: {limit: {column: limits.credit, type: double}}}
    shops: {topic: shops, by: shop, key: id, envelope: debezium, select: {city: {column: city, type: string}}}
    both: {topic: both, by: [card, shop], select: {flag: {column: flag, type: boolean}}}
model: {name: m}
"""
_JOB = load_job_text(JOB, "a.yaml", Path("/"), {})
PARAMS = changes_params(_JOB, job_columns(_JOB))
AT = 1_767_225_600_000


def read(
    lookup: str, records: Sequence[tuple[Any, Any]], at: int = AT
) -> tuple[list[dict[str, Any]], ChangesReader]:
    """The changes by offset; records are (value, key), of which what is not bytes is written as JSON."""
    raw = [
        [
            None if each is None else each if isinstance(each, bytes) else json.dumps(each).encode()
            for each in record
        ]
        for record in records
    ]
    reader = ChangesReader(PARAMS[lookup])
    count = len(raw)
    blobs = reader.read(
        [value for value, _ in raw],
        [key for _, key in raw],
        np.full(count, at),
        (np.zeros(count, dtype=np.int64), np.arange(count)),
    )
    fields = {field.name: field.type for field in PARAMS[lookup].source.contract.fields}
    names = (*PARAMS[lookup].by, *PARAMS[lookup].select)
    schema = change_schema(tuple((name, fields[name]) for name in names))
    rows: list[dict[str, Any]] = []
    for _, blob in blobs:
        assert blob.startswith(CHANGES)
        rows += from_bytes(blob[len(CHANGES) :], schema).to_pylist()
    return sorted(rows, key=lambda row: row["_offset"]), reader


def test_rows_are_changes_and_tombstones_delete_by_their_key() -> None:
    rows, reader = read(
        "cards",
        [
            ({"number": "n1", "limits": {"credit": 2.5}, "more": 1}, None),
            ({"number": "n1", "limits": None}, "other"),
            (None, b"n1"),
            (None, "n1"),
            (None, {"number": "n1"}),
            (None, {"schema": {"type": "struct"}, "payload": {"number": "n1"}}),
        ],
    )
    assert [row["card"] for row in rows] == ["n1"] * 6
    assert [row["limit"] for row in rows] == [2.5, None, None, None, None, None]
    assert [row["_deleted"] for row in rows] == [False, False, True, True, True, True]
    assert reader.counts["table_changes"] == 6
    assert not reader.counts["table_rejected"]


def test_debezium_deletes_by_what_the_row_was() -> None:
    rows, reader = read(
        "shops",
        [
            ({"before": None, "after": {"id": 4, "city": "Ulm"}, "op": "c", "ts_ms": AT}, None),
            (
                {
                    "schema": {},
                    "payload": {"before": {"id": 4}, "after": {"id": 4, "city": "Bonn"}, "op": "u"},
                },
                None,
            ),
            ({"payload": {"before": {"id": 4, "city": None}, "after": None, "op": "d"}}, None),
            (None, {"payload": {"id": 4}}),
            ({"after": {"id": 4, "city": "Ulm"}, "op": "t"}, None),
            ({"id": 4, "city": "Ulm"}, None),
        ],
    )
    assert [row["shop"] for row in rows] == [4] * 4
    assert [row["city"] for row in rows] == ["Ulm", "Bonn", None, None]
    assert [row["_deleted"] for row in rows] == [False, False, True, True]
    assert reader.counts["table_rejected"] == 2


def test_a_key_of_several_columns_is_never_taken_from_text() -> None:
    rows, reader = read("both", [(None, {"card": "a", "shop": 1}), (None, b"a"), (None, {"card": "a"})])
    assert [(row["card"], row["shop"], row["_deleted"]) for row in rows] == [("a", 1, True)]
    assert reader.counts["table_rejected"] == 2


@pytest.mark.parametrize(
    "record",
    [
        (b"oops", None),
        (b"\xff", None),
        ({"number": 7}, None),
        ({"number": None}, None),
        ({}, None),
        ({"number": "a", "limits": {"credit": "much"}}, None),
        ([], None),
        (None, None),
        (None, b""),
        (None, b"\xff"),
        (None, b"[" * 100_000),
    ],
)
def test_what_is_no_change_is_counted_and_changes_nothing(record: tuple[Any, Any]) -> None:
    good = ({"number": "a", "limits": {"credit": 1}}, None)
    rows, reader = read("cards", [good, record, good])
    assert [row["_offset"] for row in rows if row["card"] == "a"] == [0, 2]
    taken_as_text = record[0] is None and record[1] == b"[" * 100_000
    assert (len(rows), reader.counts["table_rejected"]) == ((3, 0) if taken_as_text else (2, 1))


def test_without_an_event_time_nothing_is_a_change() -> None:
    """The source writes the epoch for a time that is missing, or that a wrong clock has far ahead."""
    rows, reader = read("cards", [({"number": "a", "limits": {}}, None), (None, b"a")], at=0)
    assert rows == []
    assert reader.counts["table_rejected"] == 2


@settings(max_examples=examples(100))
@given(
    st.lists(st.tuples(st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=10)), max_size=40)
)
def test_each_record_is_a_change_or_counted_whatever_it_holds(records: list[tuple[Any, Any]]) -> None:
    for lookup in PARAMS:
        rows, reader = read(lookup, records)
        assert len(rows) + reader.counts["table_rejected"] == len(records)
