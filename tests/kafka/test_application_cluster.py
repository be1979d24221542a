"""An application cluster as on Kubernetes, of processes: the JobManager plans and submits the job itself.

The adversary is the machine of a TaskManager, which has nothing of the submitter's: lookups, model and job
file are gone before it starts, so that what workers need comes from the store of `runtime.artifacts`,
and a lookup from its own URI.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.kafka.records import read_topic
from flink_jobs.local.flink import SessionCluster, _flink_home
from flink_jobs.registry import Registry
from flink_jobs.run.cluster import Cluster
from flink_jobs.system.data import PROJECT
from flink_jobs.system.processes import ProcessId, free_port, spawn, wait_until
from flink_jobs.testing import Broker
from tests.helpers.registered import MODEL, write
from tests.helpers.s3 import bucket_uri, s3_server
from udfs.store.base import joined_uri

JOB = """\
job: application.cluster
kafka: {brokers: "BROKERS"}
source: {topic: application, schema: {a: double, town: string}}
features:
  lookups:
    towns: {file: towns.csv, by: town, select: {people: {column: people, type: double}}}
    rivers: {file: "RIVERS", by: town, select: {river: {column: river, type: string}}}
model: {name: fraud, registry: models, use: 1, inputs: {a: people}}
predictions: {include: [a, people, river]}
runtime: {delivery: at_least_once, latency: low, checkpoint: {interval: 1s}, artifacts: "STORE"}
"""


def written(settings: ClientSettings) -> list[bytes | None]:
    """The first prediction, once the JobManager has made the topic and a worker has written it."""
    try:
        return [each.value for each in read_topic(settings, "application.cluster.predictions", limit=1)]
    except InputError:
        return []


def said(log: Path) -> str:
    """What went wrong, without what Flink says of all that it starts and stops."""
    return "\n".join(line for line in log.read_text().splitlines() if " INFO " not in line)[-4000:]


@pytest.fixture
def store() -> Iterator[str]:
    with s3_server() as address:
        yield bucket_uri(address, "application")


def submitted(url: str) -> bool:
    try:
        return bool(Cluster(url).jobs())
    except (InputError, WorkError):
        return False


def test_a_jobmanager_runs_the_job_of_its_file(
    broker: Broker, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `tailrace k8s render` tells Flink to start, with the image's main.py; the topics are made, too."""
    monkeypatch.chdir(tmp_path)  # Python takes modules of the folder first that it is started in.
    write(Registry(tmp_path / "models"))
    (tmp_path / "towns.csv").write_text("town,people\nbonn,0.5\n")
    rivers = joined_uri(store, "rivers.csv")
    system, folder = fs.FileSystem.from_uri(store)
    with system.open_output_stream(f"{folder}/rivers.csv") as file:
        file.write(b"town,river\nbonn,rhine\n")
    text = JOB.replace("BROKERS", broker.bootstrap).replace("STORE", store).replace("RIVERS", rivers)
    (tmp_path / "job.yaml").write_text(text)
    settings = ClientSettings(broker.bootstrap)
    create_topics(settings, {"application": 1})
    produce(settings, "application", [Message(b'{"a": 3.0, "town": "bonn"}'), Message(b'{"a": "3"}')])
    cluster = SessionCluster(tmp_path / "cluster", free_port(), 1, "1700m")
    cluster._write_conf()
    log = tmp_path / "jobmanager.start"
    driver = [
        "--job-classname",
        "org.apache.flink.client.python.PythonDriver",
        "-pyclientexec",
        sys.executable,
    ]
    words = [*driver, "-py", str(PROJECT / "conf/docker/main.py"), str(tmp_path / "job.yaml")]
    script = ["bash", str(_flink_home() / "bin" / "standalone-job.sh"), "start-foreground", *words]
    jars = {name: value for name, value in os.environ.items() if name == "TAILRACE_JARS"}
    env = {**cluster._environment(), **jars, "PYTHONPATH": str(PROJECT)}
    manager = spawn(script, log, env=env, dies_with_parent=True)
    try:
        assert wait_until(lambda: manager.poll() is not None or submitted(cluster.url), 200, 0.5), said(log)
        for name in ("models", "towns.csv", "job.yaml"):
            (tmp_path / name).rename(tmp_path / f"{name}.gone")
        cluster.launch_one("taskmanager")

        assert wait_until(lambda: manager.poll() is not None or bool(written(settings)), 300, 1.0), said(log)
        assert manager.poll() is None, said(log)
        [value] = written(settings)
        made = json.loads(value or b"")
        assert (made["people"], made["river"]) == (0.5, "rhine")
        assert made["score"] == pytest.approx(MODEL.predict_proba([[0.5]])[0, 1], rel=1e-12)
        unpacked = {path.parent.name for path in (tmp_path / "cluster" / "tmp").rglob("*/udfs")}
        assert any(re.fullmatch("[0-9a-f]{64}", name) for name in unpacked), unpacked  # by who fetched it
    finally:
        cluster.stop()
        if manager.poll() is None:
            ProcessId.of(manager.pid).stop(5)
        manager.wait()
