"""An application cluster as on Kubernetes, of processes: the JobManager plans and submits the job itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce
from flink_jobs.kafka.records import read_topic
from flink_jobs.local.flink import SessionCluster, _flink_home
from flink_jobs.registry import Registry
from flink_jobs.system.data import PROJECT
from flink_jobs.system.processes import ProcessId, free_port, spawn, wait_until
from flink_jobs.testing import Broker
from tests.helpers.registered import write

JOB = """\
job: application.cluster
kafka: {brokers: "BROKERS"}
source: {topic: application, schema: {a: double, town: string}}
features: {lookups: {towns: {file: towns.csv, by: town, select: {people: {column: people, type: double}}}}}
model: {name: fraud, registry: models}
predictions: {include: [a, people]}
runtime: {delivery: at_least_once, latency: low, checkpoint: {interval: 1s}, artifacts: flink}
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


def test_a_jobmanager_runs_the_job_of_its_file(broker: Broker, tmp_path: Path) -> None:
    """What `tailrace k8s render` tells Flink to start, with the image's main.py; the topics are made, too."""
    registry = Registry(tmp_path / "models")
    registry.promote("fraud", write(registry).version)
    (tmp_path / "towns.csv").write_text("town,people\nbonn,330\n")
    (tmp_path / "job.yaml").write_text(JOB.replace("BROKERS", broker.bootstrap))
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
        cluster.launch_one("taskmanager")

        assert wait_until(lambda: manager.poll() is not None or bool(written(settings)), 300, 1.0), said(log)
        assert manager.poll() is None, said(log)
        [value] = written(settings)
        assert json.loads(value or b"")["people"] == 330
    finally:
        cluster.stop()
        if manager.poll() is None:
            ProcessId.of(manager.pid).stop(5)
        manager.wait()
