"""What can be wrong before an MLflow server is asked, and what it is told."""

from __future__ import annotations

import sys

import pytest

from flink_jobs.errors import InputError
from flink_jobs.registry.mlflow.files import run_parameters
from flink_jobs.registry.mlflow.server import Server
from udfs.model.manifest import Input, Manifest, Output, Signature


@pytest.mark.parametrize("uri", ["localhost:5000", "sqlite:///mlflow.db", "", "databricks"])
def test_the_server_has_an_address(uri: str) -> None:
    with pytest.raises(InputError, match="must be given as http://host:port; got"):
        Server(uri)


def test_a_missing_client_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=r"install it: pip install 'tailrace\[mlflow\]'"):
        Server("http://127.0.0.1:5000")


def test_parameters_are_flat_short_and_not_too_many() -> None:
    training = {"a": {"b": 1, "c": {"d": True}}, "long": "x" * 900, **{f"p{i}": i for i in range(200)}}
    manifest = Manifest(
        name="m",
        version=1,
        format="joblib",
        model_file="model.joblib",
        files={"model.joblib": "0" * 64, "golden.parquet": "0" * 64},
        signature=Signature(inputs=(Input(name="x", type="double"),), output=Output(kind="regression")),
        libraries={},
        training=training,
        metrics={},
        created_at="2026-01-01T00:00:00Z",
    )
    found = run_parameters(manifest)
    assert found["a.b"] == "1"
    assert found["a.c.d"] == "True"
    assert len(found["long"]) == 500
    assert len(found) == 100
