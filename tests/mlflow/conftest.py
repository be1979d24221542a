"""A real MLflow server on a SQLite store, started from its own package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from flink_jobs.system.jars import PROJECT
from flink_jobs.system.processes import ProcessId, free_port, spawn, tail, wait_until

COMMAND = PROJECT / ".venv-mlflow" / "bin" / "mlflow"


@dataclass(frozen=True)
class MlflowServer:
    """Where it listens, and the folder in which it keeps the files of models."""

    uri: str
    artifacts: Path


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    assert COMMAND.exists(), "MLflow's server is not there: run scripts/mlflow_env"
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    server = MlflowServer(f"http://127.0.0.1:{port}", folder / "artifacts")
    log = folder / "server.log"
    command = [
        *(str(COMMAND), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *(
            "--backend-store-uri",
            f"sqlite:///{folder}/store.db",
            "--artifacts-destination",
            str(server.artifacts),
        ),
    ]
    process = spawn(command, log, env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    try:
        assert wait_until(lambda: _answers(server.uri), 180, 0.2), tail(log)
        yield server
    finally:
        ProcessId.of(process.pid).stop()
        process.wait()


def _answers(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=5).ok
    except requests.ConnectionError:
        return False
