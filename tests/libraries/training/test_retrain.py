"""The commands, with features in memory: what a scheduler calls trains once for the same drift."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.training import retrain as retraining
from flink_jobs.training import run
from tests.helpers.drift_records import drift_records
from tests.helpers.payments import compute_in_memory, write_model
from tests.helpers.quality_records import record as quality_record
from udfs.alerts.records import WindowSpan
from udfs.drift.records import DriftRecord, encode
from udfs.quality.records import Metric

runner = CliRunner()
WEEKS = ("2024-02-19", "2024-02-22", "2024-02-25", "2024-02-28")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model with a version, and drift of its score in two windows from 19 February on."""
    compute_in_memory(monkeypatch, run.train, retraining.retrain_if_needed)
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    write_drift(tmp_path, 2)
    assert called("train", "cards").exit_code == 0
    return tmp_path


def write_drift(root: Path, windows: int) -> None:
    change = msgspec.structs.replace

    def moved(record: DriftRecord, start: str, end: str) -> DriftRecord:
        span = change(record.window, start=f"{start}T00:00:00.000Z", end=f"{end}T00:00:00.000Z")
        columns = tuple(
            change(each, verdict="drift" if each.name == "score" else "ok") for each in record.columns
        )
        return change(record, model="cards", window=span, columns=columns, verdict="drift")

    spans = list(pairwise(WEEKS))[:windows]
    records = [moved(record, *span) for record, span in zip(drift_records(3), spans, strict=False)]
    (root / "drift.jsonl").write_bytes(b"\n".join(map(encode, records)))


def called(*arguments: str) -> Any:
    return runner.invoke(app, list(arguments), catch_exceptions=True)


