"""`tailrace test` and `preview`, but for Flink's part; adversaries: a wrong expectation, dead letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app, tryout
from flink_jobs.history import History
from flink_jobs.kafka import Message
from tests.helpers.samples import write_model

JOB = """
job: pay
source: {topic: payments, schema: {card: {type: string, pii: drop}, amount: {type: double, required: true}}}
features: {derive: {twice: amount * 2}}
model: {name: m, registry: models, inputs: {a: twice}}
"""
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def tailrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The second of three records is a dead letter, the third is late."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models", "m", "a")
    Path("pay.yaml").write_text(JOB)
    asked: list[Sequence[str]] = []

    def predicted(_plan: Any, messages: Sequence[Message], include: Sequence[str], *tables: Any) -> History:
        asked.append(include)
        assert not any(tables)
        columns: dict[str, Any] = {"amount": [1.5], "twice": [3.0], "prediction": [True], "score": [0.9]}
        table = pa.table(
            {name: values for name, values in columns.items() if name in include or name[0] in "ps"}
        )
        dead = pa.table(
            {"row": [1], "stage": ["decode"], "reason": ["not_json"], "message": ["ends too early"]}
        )
        return History(table, pa.table({"row": [0]}), dead, np.array([2]), len(messages))

    monkeypatch.setattr(tryout, "_predicted", predicted)
    monkeypatch.setattr(tryout, "latest_records", lambda *_: [Message(b"{}")] * 3)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert all("card" not in include for include in asked)
        return done.exit_code, " ".join(done.output.split())

    return run


def test_preview_shows_each_step_and_no_personal_data(tailrace: Run) -> None:
    code, text = tailrace("preview", "pay.yaml")
    assert code == 0
    assert "fields amount=1.5 derived twice=3.0 prediction prediction=true score=0.9" in text
    assert "dead letter not_json: ends too early" in text
    assert "late behind newer records" in text
    assert text.endswith("3 records, 1 dead letters; nothing was written")


def test_preview_for_programs(tailrace: Run) -> None:
    _, text = tailrace("preview", "pay.yaml", "--json")
    assert json.loads(text.partition("} {")[0] + "}")["twice"] == 3.0


def test_expectations(tailrace: Run) -> None:
    lines: list[dict[str, Any]] = [
        {"value": {"amount": 1.5}, "expect": {"prediction": True, "twice": 3}},
        {"value": "{", "expect": {"dead": "not_json"}},
        {"value": {"amount": 1.0}, "expect": {"late": True}},
    ]
    Path("pay.test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert tailrace("test", "pay.yaml") == (0, "3 records are as expected")
    lines[0]["expect"] = {"prediction": False}
    Path("other.jsonl").write_text("\n".join(map(json.dumps, lines)))
    code, text = tailrace("test", "pay.yaml", "--records", "other.jsonl")
    assert code == 1
    assert "other.jsonl:1: prediction must be false; got true" in text
    assert "1 differences in 3 records" in text
