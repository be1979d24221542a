"""`tailrace lifecycle` with a real train.py and records in files; features are in memory, not on Flink."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.lifecycle import of_job
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.training import run
from tests.helpers.payments import JOB, compute_in_memory, write_model
from tests.helpers.quality_records import record as quality_record
from udfs.alerts.records import WindowSpan
from udfs.quality.records import Metric
from udfs.releases.log import ReleaseRecord
from udfs.rollout.records import ComparisonRecord, GateReport, Outcome
from udfs.times import iso, now_ms

DAY_MS = 86_400_000
POLICY = """
quality:
  labels: {topic: frauds, on: card, field: fraud, wait: 30d}
lifecycle:
  train: {quality: {metric: log_loss, of: 2}}
  shadow: {windows: 1}
  canary: {share: 20%, key: card, windows: 1}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A champion whose log loss is bad in two windows."""
    compute_in_memory(monkeypatch, run.train, of_job.loop_of)
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    assert called("train", "cards").exit_code == 0
    (tmp_path / "job.yaml").write_text(JOB.replace("name: cards", "name: cards, registry: .") + POLICY)
    write_quality(tmp_path, 0.9, 0.9)
    (tmp_path / "compared.jsonl").write_text("")
    return tmp_path


def write_quality(root: Path, *losses: float) -> None:
    records = []
    for day, loss in enumerate(losses, 21):
        span = WindowSpan(f"2024-03-{day:02}T00:00:00.000Z", f"2024-03-{day + 1:02}T00:00:00.000Z")
        metric = Metric(value=loss, low=loss - 0.01, high=loss + 0.01)
        made = quality_record(0, job="payments")
        records.append(
            msgspec.structs.replace(
                made, model="cards", window=span, final=True, realized={"log_loss": metric}
            )
        )
    (root / "quality.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, records)))


def write_look(root: Path, role: Any, outcome: Outcome, *, version: int = 2) -> None:
    """One more window, tomorrow, in which the gate said so."""
    start = now_ms() + DAY_MS
    gate = GateReport(version, outcome, (f"it was a {outcome}",), role, 1)
    span = WindowSpan(iso(start), iso(start + DAY_MS))
    record = ComparisonRecord(job="payments", model="cards", window=span, versions=(), pairs=(), gate=gate)
    with (root / "compared.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")


def called(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=True)


def lived(*arguments: str) -> list[dict[str, Any]]:
    result = called("lifecycle", "job.yaml", *SOURCES, "--json", *arguments)
    assert result.exit_code == 0, repr(result.exception)
    found = json.loads(result.stdout)
    assert found["schema"] == "tailrace.lifecycle/1"
    steps: list[dict[str, Any]] = found["steps"]
    return steps


SOURCES = ("--comparisons", "compared.jsonl", "--quality", "quality.jsonl")


def log(root: Path) -> tuple[ReleaseRecord, ...]:
    found = Releases(Registry(root), "cards").log()
    assert found is not None
    return found.records


def test_from_bad_quality_to_a_champion(root: Path) -> None:
    (dry,) = lived("--dry-run")
    assert (dry["step"], dry["release"]) == ("train", None)
    assert len(log(root)) == 1
    steps = lived()
    assert [each["step"] for each in steps] == ["train", "fit", "shadow", "wait"]
    assert [each["release"] for each in steps] == [2, None, 3, None]
    assert steps[-1]["reason"] == "version 2 as shadow: 0 of 1 windows"
    manifest = Registry(root).manifest("cards", 2)
    assert manifest.training["retrained_for"]["release"] == 2
    assert manifest.training["retrained_for"]["source"] == "quality.jsonl"
    assert "the realized log_loss was worse than" in log(root)[1].reason
    assert [each["step"] for each in lived()] == ["wait"]
    write_look(root, "shadow", "pass")
    assert [each["step"] for each in lived()] == ["canary", "wait"]
    write_look(root, "canary", "pass")
    assert [each["step"] for each in lived()] == ["promote", "wait"]
    last = log(root)[-1]
    assert (last.champion, last.by) == (2, "job payments, lifecycle: promote")
    assert last.reason == "as canary, it passed the gate after 1 windows"
    # The windows of the champion before are those that this one was trained for.
    assert [each["step"] for each in lived()] == ["wait"]


def test_what_fails_is_dropped_and_told(root: Path) -> None:
    lived()
    write_look(root, "shadow", "fail")
    result = called("lifecycle", "job.yaml", *SOURCES)
    assert result.stdout.splitlines()[0] == (
        "release 4: drop version 2: as shadow, the gate failed it: it was a fail"
    )
    assert result.stdout.splitlines()[1].startswith("wait: no window whose realized log_loss is known")
    assert log(root)[-1].shadows == ()
    # Its windows are known; new bad ones come within the week.
    write_quality(root, 0.9, 0.9, 0.9, 0.9)
    (step,) = lived()
    assert step["reason"].startswith("1 training began in the last 7 days, the next may at ")


def test_what_fails_is_dropped_even_where_nobody_can_say_why_to_train(root: Path) -> None:
    """Quality that cannot be read must not keep a bad version in place."""
    lived()
    write_look(root, "shadow", "fail")
    (root / "quality.jsonl").write_text("no record")
    result = called("lifecycle", "job.yaml", *SOURCES)
    assert "quality.jsonl:1: must be a quality record" in str(result.exception)
    assert (log(root)[-1].shadows, log(root)[-1].by) == ((), "job payments, lifecycle: drop")


def test_a_version_that_cannot_be_loaded_is_dropped_before_it_decides_anything(root: Path) -> None:
    lived()
    model = Registry(root).folder("cards", 2) / "model.joblib"
    model.chmod(0o644)
    model.write_bytes(b"damaged on its way")
    write_look(root, "shadow", "pass")
    step, wait = lived()
    assert (step["step"], step["version"], wait["step"]) == ("drop", 2, "wait")
    assert step["reason"].startswith("version 2 cannot be used: ")


def test_a_signed_log_wants_a_key_and_no_log_is_adopted_unasked(root: Path) -> None:
    keys = {name: Ed25519PrivateKey.generate() for name in ("loop", "ada")}
    for name, key in keys.items():
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (root / f"{name}.key").write_bytes(pem)
        (root / f"{name}.key").chmod(0o600)
    trusted = [base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in keys.values()]
    demands = f"name: cards, registry: ., trusted_releasers: {json.dumps(trusted)}, approvals: 2"
    signed = f"{demands}, require_signature: true, trusted_keys: {json.dumps(trusted)}"
    text = (root / "job.yaml").read_text()
    (root / "job.yaml").write_text(text.replace("name: cards, registry: .", signed))
    result = called("lifecycle", "job.yaml", *SOURCES)
    assert isinstance(result.exception, InputError)
    assert "follows signed releases only (model.require_signature); give the key" in str(result.exception)
    result = called("lifecycle", "job.yaml", *SOURCES, "--sign-with", "loop.key")
    assert "release 1 is not signed" in str(result.exception)


def test_a_job_without_a_policy(root: Path) -> None:
    (root / "job.yaml").write_text(JOB)
    result = called("lifecycle", "job.yaml")
    assert "job payments must have a lifecycle section" in str(result.exception)


def test_two_write_at_once_the_second_decides_anew(root: Path) -> None:
    """A person's release comes between a step's decision and its writing."""
    write = Releases.confirm

    def overtaken(self: Releases, moment: Activation, **more: Any) -> ReleaseRecord:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Releases, "confirm", write)
            Releases(Registry(root), "cards").shadow((), Activation(reason="I was first", by="ada"))
        Releases.confirm = write  # type: ignore[method-assign]
        return write(self, moment, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Releases, "confirm", overtaken)
        steps = lived()
    assert [each["step"] for each in steps] == ["train", "fit", "shadow", "wait"]
    assert [record.by.partition(", ")[0] for record in log(root)[1:]] == [
        "ada",
        "job payments",
        "job payments",
    ]
