"""What can happen to a running job: each fault is done to a `Stage`, and undone as far as a person would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.proof.stage import Stage

PAUSE_S, BROKER_GONE_S, TASKMANAGER_GONE_S, UNWRITABLE_S = 40.0, 60.0, 180.0, 15.0


@dataclass(frozen=True)
class Fault:
    """`runs` is how often the full form does it."""

    words: str
    happen: Callable[[Stage], None]
    runs: int


def _worker(stage: Stage) -> None:
    os.kill(stage.worker(), signal.SIGKILL)


def _taskmanager(stage: Stage, gone: float = 0) -> None:
    stage.kill("taskmanager")
    time.sleep(gone)
    stage.relaunch("taskmanager")


def _jobmanager(stage: Stage) -> None:
    """The cluster has no second one, so that the job is lost; it goes on from its newest checkpoint."""
    stage.kill("jobmanager")
    stage.relaunch("jobmanager")
    stage.cluster.wait()
    stage.submit(stage.newest_checkpoint())


def _broker(stage: Stage, gone: float = 0) -> None:
    stage.kill_broker()
    time.sleep(gone)
    stage.restart_broker()


def _client(stage: Stage) -> None:
    """Killed while it submits: the cluster has the job or not, and the one who asked looks."""
    savepoint = stage.stop()
    command = stage.submission(savepoint)
    try:
        command.wait(stage.draw.uniform(0, 15))
    except subprocess.TimeoutExpired:
        command.kill()
    command.communicate()
    if not stage.runs():
        stage.submit(savepoint)


def _stop(stage: Stage) -> None:
    stage.submit(stage.stop())


def _rescale(stage: Stage) -> None:
    savepoint = stage.stop()
    stage.parallelism = stage.draw.choice([each for each in (1, 2, 4) if each != stage.parallelism])
    stage.submit(savepoint)


def _pause(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def _pause_broker(stage: Stage) -> None:
    process = stage.broker.process
    assert process is not None
    _pause(process.pid, PAUSE_S)


def _partition(stage: Stage) -> None:
    stage.add_partition()


def _unwritable(stage: Stage) -> None:
    """A file in the place of the folder: root may write into any folder."""
    away = stage.checkpoints.with_name("away")
    stage.checkpoints.rename(away)
    stage.checkpoints.touch()
    time.sleep(UNWRITABLE_S)
    stage.checkpoints.unlink()
    away.rename(stage.checkpoints)


FAULTS = {
    "worker": Fault("a Python worker is killed", _worker, 20),
    "taskmanager": Fault("the TaskManager is killed with its workers", _taskmanager, 15),
    "jobmanager": Fault("the JobManager is killed; resumed from the newest checkpoint", _jobmanager, 10),
    "broker": Fault("the broker is killed, and comes back with its data", _broker, 15),
    "client": Fault("stopped; the client is killed while it resumes", _client, 8),
    "stop": Fault("stopped with a savepoint, and resumed", _stop, 10),
    "rescale": Fault("the same with 1, 2 or 4 workers", _rescale, 8),
    "unwritable": Fault(f"checkpoints cannot be written for {UNWRITABLE_S:.0f} s", _unwritable, 5),
    "paused-worker": Fault(
        f"a worker stands still for {PAUSE_S:.0f} s", lambda stage: _pause(stage.worker(), PAUSE_S), 3
    ),
    "paused-taskmanager": Fault(
        f"the TaskManager stands still for {PAUSE_S:.0f} s",
        lambda stage: _pause(stage.processes["taskmanager"].pid, PAUSE_S),
        3,
    ),
    "paused-jobmanager": Fault(
        f"the JobManager stands still for {PAUSE_S:.0f} s",
        lambda stage: _pause(stage.processes["jobmanager"].pid, PAUSE_S),
        2,
    ),
    "paused-broker": Fault(f"the broker stands still for {PAUSE_S:.0f} s", _pause_broker, 3),
    "broker-gone": Fault(
        f"the broker is away for {BROKER_GONE_S:.0f} s", lambda stage: _broker(stage, BROKER_GONE_S), 3
    ),
    "taskmanager-gone": Fault(
        f"the TaskManager is away for {TASKMANAGER_GONE_S:.0f} s",
        lambda stage: _taskmanager(stage, TASKMANAGER_GONE_S),
        2,
    ),
    "partitions-added": Fault("the source gets another partition", _partition, 2),
}
