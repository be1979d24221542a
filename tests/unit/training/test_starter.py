"""What `tailrace init` writes validates, whatever a topic holds; the adversary is a topic of surprises."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app, init
from flink_jobs.history.expected import read_fixtures
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import Message
from flink_jobs.training.starter import GuessedField, event_time, guessed_fields
from tests.helpers.samples import write_model

Run = Callable[..., str]
PAYMENTS = [
    {"card": "a", "amount": 1, "paid_at": "2026-01-01T00:00:00Z", "booked": 1_767_225_600_000, "flags": [1]},
    {"card": "b", "amount": 2.5, "paid_at": "2026-01-01T00:00:01Z", "booked": 1_767_225_601_000, "vip": True},
]
SURPRISES: list[Any] = [
    [],
    [b""],
    [b"\xff", b"[]", b"null"],
    [b'{"a b": 1, "\xc3\xa9": 2, "": 3}'],
    [b'{"amount": "text", "n": 12345678901234567890}'],
    [b'{"n": null}', b'{"n": null}'],
    [b'{"event_time": "2026-01-01T00:00:00Z", "_x": 1, "group": 1, "prediction": 1, "score": 2}'],
    [b'{"amount": true, "n": 1.5}', b'{"amount": 7}'],
]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in a folder with a model, on a topic with these records."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "models", "m", "amount", "n")

    def run(*records: bytes) -> str:
        monkeypatch.setattr(init, "latest_records", lambda *_: [Message(each) for each in records])
        done = CliRunner().invoke(app, ["init", "pay", "--model", "m", "--topic", "payments"])
        assert done.exception is None, done.exception
        return Path("pay.yaml").read_text()

    return run


def test_fields_are_guessed_by_their_values() -> None:
    found = guessed_fields(json.dumps(each).encode() for each in PAYMENTS)
    assert found == {
        "card": GuessedField("string", True),
        "amount": GuessedField("double", True),
        "paid_at": GuessedField("string", True, "iso8601"),
        "booked": GuessedField("long", True, "ms"),
        "vip": GuessedField("boolean", False),
    }
    assert event_time(found) == "paid_at"


def test_the_first_files_of_a_job(written: Run) -> None:
    text = written(*(json.dumps(each).encode() for each in PAYMENTS))
    job = load_job(Path("pay.yaml"), {})
    assert (job.source.topic, job.source.event_time.field) == ("payments", "paid_at")
    assert "n: {type: double, required: true} # not in the sample" in text
    fixtures = read_fixtures(Path("pay.test.jsonl"))
    # write_model's golden rows: the higher the sum of the inputs, the higher the score.
    assert [each.expect for each in fixtures] == [
        {"prediction": False},
        {"prediction": True},
        {"prediction": True},
        {"dead": "not_json"},
    ]
    made: dict[str, Any] = {"__file__": str(Path("models/m/train.py").absolute())}
    exec(Path("models/m/train.py").read_text(), made)
    trainer = made["TRAINER"]
    assert (trainer.inputs, trainer.output.kind) == (("amount", "n"), "binary")
    assert (Path("models/m") / trainer.job).resolve() == Path("pay.yaml").resolve()


@pytest.mark.parametrize("records", SURPRISES)
def test_what_it_writes_validates_whatever_the_topic_holds(written: Run, records: list[bytes]) -> None:
    written(*records)
    done = CliRunner().invoke(app, ["validate", "pay.yaml"])
    assert done.exit_code == 0, done.output


def test_nothing_is_overwritten(written: Run) -> None:
    Path("pay.test.jsonl").write_text("mine")
    written()
    assert Path("pay.test.jsonl").read_text() == "mine"
    before = Path("pay.yaml").read_text()
    again = CliRunner().invoke(app, ["init", "pay", "--model", "m"])
    assert "must not be there yet" in str(again.exception)
    assert Path("pay.yaml").read_text() == before
