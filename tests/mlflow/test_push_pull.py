"""Versions go to a real MLflow server and come back the same, or not at all."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy as np
import pyarrow as pa
import pytest
import xgboost
from mlflow.tracking import MlflowClient
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError, WorkError
from flink_jobs.registry import Registry
from flink_jobs.registry.mlflow.server import DIGEST_TAG, Server
from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import free_port
from tests.mlflow.conftest import MlflowServer
from udfs.model.format_table import Format
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Output, Signature, digest
from udfs.model.signatures import Trust

SIGNATURE = Signature(
    inputs=(Input(name="amount", type="double"), Input(name="n", type="long", nullable=False)),
    output=Output(kind="binary", classes=("no", "yes")),
)
ROWS = pa.table({"amount": [0.5, -1.0, 2.5, 0.0], "n": [1, 2, 3, 4]})
runner = CliRunner()


def write(root: Path, name: str, kind: Format = "joblib", seed: int = 0) -> Registry:
    """A registry with one version of the model."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=200), rng.integers(0, 9, 200)])
    estimators: dict[str, Any] = {
        "joblib": LogisticRegression(),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=3, verbose=-1),
        "xgboost": xgboost.XGBClassifier(n_estimators=3),
    }
    labels = (x[:, 0] > 0).astype(int) if kind == "xgboost" else np.where(x[:, 0] > 0, "yes", "no")
    registry = Registry(root)
    registry.write_version(
        name,
        model=estimators[kind].fit(x, labels),
        format=kind,
        signature=SIGNATURE,
        golden_inputs=ROWS,
        profile={},
        metrics={"auc": 0.75, "rows": 200.0},
        training={"data": "drawn", "parameters": {"seed": seed, "depth": {"most": 3}}},
    )
    return registry


@pytest.fixture
def server(mlflow_server: MlflowServer) -> Server:
    return Server(mlflow_server.uri)


@pytest.fixture
def client(mlflow_server: MlflowServer) -> Iterator[MlflowClient]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_server.uri)
    yield MlflowClient(mlflow_server.uri, mlflow_server.uri)
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("kind", ["joblib", "lightgbm"])
def test_a_version_comes_back_as_it_went(
    kind: Format, tmp_path: Path, server: Server, client: MlflowClient
) -> None:
    name = f"trip-{kind}"
    here, there = write(tmp_path / "here", name, kind), Registry(tmp_path / "there")
    sent = here.manifest(name, 1)
    pushed = server.push(here, name, 1)
    assert (pushed.version, pushed.new) == ("1", True)
    assert server.push(here, name, 1) == pushed.__class__(name, "1", pushed.run_id, new=False)

    run = client.get_run(pushed.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"data": "drawn", "parameters.seed": "0", "parameters.depth.most": "3"}
    assert run.data.metrics == {"auc": 0.75, "rows": 200.0}
    assert run.data.tags[DIGEST_TAG] == client.get_model_version(name, "1").tags[DIGEST_TAG] == digest(sent)

    pulled = server.pull(there, "other", model=name)
    assert (pulled.name, pulled.version, pulled.format) == ("other", 1, kind)
    assert (pulled.signature, pulled.metrics) == (sent.signature, sent.metrics)
    assert pulled.files[pulled.model_file] == sent.files[sent.model_file]
    origin = pulled.training.pop("mlflow")
    assert pulled.training == sent.training
    assert (origin["model"], origin["version"], origin["run"]) == (name, "1", pushed.run_id)
    assert (origin["digest"], origin["created_at"]) == (digest(sent), sent.created_at)
    models = [load_version(here.folder(name, 1)).model, load_version(there.folder("other", 1)).model]
    pushed_scores, pulled_scores = (np.asarray(model.predict(ROWS).score) for model in models)
    np.testing.assert_array_equal(pulled_scores, pushed_scores)


@pytest.mark.parametrize("kind", ["joblib", "lightgbm", "xgboost"])
def test_mlflow_itself_loads_what_was_pushed(
    kind: Format, tmp_path: Path, server: Server, client: MlflowClient
) -> None:
    name = f"loaded-{kind}"
    here = write(tmp_path, name, kind)
    server.push(here, name, 1)
    expected = load_version(here.folder(name, 1)).model.predict(ROWS)
    found = mlflow.pyfunc.load_model(f"models:/{name}/1").predict(ROWS.to_pandas())
    assert found["prediction"].tolist() == list(expected.prediction)
    assert expected.score is not None
    np.testing.assert_array_equal(found["score"], expected.score)
    if kind == "lightgbm":
        native = mlflow.lightgbm.load_model(f"models:/{name}/1").predict(ROWS.to_pandas())
        np.testing.assert_allclose(native, expected.score, rtol=1e-12)
    if kind == "xgboost":
        booster = mlflow.xgboost.load_model(f"models:/{name}/1")
        native = booster.predict(xgboost.DMatrix(ROWS.to_pandas().to_numpy(dtype=float)))
        np.testing.assert_allclose(native, expected.score, rtol=1e-6)


