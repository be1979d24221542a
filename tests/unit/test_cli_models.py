"""`tailrace models`: list and promote, on a registry with two versions."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from udfs.manifest import Input, Output, Signature

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
            metrics={},
            training={},
        )
    return registry


def test_promote_makes_the_champion(registry: Registry, tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "promote", "line", "2", "--registry", str(tmp_path)])
    assert result.exit_code == 0
    assert result.output == "line version 2 is the champion (release 1)\n"
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
    result = runner.invoke(app, ["models", "promote", "line", "2", "--registry", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "line version 2 cannot be used" in str(result.exception)
    assert registry.releases("line") == []


def test_an_unknown_version_is_named(registry: Registry, tmp_path: Path) -> None:
    result = runner.invoke(app, ["models", "promote", "line", "7", "--registry", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "7" in str(result.exception)
