"""`tailrace models`: what a person sees and gets of a registry with two versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Lineage, Output, Signature, digest

runner = CliRunner()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path)
    for slope in (1.0, 2.0):
        registry.write_version(
            "line",
            model=LinearRegression().fit([[0.0], [1.0]], [0.0, slope]),
            signature=Signature(inputs=(Input(name="x", type="double"),), output=Output(kind="regression")),
            golden_inputs=pa.table({"x": [0.5, 3.0]}),
            profile={},
            metrics={"mae": slope},
            training={"parameters": {"slope": slope}},
            lineage=Lineage(data="abc", parent=1 if slope > 1 else None),
        )
    return registry


def test_promote_makes_the_champion(registry: Registry, tmp_path: Path) -> None:
    result = runner.invoke(app, ["release", "promote", "line", "2", "--registry", str(tmp_path)])
    assert result.exit_code == 0
    assert result.output == "release 1: champion 2, for all records\n"
    assert registry.resolve("line", "champion").version == 2


def test_list_shows_all_versions(registry: Registry, tmp_path: Path) -> None:
    registry.promote("line", 1)
    result = runner.invoke(app, ["models", "list", "--registry", str(tmp_path)], env={"COLUMNS": "200"})
    rows = [line for line in result.output.splitlines() if "line" in line]
    assert len(rows) == 2
    assert "yes" in rows[0]
    assert "yes" not in rows[1]


def test_a_version_that_does_not_work_is_not_promoted(registry: Registry, tmp_path: Path) -> None:
    manifest = registry.folder("line", 2) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["files"]["model.joblib"] = "0" * 64
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(content))
    result = runner.invoke(app, ["release", "promote", "line", "2", "--registry", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "line version 2 cannot be used" in str(result.exception)
    assert registry.releases("line") == []


def test_an_unknown_version_is_named(registry: Registry, tmp_path: Path) -> None:
    result = runner.invoke(app, ["release", "promote", "line", "7", "--registry", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "7" in str(result.exception)


def run(tmp_path: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["models", *arguments, "--registry", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return str(result.output)


def test_list_for_scripts(registry: Registry, tmp_path: Path) -> None:
    registry.promote("line", 2)
    listed = json.loads(run(tmp_path, "list", "--json"))
    assert [(row["version"], row["champion"], row["signed_by"]) for row in listed] == [
        (1, False, []),
        (2, True, []),
    ]
    assert listed[0]["digest"] == digest(registry.manifest("line", 1))


def test_a_champion_to_come_shows_from_when_on(registry: Registry, tmp_path: Path) -> None:
    registry.promote("line", 1)
    promoted = ["release", "promote", "line", "2", "--at", "2100-01-01T00:00Z", "--registry", str(tmp_path)]
    assert runner.invoke(app, promoted).exit_code == 0
    first, second = (line for line in run(tmp_path, "list").splitlines() if "line" in line)
    assert re.search(r" 1 +│ yes ", first)
    assert re.search(r" 2 +│ from 2100-01-01T00:00:00.000Z ", second)
    assert "line version 2 (champion from 2100-01-01T00:00:00.000Z)" in run(tmp_path, "show", "line", "2")
    listed = json.loads(run(tmp_path, "list", "--json"))
    assert [row["champion_from"] for row in listed] == [None, "2100-01-01T00:00:00.000Z"]


def test_show_says_all_of_the_latest_version(registry: Registry, tmp_path: Path) -> None:
    shown = run(tmp_path, "show", "line")
    for text in ("line version 2", "sha256:", "nobody", "parent", "abc", "mae", "slope", "regression"):
        assert text in shown
    data = json.loads(run(tmp_path, "show", "line", "1", "--json"))
    assert data["metrics"] == {"mae": 1.0}
    assert data["digest"] == digest(registry.manifest("line", 1))


def test_a_version_is_signed_and_verified(registry: Registry, tmp_path: Path) -> None:
    key = tmp_path / "release.key"
    assert runner.invoke(app, ["models", "keygen", str(key)]).exit_code == 0
    public = f"{key}.pub"
    assert "must be signed by a trusted key" in run(tmp_path, "verify", "line", "--key", public, code=1)
    assert "line version 1 is signed by" in run(tmp_path, "sign", "line", "1", "--key", str(key))
    verified = run(tmp_path, "verify", "line", "1", "--key", public)
    assert verified.count(": ok") == 4
    checked = json.loads(run(tmp_path, "verify", "line", "--key", public, "--json", code=1))
    assert [row["passed"] for row in checked] == [True] * 4 + [True, True, False, None]
    assert "a format without pickles" not in verified
    assert "got joblib" in run(tmp_path, "verify", "line", "1", "--no-pickle", code=1)


def test_verify_says_what_was_changed_and_sign_refuses_it(registry: Registry, tmp_path: Path) -> None:
    model = registry.folder("line", 1) / "model.joblib"
    model.chmod(0o644)
    model.write_bytes(b"other")
    verified = run(tmp_path, "verify", "line", code=1)
    assert "files: FAILED" in verified
    assert "model.joblib was changed" in verified
    assert "golden rows: skipped" in verified
    assert verified.count("golden rows: ok") == 1
    key = tmp_path / "k"
    runner.invoke(app, ["models", "keygen", str(key)])
    result = runner.invoke(
        app, ["models", "sign", "line", "1", "--key", str(key), "--registry", str(tmp_path)]
    )
    assert isinstance(result.exception, InputError)
    assert "cannot be signed" in str(result.exception)
    assert not (registry.folder("line", 1) / "signatures").exists()


def test_diff_says_what_changed(registry: Registry, tmp_path: Path) -> None:
    shown = run(tmp_path, "diff", "line/1", "2")
    assert "signature: the same" in shown
    assert "on 10 golden rows 2.8 apart on average, 5.5 at most" in shown
    data = json.loads(run(tmp_path, "diff", "line/1", "line/latest", "--json"))
    assert data["metrics"] == {"mae": [1.0, 2.0]}
    assert data["parameters"] == {"slope": [1.0, 2.0]}
    assert data["signature"] == data["libraries"] == {}
    assert data["predictions"] == {
        "rows": 10,
        "mean_difference": pytest.approx(2.8),
        "largest_difference": pytest.approx(5.5),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "1", "2"], "must be given as NAME/VERSION"),
        (["diff", "line/1", "7"], "version 7 of model line must be one of 1, 2"),
        (["diff", "line/champoin", "1"], "did you mean 'champion'"),
        (["show", "lime"], "did you mean 'line'"),
        (["verify", "line", "--key", "nowhere.pub"], "--key must be an Ed25519 public key.*No such file"),
        (["sign", "line", "1", "--key", "nowhere"], "nowhere cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_said(
    registry: Registry, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = runner.invoke(app, ["models", *arguments, "--registry", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert re.search(message, str(result.exception))