def retrained(*arguments: str) -> dict[str, Any]:
    result = called("retrain", "cards", "--if-drifted", "drift.jsonl", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_train_prints_what_it_registered(model: Path) -> None:
    result = called("train", "cards", "--trials", "2", "--promote")
    assert result.exit_code == 0
    assert "cards version 2 is registered" in result.stdout
    assert "best of 2 trials: log_loss" in result.stdout
    assert Registry(model).resolve("cards", "champion").version == 2
    shown = json.loads(called("train", "cards", "--json", "--test-from", "2024-02-10").stdout)
    assert (shown["version"], shown["training"]["test_from"]) == (3, "2024-02-10")


def test_drift_is_learnt_once(model: Path) -> None:
    dry = retrained("--dry-run")
    assert (dry["retrain"], dry["trained"], dry["dry_run"]) == (True, None, True)
    first = retrained()
    assert first["schema"] == "tailrace.retrain/1"
    assert (first["retrain"], first["trained"], first["champion"]) == (True, 2, 1)
    assert first["reason"] == "in 2 of the last 2 windows the output drifted (score); 2 are enough"
    made = Registry(model).manifest("cards", 2).training
    assert made["retrained_for"]["until"] == "2024-02-25T00:00:00.000Z"
    assert made["test_from"] == "2024-02-25T00:00:00.000Z"
    assert made["last_event"] > "2024-02-24"
    again = retrained()
    assert (again["retrain"], again["trained"], again["windows_known"]) == (False, None, 2)
    assert Registry(model).versions("cards") == [1, 2]
    # One new window alone is not enough; the next one would be.
    write_drift(model, 3)
    assert not retrained()["retrain"]
    assert retrained("--bad", "1", "--of", "1")["trained"] == 3


def write_quality(root: Path, losses: Sequence[float], *, final: bool = True) -> None:
    """Of the windows from 19 February on, with these log losses."""
    records = []
    for loss, (start, end) in zip(losses, pairwise(WEEKS), strict=False):
        span = WindowSpan(f"{start}T00:00:00.000Z", f"{end}T00:00:00.000Z", "watermark")
        metric = Metric(value=loss, low=loss - 0.01, high=loss + 0.01)
        made = quality_record(0, job="payments", labels=500)
        changes = {"model": "cards", "window": span, "final": final, "realized": {"log_loss": metric}}
        records.append(msgspec.structs.replace(made, **changes))
    (root / "quality.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, records)))


def test_quality_that_fell_is_learnt_once_and_early_labels_are_not_believed(model: Path) -> None:
    arguments = ("retrain", "cards", "--if-worse", "quality.jsonl", "--json")
    write_quality(model, [0.9, 0.9], final=False)
    result = called(*arguments)
    assert result.exit_code == 0, repr(result.exception)
    early = json.loads(result.stdout)
    assert (early["retrain"], early["quality"]["unripe"]) == (False, 2)
    write_quality(model, [0.9, 0.9])
    done = json.loads(called(*arguments).stdout)
    assert (done["retrain"], done["trained"]) == (True, 2)
    assert "in 2 of the last 2 windows the realized log_loss was worse than" in done["reason"]
    made = Registry(model).manifest("cards", 2).training
    assert made["retrained_for"]["until"] == made["test_from"] == "2024-02-25T00:00:00.000Z"
    assert made["retrained_for"]["source"] == "quality.jsonl"
    again = json.loads(called(*arguments).stdout)
    assert (again["retrain"], again["quality"]["known"]) == (False, 2)
    both = json.loads(called(*arguments, "--if-drifted", "drift.jsonl", "--margin", "5").stdout)
    assert (both["retrain"], both["windows_known"]) == (False, 2)


def test_what_is_printed_of_quality(model: Path) -> None:
    write_quality(model, [0.9, 0.1])
    shown = called(
        "retrain", "cards", "--if-worse", "quality.jsonl", "--reference", "0.5", "--dry-run"
    ).stdout
    assert shown.splitlines() == [
        "2024-02-19T00:00 to 2024-02-22T00:00: log_loss 0.9 (0.89 to 0.91), worse",
        "2024-02-22T00:00 to 2024-02-25T00:00: log_loss 0.1 (0.09 to 0.11)",
        "cards version 1: in 1 of the last 2 windows the realized log_loss was worse than 0.5 (last 0.1); "
        "2 would be needed",
        "nothing to do",
    ]


def test_what_is_printed_for_a_person(model: Path) -> None:
    result = called("retrain", "cards", "--if-drifted", "drift.jsonl", "--dry-run")
    assert result.stdout.splitlines() == [
        "2024-02-19 to 2024-02-22: drifted outputs: score; inputs of 0% of the importance",
        "2024-02-22 to 2024-02-25: drifted outputs: score; inputs of 0% of the importance",
        "cards version 1: in 2 of the last 2 windows the output drifted (score); 2 are enough",
        "would train (--dry-run)",
    ]
    (model / "drift.jsonl").write_text("")
    result = called("retrain", "cards", "--if-drifted", "drift.jsonl")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["cards version 1: no window to judge by", "nothing to do"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--if-drifted", "nothing.jsonl"), "nothing.jsonl must be a file of drift records"),
        (
            ("--if-drifted", "drift.jsonl", "--job", "flight"),
            "the job must be one of drift.jsonl (flight-delay); got",
        ),
        (("--if-drifted", "drift.jsonl", "--bad", "5"), "bad must be from 1 to of, which is 3; got 5"),
    ],
)
def test_what_is_wrong_is_said(model: Path, arguments: tuple[str, ...], message: str) -> None:
    result = called("retrain", "cards", *arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--if-drifted DRIFT, --if-worse QUALITY, or both"),
        (("--if-worse", "no.jsonl"), "no.jsonl must be a file of quality records; there is no such file"),
        (("--if-worse", "drift.jsonl", "--metric", "gini"), "metric must be one of auc, "),
        (("--if-worse", "drift.jsonl"), "schema must be 'tailrace.quality/1'; got 'tailrace.drift/1'"),
    ],
)
def test_what_is_wrong_about_quality_is_said(model: Path, arguments: tuple[str, ...], message: str) -> None:
    result = called("retrain", "cards", *arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_a_model_without_a_champion_is_not_retrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    write_drift(tmp_path, 2)
    result = called("retrain", "cards", "--if-drifted", "drift.jsonl")
    assert "must have a champion to be retrained; train it first" in str(result.exception)


def test_two_trainings_of_a_model_take_turns(tmp_path: Path) -> None:
    import threading

    order: list[str] = []
    held = threading.Event()

    def second() -> None:
        held.wait()
        with retraining.alone(tmp_path, lambda: order.append("waits")):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with retraining.alone(tmp_path, lambda: order.append("never")):
        held.set()
        while "waits" not in order:
            pass
        order.append("first")
    thread.join()
    assert order == ["waits", "first", "second"]
