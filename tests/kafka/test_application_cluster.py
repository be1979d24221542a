"""An application cluster as on Kubernetes, of processes: the JobManager plans and submits the job itself.

The adversaries are the machine of a TaskManager, which has nothing of the submitter's: lookups, model and job
file are gone before it starts, so that what workers need comes from the store of `runtime.artifacts`,
and a lookup from its own URI; a second cluster with the same job; and a JobManager that dies, whose successor
must not take its own job for that of another. ZooKeeper, of Flink's own jar, is in Kubernetes' place.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
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
from flink_jobs.system.processes import ProcessId, find_java, free_port, spawn, wait_until
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
runtime: {latency: low, checkpoint: {interval: 4s}, artifacts: "STORE"}
"""


def written(settings: ClientSettings) -> list[bytes]:
    """Committed predictions, once the JobManager has made the topic and a worker has written them."""
    try:
        return [each.value or b"" for each in read_topic(settings, "application.cluster.predictions")]
    except InputError:
        return []


def said(folder: Path) -> str:
    """What went wrong, without what Flink says of all that it starts and stops."""
    return "\n".join(line for line in logged(folder).splitlines() if " INFO " not in line)[-4000:]


def logged(folder: Path) -> str:
    """All that a JobManager and its Python process said."""
    logs = [folder / "jobmanager.start", *sorted((folder / "log").glob("*standalonejob*"))]
    return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())


@pytest.fixture
def store() -> Iterator[str]:
    with s3_server() as address:
        yield bucket_uri(address, "application")


@pytest.fixture
def leaders(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The options of a cluster whose JobManagers succeed each other."""
    port = free_port()
    jars = os.pathsep.join(map(str, (_flink_home() / "lib").glob("*.jar")))
    main = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
    java = [find_java(), "-Xmx64m", "-XX:+UseSerialGC", "-Dzookeeper.admin.enableServer=false"]
    command = [*java, "-cp", jars, main, str(port), str(tmp_path / "zookeeper")]
    server = spawn(command, tmp_path / "zookeeper.log", dies_with_parent=True)
    try:
        yield {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{port}",
            "high-availability.zookeeper.client.session-timeout": "6 s",  # after which a dead leader is none
            "high-availability.cluster-id": "/application",
            "high-availability.storageDir": (tmp_path / "leaders").as_uri(),
        }
    finally:
        server.kill()
        server.wait()


class Application:
    """One cluster of `job.yaml` beside its folder."""

    def __init__(self, folder: Path, options: Mapping[str, str]) -> None:
        self.cluster = SessionCluster(folder, free_port(), 1, "1700m")
        self.cluster._write_conf()
        with (folder / "conf" / "config.yaml").open("a") as conf:
            conf.writelines(f"{key}: {json.dumps(value)}\n" for key, value in options.items())
        self.folder = folder
        self._job = folder.parent / "job.yaml"
        self.manager = self.started()

    def started(self) -> subprocess.Popen[bytes]:
        """Its JobManager: what `tailrace k8s render` tells Flink to start, with the image's main.py."""
        driver = ["--job-classname", "org.apache.flink.client.python.PythonDriver"]
        words = [*driver, "-pyclientexec", sys.executable, "-py", str(PROJECT / "conf/docker/main.py")]
        script = ["bash", str(_flink_home() / "bin" / "standalone-job.sh"), "start-foreground"]
        jars = {name: value for name, value in os.environ.items() if name == "TAILRACE_JARS"}
        env = {**self.cluster._environment(), **jars, "PYTHONPATH": str(PROJECT)}
        return spawn(
            [*script, *words, str(self._job)],
            self.folder / "jobmanager.start",
            env=env,
            dies_with_parent=True,
        )

    def restart(self) -> None:
        """As a machine that is lost, with nothing said to anybody."""
        os.killpg(self.manager.pid, signal.SIGKILL)
        self.manager.wait()
        self.manager = self.started()

    def job(self) -> str | None:
        try:
            return next((each.id for each in Cluster(self.cluster.url).jobs()), None)
        except (InputError, WorkError):
            return None

    def wait_for(self, found: Callable[[], object], seconds: float) -> None:
        """Until it is there, while the JobManager lives."""
        assert wait_until(lambda: self.manager.poll() is not None or bool(found()), seconds, 0.5), said(
            self.folder
        )
        assert self.manager.poll() is None, said(self.folder)

    def end(self) -> None:
        self.cluster.stop()
        if self.manager.poll() is None:
            ProcessId.of(self.manager.pid).stop(5)
        self.manager.wait()


def test_a_jobmanager_runs_the_job_of_its_file_alone_and_again(
    broker: Broker, store: str, leaders: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topics are made, too."""
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
    started = [first := Application(tmp_path / "cluster", leaders)]
    try:
        first.wait_for(first.job, 200)
        for name in ("models", "towns.csv"):
            (tmp_path / name).rename(tmp_path / f"{name}.gone")
        (tmp_path / "job.yaml").rename(tmp_path / "job.yaml.gone")
        first.cluster.launch_one("taskmanager")
        first.wait_for(lambda: written(settings), 300)
        made = json.loads(written(settings)[0])
        assert (made["people"], made["river"]) == (0.5, "rhine")
        assert made["score"] == pytest.approx(MODEL.predict_proba([[0.5]])[0, 1], rel=1e-12)
        unpacked = {path.parent.name for path in (tmp_path / "cluster" / "tmp").rglob("*/udfs")}
        assert any(re.fullmatch("[0-9a-f]{64}", name) for name in unpacked), unpacked  # by who fetched it

        for name in ("models", "towns.csv", "job.yaml"):
            (tmp_path / f"{name}.gone").rename(tmp_path / name)
        started.append(second := Application(tmp_path / "second", {}))
        assert wait_until(lambda: second.manager.poll() is not None, 120, 0.5), said(second.folder)
        assert "a job application.cluster runs elsewhere" in logged(second.folder)

        job = first.job()
        first.restart()
        produce(settings, "application", [Message(b'{"a": 4.0, "town": "bonn"}')])
        first.wait_for(lambda: len(written(settings)) == 2, 200)
        assert first.job() == job
        assert [json.loads(each)["a"] for each in written(settings)] == [3.0, 4.0]
        assert "asking_elsewhere" not in logged(first.folder)
    finally:
        for each in reversed(started):
            each.end()
