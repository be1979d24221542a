"""What records beside a job file say must become of them, against what became of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.errors import InputError
from flink_jobs.history import History
from flink_jobs.history.expected import (
    asked_columns,
    became,
    differences,
    fixtures_of,
    read_fixtures,
    table_changes,
)
from flink_jobs.jobfile import load_job_text

LINES: list[dict[str, Any]] = [
    {"value": {"amount": 1.0}, "key": "a", "timestamp": 5},
    {"value": {"amount": 2.0}, "expect": {"prediction": True, "score": 0.1 + 0.2, "spent": 3}},
    {"value": "{", "expect": {"dead": "not_json"}},
    {"value": None, "expect": {"late": True}},
]
HISTORY = History(
    pa.table({"prediction": [False, True], "score": [0.9, 0.3], "spent": [1.0, 3.0]}),
    pa.table({"row": [0, 1]}),
    pa.table({"row": [2], "stage": ["decode"], "reason": ["not_json"], "message": ["ends too early"]}),
    np.array([3]),
    4,
)


def written(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_records_as_expected(tmp_path: Path) -> None:
    path = written(tmp_path / "a.test.jsonl", *LINES)
    fixtures = read_fixtures(path)
    assert [f.message.value for f in fixtures] == [b'{"amount": 1.0}', b'{"amount": 2.0}', b"{", None]
    assert (fixtures[0].message.key, fixtures[0].message.timestamp) == (b"a", 5)
    assert asked_columns(fixtures, ["prediction", "score"]) == ["spent"]
    assert list(differences(path, fixtures, became(HISTORY))) == []


@pytest.mark.parametrize(
    ("line", "expect", "words"),
    [
        (1, {"score": 0.31}, "score must be 0.31; got 0.3"),
        (1, {"prediction": 1}, "prediction must be 1; got true"),
        (1, {"spent": None}, "spent must be null; got 3.0"),
        (1, {"dead": "null"}, 'dead must be "null"; got a prediction'),
        (2, {"prediction": True}, "prediction must be true; got a dead letter, not_json: ends too early"),
        (3, {"prediction": True}, "prediction must be true; got a late record"),
    ],
)
def test_what_is_different_is_told_with_its_line(
    tmp_path: Path, line: int, expect: dict[str, Any], words: str
) -> None:
    lines = [{**each, "expect": expect} if number == line else each for number, each in enumerate(LINES)]
    path = written(tmp_path / "a.test.jsonl", *lines)
    assert list(differences(path, read_fixtures(path), became(HISTORY))) == [f"{path}:{line + 1}: {words}"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "Expecting property name"),
        ([1], "must be an object with `value`"),
        ({"expect": {}}, "must be an object with `value`"),
        ({"value": 1, "expected": {}}, "has 'expected', which is none of .*did you mean 'expect'"),
        ({"value": 1, "expect": {}}, "expect must be an object with a column, `dead` or `late`"),
        ({"value": 1, "expect": "x"}, "expect must be an object with a column, `dead` or `late`"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: object, words: str) -> None:
    path = written(tmp_path / "a.test.jsonl", LINES[1], line)
    with pytest.raises(InputError, match=f"{re.escape(str(path))}:2: {words}"):
        read_fixtures(path)


def test_a_test_that_expects_nothing_is_none(tmp_path: Path) -> None:
    path = written(tmp_path / "a.test.jsonl", LINES[0])
    with pytest.raises(InputError, match="must have a record with `expect`; got 1 records without"):
        read_fixtures(path)
    with pytest.raises(InputError, match="must be lines of JSON"):
        read_fixtures(tmp_path / "none.test.jsonl")
    assert fixtures_of(Path("conf/payments.yaml")) == Path("conf/payments.test.jsonl")


JOB = """
job: pay
source: {topic: payments, schema: {card: string, amount: double}}
features:
  lookups:
    cards: {topic: cards, by: card, key: id, select: {credit: {column: credit, type: double}}}
    planes: {file: planes.parquet, by: card, select: [year]}
model: {name: m, registry: models}
"""
CHANGE = {"table": "cards", "value": {"id": "a", "credit": 5}, "key": "a", "timestamp": 1}


def test_changes_of_tables_of_topics_are_no_records(tmp_path: Path) -> None:
    job = load_job_text(JOB, "job.yaml", tmp_path)
    path = written(tmp_path / "a.test.jsonl", CHANGE, *LINES, {**CHANGE, "value": None})
    records, tables = table_changes(job, path, read_fixtures(path))
    assert [each.line for each in records] == [2, 3, 4, 5]
    (found,) = tables.items()
    assert found[0] == "cards"
    assert [(each.value, each.key, each.timestamp) for each in found[1]] == [
        (b'{"id": "a", "credit": 5}', b"a", 1),
        (None, b"a", 1),
    ]
    assert list(differences(path, records, became(HISTORY))) == []


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], r"a.test.jsonl must have changes of features.lookups.cards, which is a topic"),
        (
            [{**CHANGE, "table": "card"}],
            r"a.test.jsonl:1: table must be .* \(cards\); got 'card'; did you mean",
        ),
        (
            [{**CHANGE, "table": "planes"}],
            r"jsonl:1: table must be a lookup of the job whose table is",
        ),
        ([{**CHANGE, "expect": {"late": True}}], r"a.test.jsonl:1: expect must be left out, as a line with"),
        ([{**CHANGE, "table": 1}], r"a.test.jsonl:1: table must be the name of a lookup"),
    ],
)
def test_what_is_wrong_with_changes_is_told(tmp_path: Path, lines: list[Any], words: str) -> None:
    job = load_job_text(JOB, "job.yaml", tmp_path)
    path = written(tmp_path / "a.test.jsonl", *lines, *LINES)
    with pytest.raises(InputError, match=words):
        table_changes(job, path, read_fixtures(path))
