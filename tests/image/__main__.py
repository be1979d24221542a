"""Runs jobs in an image as its own user, and checks all that they write.

python -m tests.image CONTAINER      # one that buildah has made of the image

The adversary is what the image lacks: a library of the system, a module that was trimmed away, a right, a
folder that may be written. A model with a window and drift runs by `tailrace run`, and on an application
cluster whose JobManager and TaskManager are those of the image. What has to come out is worked out here, by
NumPy and the model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from flink_jobs.errors import InputError
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce, read_topic
from flink_jobs.local.flink import SessionCluster
from flink_jobs.registry import Registry
from flink_jobs.system.processes import free_port, spawn, wait_until
from flink_jobs.testing import Broker
from tests.helpers.registered import MODEL, write
from udfs.profile.profile import reference_profile

RECORDS = 20_000
BROKEN = 100  # each so many
SETTLED = RECORDS - 120  # Those after it may wait for the watermark.
WINDOW = 3600
JOB = """\
job: NAME
kafka: {brokers: "BROKERS"}
source:
  topic: image
  schema: {id: {type: long, required: true}, town: string, a: double, at: long}
  event_time: {field: at, unit: s, out_of_order: 1m}
  start: earliest
features: {windows: {town_1h: {by: town, over: 1h, select: {seen: count(*)}}}}
model: {name: fraud, registry: models, use: 1}
predictions: {include: [id, seen]}
drift: {window: 10m}
runtime: {checkpoint: {interval: 2s}}
"""
PYTHON = "/opt/venv/bin/python"
MANAGER = "bash /opt/flink/bin/standalone-job.sh start-foreground"
DRIVER = f"--job-classname org.apache.flink.client.python.PythonDriver -pyclientexec {PYTHON}"

Predictions = dict[int, tuple[int, float]]  # the window's count and the score, by id


def main() -> None:
    [container] = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, Broker() as broker:
        folder = Path(name)
        folder.chmod(0o777)
        settings = ClientSettings(broker.bootstrap)
        right = _send(settings)
        write(Registry(folder / "models"), profile=reference_profile(pa.table({"a": _values()})))
        for job in ("image.run", "image.application"):
            text = JOB.replace("NAME", job).replace("BROKERS", broker.bootstrap)
            (folder / f"{job}.yaml").write_text(text)
        _try_run(container, folder, settings, right)
        _try_application(container, folder, settings, right)


def _values() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(7).normal(size=RECORDS)


def _send(settings: ClientSettings) -> Predictions:
    """Records a second apart, one in a hundred broken; the count and the score of each good one."""
    create_topics(settings, {"image": 2})
    values, ids = _values(), np.arange(RECORDS)
    good = ids % BROKEN != 0
    rows = [
        {
            "id": int(n) if good[n] else "?",
            "town": f"town {n % 7}",
            "a": values[n],
            "at": 1_700_000_000 + int(n),
        }
        for n in ids
    ]
    produce(settings, "image", [Message(json.dumps(row).encode()) for row in rows])
    scores = MODEL.predict_proba(values[:, None])[:, 1]
    seen = [
        np.sum(good[max(0, n - WINDOW) : n + 1] & (ids[max(0, n - WINDOW) : n + 1] % 7 == n % 7)) for n in ids
    ]
    return {int(n): (int(seen[n]), float(scores[n])) for n in ids[good] if n < SETTLED}


def _try_run(container: str, folder: Path, settings: ClientSettings, right: Predictions) -> None:
    started = time.monotonic()
    command = ["tailrace", "run", str(folder / "image.run.yaml"), "--bounded", "--no-progress"]
    subprocess.run(_inside(container, folder, command), check=True)
    _check("tailrace run", settings, "image.run", right, started)


def _try_application(container: str, folder: Path, settings: ClientSettings, right: Predictions) -> None:
    started = time.monotonic()
    with _application(container, folder):
        done = wait_until(lambda: len(_written(settings, "image.application")) >= len(right), 600, 2.0)
        if not done:
            raise SystemExit((folder / "cluster" / "jobmanager.start").read_text()[-4000:])
        _check("an application cluster", settings, "image.application", right, started)


@contextmanager
def _application(container: str, folder: Path) -> Iterator[None]:
    """A JobManager and a TaskManager of the image, which share a folder and this machine's loopback."""
    cluster = SessionCluster(folder / "cluster", free_port(), 1, "1700m")
    cluster._write_conf()
    config = folder / "cluster" / "conf" / "config.yaml"
    python = {"python.executable": PYTHON, "python.client.executable": PYTHON}
    YAML(typ="safe").dump(YAML(typ="safe").load(config) | python, config)
    for path in (folder / "cluster").rglob("*"):
        path.chmod(0o777)
    job = f"-py /opt/tailrace/main.py {folder / 'image.application.yaml'}"
    commands = {
        "jobmanager": [*MANAGER.split(), *DRIVER.split(), *job.split()],
        "taskmanager": ["bash", "/opt/flink/bin/taskmanager.sh", "start-foreground"],
    }
    environment = {
        f"FLINK_{name}_DIR": str(folder / "cluster" / name.lower()) for name in ("CONF", "LOG", "PID")
    }
    started = [
        spawn(
            _inside(container, folder, command, environment),
            folder / "cluster" / f"{name}.start",
            dies_with_parent=True,
        )
        for name, command in commands.items()
    ]
    try:
        yield
    finally:
        for process in started:
            for pid in reversed([process.pid, *_descendants(process.pid)]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(60)


def _descendants(pid: int) -> list[int]:
    """Buildah starts what runs in a container in a session of its own."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(child) for thread in threads for child in thread.read_text().split()]
    return [*found, *(each for child in found for each in _descendants(child))]


def _inside(
    container: str,
    folder: Path,
    command: Sequence[str],
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    user = "--user 9999:9999 --hostname localhost"
    buildah = f"buildah run --isolation chroot {user} --volume {folder}:{folder}".split()
    options = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    return [*buildah, *options, container, "--", "/docker-entrypoint.sh", *command]


def _written(settings: ClientSettings, job: str) -> list[dict[str, Any]]:
    """The settled predictions so far, none while there is no topic."""
    try:
        rows = [json.loads(each.value or b"") for each in read_topic(settings, f"{job}.predictions")]
    except InputError:
        return []
    return [row for row in rows if row["id"] < SETTLED]


def _check(where: str, settings: ClientSettings, job: str, right: Predictions, started: float) -> None:
    """Each good record has its one prediction, each broken one is a dead letter."""
    found = _written(settings, job)
    dead = sum(1 for _ in read_topic(settings, f"{job}.dead-letters"))
    wrong = [
        row
        for row in found
        if row["seen"] != right[row["id"]][0] or abs(row["score"] - right[row["id"]][1]) > 1e-12
    ]
    if sorted(row["id"] for row in found) != sorted(right) or dead != RECORDS // BROKEN or wrong:
        raise SystemExit(
            f"{where}: {len(found)} of {len(right)}, {dead} dead, {len(wrong)} wrong: {wrong[:3]}"
        )
    seconds = round(time.monotonic() - started)
    print(f"{where}: {len(found)} predictions and {dead} dead letters, all right; {seconds} s")


if __name__ == "__main__":
    main()
