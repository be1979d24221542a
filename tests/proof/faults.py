"""What can happen to a running job: each fault is done to a `Stage`, and undone as far as a person would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flink_jobs.errors import WorkError
from tests.proof.ledger import Sent
from tests.proof.stage import WOKEN_S, Stage, answer

PAUSE_S, BROKER_GONE_S, TASKMANAGER_GONE_S, UNWRITABLE_S = 40.0, 60.0, 180.0, 15.0
SHORT_S = 20.0
DAY_MS = 86_400_000
# Brokers look every 10 s for transactions that are too old.
TRANSACTION_S, ABORTED_S = 20, 45.0


@dataclass(frozen=True)
class Fault:
    """`runs` is how often the full form does it.

    `edits` are what the job file has to be else; of what is `accounted` the product's own accounts have to
    say what has become of records without an outcome. `begins` is called before the job does.
    """

    words: str
    happen: Callable[[Stage], None]
    runs: int
    edits: Sequence[tuple[str, str]] = ()
    accounted: bool = False
    begins: Callable[[Stage], None] | None = None


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


class CannotTryError(Exception):
    """This machine cannot bring the fault about."""


@contextmanager
def _mounted(stage: Stage, *command: str) -> Iterator[Path]:
    """The job goes on with its checkpoints in a file system of their own, and then without it."""
    savepoint = stage.stop()
    mounted = subprocess.run(["mount", *command, str(stage.checkpoints)], capture_output=True, text=True)
    if mounted.returncode:
        raise CannotTryError(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        stage.submit(savepoint)
        yield stage.checkpoints
        stage.recovered()
        savepoint = stage.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(stage.checkpoints)], check=True)
    stage.submit(savepoint)


def _full(stage: Stage) -> None:
    with _mounted(stage, "-t", "tmpfs", "-o", "size=16m", "none") as folder:
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 65_536):
                    pass
            except OSError:
                time.sleep(SHORT_S)
        filler.unlink()


def _slow(stage: Stage) -> None:
    """All who write a checkpoint wait, as for a store that does not answer."""
    image = stage.directory / "image"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with _mounted(stage, "-o", "loop", str(image)) as folder:
        subprocess.run(["fsfreeze", "--freeze", str(folder)], check=True)
        try:
            time.sleep(SHORT_S)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=True)


def _uncommitted(stage: Stage) -> None:
    """Killed when a checkpoint is written, before its transactions are committed."""
    stage.await_checkpoint()
    stage.kill("taskmanager")


def _open_transactions(stage: Stage) -> None:
    _uncommitted(stage)
    stage.relaunch("taskmanager")


def _timed_out(stage: Stage) -> None:
    """The brokers end the transactions of a checkpoint before the job comes back."""
    _uncommitted(stage)
    time.sleep(2)  # for the checkpoint's last word
    stage.kill("jobmanager")
    time.sleep(ABORTED_S)
    for service in ("jobmanager", "taskmanager"):
        stage.relaunch(service)
    stage.cluster.wait()
    stage.resume()
    if "transactions_may_have_ended" not in stage.said:
        raise WorkError(f"resume did not say that transactions may have ended:\n{stage.said}")
    stage.give_up()


def _retention(stage: Stage) -> None:
    savepoint = stage.stop()
    time.sleep(stage.draw.uniform(2, 8))
    stage.delete_records()
    stage.submit(savepoint)
    if "records_gone" not in stage.said:
        raise WorkError(f"submit did not say that records are gone:\n{stage.said}")
    stage.give_up()


def _too_large(stage: Stage) -> None:
    """The topic of dead letters takes less than the job was started with, and gets more.

    The job fails again and again meanwhile. Where a worker has a batch at that moment, PyFlink may end the
    TaskManager ("Reference count must not be negative").
    """
    stage.watched = True
    stage.limit("dead", max_message_bytes="20000")
    stage.feeder.change = _padded
    time.sleep(SHORT_S)
    _refused(stage, "max.message.bytes of proof.dead-letters must be at least")
    stage.limit("dead", max_message_bytes=str(4 << 20))
    stage.feeder.change = _as_it_is


def _refused(stage: Stage, words: str) -> None:
    """A submission of the job, now, for this reason."""
    command = stage.submission()
    _, said = answer(command)
    if command.returncode != 2 or words not in said:
        raise WorkError(f"a submission was not refused, with {words!r}, but {command.returncode}: {said}")


def _padded(row: Sent) -> Sent:
    return row._replace(padding=40_000) if row.outcome == "dead" else row


def _as_it_is(row: Sent) -> Sent:
    return row


def _replicas(stage: Stage) -> None:
    """The brokers are fewer than a topic asks for."""
    for outcome in ("predicted", "dead", "late"):
        stage.limit(outcome, min_insync_replicas="2")
    time.sleep(SHORT_S)
    for outcome in ("predicted", "dead", "late"):
        stage.limit(outcome, min_insync_replicas="1")


def _codecs(stage: Stage) -> None:
    stage.feeder.compress("gzip", "snappy", "lz4", "zstd")
    time.sleep(SHORT_S)


def _clock(stage: Stage) -> None:
    """A producer's clock is a day ahead, then a day behind; that of Kafka timestamps is right."""
    for ahead, outcome in ((DAY_MS, "dead"), (-DAY_MS, "late")):
        stage.feeder.change = lambda row, ahead=ahead, outcome=outcome: (  # type: ignore[misc]
            row._replace(ahead=ahead, outcome=outcome)
            if row.outcome == "predicted" and row.number % 3 == 0
            else row
        )
        time.sleep(SHORT_S / 2)
    stage.feeder.change = _as_it_is


