"""`tailrace audit` and signed releases by commands: an auditor sees what attackers and releasers did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.sign import generate_key
from tests.helpers.registered import write

JOB = """
job: frauds
source: {topic: t, schema: {a: {type: double}}}
model:
  name: fraud
  registry: models
  require_signature: true
  trusted_keys: [alice.pub, bob.pub]
  approvals: 2
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("alice", "bob", "mallory"):
        generate_key(tmp_path / name)
    for _ in range(3):
        write(Registry(tmp_path / "models"))
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def run(root: Path, *words: str) -> Result:
    words = (*words, "--registry", str(root / "models"))
    done = CliRunner().invoke(app, words, env={"COLUMNS": "220"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def release(root: Path, who: str, *words: str) -> None:
    key = ("--sign-with", str(root / who), "--job", str(root / "job.yaml"))
    assert run(root, "release", *words, *key).exit_code == 0


def audit(root: Path, code: int = 0) -> dict[str, Any]:
    done = run(root, "audit", "fraud", "--job", str(root / "job.yaml"), "--json")
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who_did_what_and_why(root: Path) -> None:
    release(root, "alice", "promote", "fraud", "1", "--reason", "first")
    release(root, "bob", "approve", "fraud", "--at", "start")
    release(root, "alice", "promote", "fraud", "2", "--reason", "better in winter")
    found = audit(root)
    assert (found["schema"], found["verified"], found["head"]["number"]) == ("tailrace.audit/1", True, 3)
    states = [(row["number"], row["action"], row["state"], row["approves"]) for row in found["releases"]]
    assert states == [
        (1, "promote", "waiting", None),
        (2, "approve", "true", 1),
        (3, "promote", "waiting", None),
    ]
    first, second, third = (row["signed_by"] for row in found["releases"])
    assert first == third != second
    assert [row["reason"] for row in found["releases"]] == ["first", "", "better in winter"]
    assert found["releases"][0]["digests"]["1"].startswith("sha256:")
    text = run(root, "audit", "fraud").stdout
    assert "better in winter" in text
    assert f"true up to release 3, {found['head']['sha256']}" in text
    history = run(root, "release", "history", "fraud", "--job", str(root / "job.yaml")).stdout
    assert "3 waits" in history


def test_what_was_forged_is_shown_and_is_an_exit_code(root: Path) -> None:
    release(root, "alice", "promote", "fraud", "1")
    place = root / "models/fraud/releases"
    record = json.loads((place / "00000001.json").read_bytes())
    (place / "00000002.json").write_text(json.dumps(record | {"number": 2, "by": "[red]\x1b[2Jroot\u202e"}))
    (place / "00000003.json").write_text("{")
    found = audit(root, code=1)
    assert [row["state"] for row in found["releases"]] == ["waiting", "refused", "refused"]
    assert "release 2: the signature by" in found["problem"]
    text = run(root, "audit", "fraud").stdout
    assert "not followed beyond: release 2: the signature by" in text
    assert "[red]\\x1b[2Jroot\\u202e" in text
    assert not set(text) & {"\x1b", "\u202e"}


def test_a_key_that_is_not_trusted(root: Path) -> None:
    run(root, "release", "promote", "fraud", "1", "--sign-with", str(root / "mallory"))
    assert audit(root, code=1)["releases"][0]["state"] == "refused"


def test_mistakes_are_named(root: Path) -> None:
    with pytest.raises(InputError, match="--adopt needs the key that signs"):
        run(root, "release", "promote", "fraud", "1", "--adopt")
    with pytest.raises(InputError, match=r"an approval must be signed; .*--sign-with"):
        run(root, "release", "approve", "fraud")
    write(Registry(root / "models"), "churn")
    with pytest.raises(InputError, match=r"--job must be a job of model churn; .*job.yaml is one of fraud"):
        run(root, "audit", "churn", "--job", str(root / "job.yaml"))
    with pytest.raises(InputError, match="there is nothing to approve: the model has no release"):
        run(root, "release", "approve", "fraud", "--sign-with", str(root / "alice"))