def test_versions_follow_each_other(tmp_path: Path, server: Server) -> None:
    first, second = write(tmp_path / "a", "follow", seed=1), write(tmp_path / "b", "follow", seed=2)
    assert [server.push(r, "follow", 1).version for r in (first, second)] == ["1", "2"]
    there = Registry(tmp_path / "there")
    for wanted, source in ((None, second), ("1", first)):
        pulled = server.pull(there, "follow", version=wanted)
        assert pulled.training["mlflow"]["digest"] == digest(source.manifest("follow", 1))
    assert there.versions("follow") == [1, 2]


def changed_file(server: MlflowServer, client: MlflowClient, name: str) -> None:
    run = client.get_model_version(name, "1").run_id
    [path] = server.artifacts.rglob(f"{run}/artifacts/model/tailrace/model.joblib")
    path.write_bytes(path.read_bytes() + b"x")


def changed_tag(server: MlflowServer, client: MlflowClient, name: str) -> None:
    client.set_model_version_tag(name, "1", DIGEST_TAG, "sha256:00")


def changed_rows(server: MlflowServer, client: MlflowClient, name: str) -> None:
    """Golden rows of another model, with a manifest that agrees with them."""
    run = client.get_model_version(name, "1").run_id
    [manifest] = server.artifacts.rglob(f"{run}/artifacts/model/tailrace/manifest.json")
    content = json.loads(manifest.read_text())
    other = write(manifest.parents[5] / f"other-{name}", "other", seed=77)
    golden = other.folder("other", 1) / "golden.parquet"
    (manifest.parent / "golden.parquet").write_bytes(golden.read_bytes())
    content["files"]["golden.parquet"] = other.manifest("other", 1).files["golden.parquet"]
    manifest.write_text(json.dumps(content))
    client.delete_model_version_tag(name, "1", DIGEST_TAG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_file, r"version 1 of http://127.0.0.1:\d+ cannot be used: model.joblib was changed"),
        (
            changed_tag,
            r"must have the digest sha256:00 \(the tag tailrace.digest on the server\); got",
        ),
        (changed_rows, r"version 1 of http://127.0.0.1:\d+ cannot be used: golden row \d: score must be"),
    ],
)
def test_what_was_changed_on_the_server_is_refused(
    change: Any,
    message: str,
    tmp_path: Path,
    server: Server,
    mlflow_server: MlflowServer,
    client: MlflowClient,
) -> None:
    name = change.__name__
    server.push(write(tmp_path / "here", name), name, 1)
    change(mlflow_server, client, name)
    there = Registry(tmp_path / "there")
    with pytest.raises(InputError, match=message):
        server.pull(there, name)
    assert there.models() == []


def test_a_digest_that_was_asked_for_is_kept(tmp_path: Path, server: Server) -> None:
    here, there = write(tmp_path / "here", "pinned"), Registry(tmp_path / "there")
    server.push(here, "pinned", 1)
    with pytest.raises(InputError, match=r"must have the digest sha256:11 \(--digest\)"):
        server.pull(there, "pinned", expected="sha256:11")
    with pytest.raises(InputError, match="joblib"):
        server.pull(there, "pinned", trust=Trust(pickles=False))
    assert server.pull(there, "pinned", expected=digest(here.manifest("pinned", 1))).version == 1


def test_what_is_not_there_is_named(tmp_path: Path, server: Server, client: MlflowClient) -> None:
    there = Registry(tmp_path / "there")
    with pytest.raises(InputError, match="has no registered model nothing"):
        server.pull(there, "nothing")
    server.push(write(tmp_path / "here", "single"), "single", 1)
    with pytest.raises(InputError, match=r"must be one of 1; got 7"):
        server.pull(there, "single", version="7")
    with pytest.raises(InputError, match=r"version 9 of model single must be one of 1"):
        server.push(Registry(tmp_path / "here"), "single", 9)


def test_a_model_that_someone_else_pushed_is_not_one_of_ours(
    tmp_path: Path, server: Server, client: MlflowClient
) -> None:
    run = client.create_run(client.create_experiment("foreign"))
    client.log_text(run.info.run_id, "flavors: {}", "model/MLmodel")
    client.create_registered_model("foreign")
    client.create_model_version("foreign", f"{run.info.artifact_uri}/model", run.info.run_id)
    with pytest.raises(InputError, match="was not pushed by Tailrace: it has no folder tailrace"):
        server.pull(Registry(tmp_path), "foreign")


def test_a_server_that_does_not_answer_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(WorkError, match=r"the MLflow server http://127.0.0.1:\d+ did not do its part"):
        Server(f"http://user:hush@127.0.0.1:{free_port()}").push(write(tmp_path, "m"), "m", 1)


def test_the_commands_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_server: MlflowServer
) -> None:
    text = (PROJECT / "docs" / "models.md").read_text()
    block = re.search(r"^## MLflow\n.*?^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    write(tmp_path / "models", "flight_delay")
    monkeypatch.chdir(tmp_path)
    outputs = []
    for line in block.group(1).splitlines():
        command = shlex.split(line.replace("http://127.0.0.1:5000", mlflow_server.uri))
        result = runner.invoke(app, command[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        outputs.append(result.output)
    assert re.search(
        r"flight_delay version 1 is flight_delay version 1 on the server \(run \w+\)\n", outputs[0]
    )
    assert re.search(r"flight_delay version 2 is flight_delay of the server, sha256:\w+…\n", outputs[1])