def _fed_first(stage: Stage) -> None:
    stage.fed_first = True


def _silent(stage: Stage) -> None:
    """For more than an hour of event time; the others are not held up for longer than the job says.

    Until its first record comes nothing waits for it, so that the first ones may be late.
    """
    every = stage.feeder.partitions
    stage.feeder.partitions = every[:-1]
    time.sleep(SHORT_S)
    if not stage.recovered():
        raise WorkError("a silent partition holds the others up")
    stage.unsettle(every[-1], WOKEN_S)
    stage.feeder.partitions = every


def _take_over(stage: Stage) -> None:
    """By somebody who does not know that the job runs, and then knows it."""
    _refused(stage, "already runs")
    stage.submit(None, "--take-over")


def _old(stage: Stage) -> None:
    """The job begins as one of the Tailrace of `TAILRACE_OLD`, a checkout."""
    if not (folder := os.environ.get("TAILRACE_OLD")):
        raise CannotTryError("TAILRACE_OLD must be a checkout of the Tailrace that the job begins with")
    stage.code = Path(folder)


def _upgrade(stage: Stage) -> None:
    """With the processes of the cluster, whose workers would import the old code."""
    savepoint = stage.stop()
    stage.code = None
    for service in ("jobmanager", "taskmanager"):
        stage.kill(service)
        stage.relaunch(service)
    stage.cluster.wait()
    stage.submit(savepoint)


# Reports of drift are lost with the other outputs of a transaction, and no account names them.
_NO_DRIFT = ("drift: {", "# drift: {")
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
    "full": Fault(f"the disk of checkpoints is full for {SHORT_S:.0f} s", _full, 3),
    "slow": Fault(f"the disk of checkpoints stands still for {SHORT_S:.0f} s", _slow, 3),
    "uncommitted": Fault(
        "the TaskManager is killed between a checkpoint and the commit of its transactions",
        _open_transactions,
        3,
    ),
    "transactions": Fault(
        f"the same and the JobManager, until the transactions have timed out ({TRANSACTION_S} s)",
        _timed_out,
        3,
        [
            ("{brokers:", f"{{properties: {{transaction.timeout.ms: '{TRANSACTION_S * 1_000}'}}, brokers:"),
            _NO_DRIFT,
        ],
        accounted=True,
    ),
    "retention": Fault(
        "the source deletes records that a stopped job has not read", _retention, 3, accounted=True
    ),
    "too-large": Fault(f"dead letters are too large for their topic for {SHORT_S:.0f} s", _too_large, 3),
    "replicas": Fault(f"fewer replicas are in sync than outputs ask for, for {SHORT_S:.0f} s", _replicas, 3),
    "codecs": Fault("producers with gzip, snappy, lz4 and zstd take turns", _codecs, 3),
    "clock": Fault(
        "the clock of a third of the records is a day ahead, then a day behind",
        _clock,
        3,
        [
            ("event_time: {", "event_time: {field: at, unit: ms, max_ahead: 1h, "),
            ("    id: {", "    at: {type: long, required: true}\n    id: {"),
        ],
    ),
    "silent": Fault(
        "a partition is silent for two hours of event time, with `idle: 5s`",
        _silent,
        3,
        [("event_time: {", "event_time: {idle: 5s, ")],
        begins=_fed_first,
    ),
    "take-over": Fault("a second job of its name is refused, then takes it over", _take_over, 3),
    "upgrade": Fault(
        "stopped with a savepoint, and resumed by the Tailrace of now", _upgrade, 1, begins=_old
    ),
}
