"""A broker, a Flink cluster and one job on it, with numbered records coming in steadily.

All of it is started here, as processes of their own; what people do is done by the `tailrace` command.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, Message, Record, create_topics, end_offsets, read_topic
from flink_jobs.kafka.admin import connect
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.system.processes import ProcessId, free_port, wait_until
from tests.bench.usage import descendants
from tests.helpers import models
from tests.proof.ledger import (
    DRIFT_MS,
    OUT_OF_ORDER_MS,
    OVER_MS,
    PARTITIONS,
    Place,
    Sent,
    flush,
    message,
    stream,
)

RATE = 400
# After so long a partition that was added has to be read like the others.
FOUND_S = 60
JOB = f"""
job: proof
kafka: {{brokers: "BROKERS"}}
source:
  topic: proof
  event_time: {{out_of_order: {OUT_OF_ORDER_MS}ms}}
  schema:
    id: {{type: long, required: true}}
    card: {{type: string, required: true}}
    amount: {{type: double, required: true}}
features:
  windows: {{minute: {{by: card, over: {OVER_MS}ms, select: {{seen: count(*), spent: sum(amount)}}}}}}
model: {{name: sums, registry: models, inputs: {{n: spent}}}}
predictions: {{include: [seen, spent]}}
drift: {{window: {DRIFT_MS}ms, idle: 30m}}
runtime:
  parallelism: 2
  checkpoint: {{interval: 1s}}
  flink:
    restart-strategy.exponential-delay.max-backoff: 2 s
"""
OUTCOMES = {"predicted": "proof.predictions", "dead": "proof.dead-letters", "late": "proof.late"}
_DRIFT = "proof.drift"
_PATIENCE = 300.0


class Feeder(threading.Thread):
    """Sends the stream at a steady rate, whatever becomes of the broker; `sent` is what it sent."""

    def __init__(self, brokers: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 0,
            }
        )
        self.partitions = PARTITIONS
        self._rows = stream(seed)
        self._end = threading.Event()
        self._refused: list[KafkaError] = []
        self.sent: list[Sent] = []

    def run(self) -> None:
        begun = time.monotonic()
        while not self._end.wait(0.05):
            due = int((time.monotonic() - begun) * RATE)
            while len(self.sent) < due:
                row = next(self._rows)
                self._send(message(row, self.partitions))
                self.sent.append(row)

    def finish(self) -> None:
        """Ends the stream, and moves each partition past it. Raises WorkError where a record was refused."""
        self._end.set()
        self.join()
        for each in flush(len(self.sent), self.partitions):
            self._send(each)
        left = self._producer.flush(_PATIENCE)
        if left or self._refused:
            raise WorkError(
                f"{left} records were not sent, {len(self._refused)} refused: {self._refused[:1]}"
            )

    def _send(self, row: Message) -> None:
        self._producer.produce(
            "proof",
            row.value,
            row.key,
            -1 if row.partition is None else row.partition,
            on_delivery=self._delivered,
            timestamp=row.timestamp or 0,
        )
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._refused.append(error)


class Outcomes:
    """Counts what a read_committed reader sees, as it comes."""

    def __init__(self, settings: ClientSettings) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.brokers,
                "group.id": "proof-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        parts = [(topic, number) for topic in OUTCOMES.values() for number in end_offsets(settings, topic)]
        self._consumer.assign([TopicPartition(topic, number, 0) for topic, number in parts])
        self._count = 0

    def count(self) -> int:
        """How many came until now."""
        while got := self._consumer.consume(5_000, timeout=0.5):
            self._count += sum(1 for each in got if each.error() is None)
        return self._count

    def close(self) -> None:
        self._consumer.close()


class Accounts(NamedTuple):
    """What was sent, what the source has, what became of it by outcome, and the drift records.

    `unsettled` are places of which more than one outcome is right.
    """

    sent: Sequence[Sent]
    source: Sequence[Record]
    outputs: Mapping[str, Sequence[Record]]
    drift: Sequence[Record]
    unsettled: Collection[Place]


class Stage:
    """A context manager; all that it has started ends with it."""

    def __init__(self, directory: Path, seed: int, draw: random.Random) -> None:
        self.directory, self.draw = directory, draw
        self.broker = Broker(directory=directory / "kafka")
        self.cluster = SessionCluster(directory / "flink", free_port(), 4, "2500m")
        self.checkpoints = directory / "flink" / "checkpoints"
        self.processes: dict[str, ProcessId] = {}
        self.parallelism = 2
        self._added: list[range] = []
        self._seed = seed
        self._rest = Cluster(self.cluster.url)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "outcomes"):
            self.outcomes.close()
        self.cluster.stop()
        self.broker.stop(0)

    def _start(self) -> None:
        self.broker.start()
        self.settings = ClientSettings(self.broker.bootstrap)
        create_topics(self.settings, {"proof": PARTITIONS})
        self.processes = {service: process for service, process, _ in self.cluster.launch()}
        self.cluster.wait()
        inputs, outputs = pa.table({"n": [1.0, 2.0, 3.0]}), pa.table({"prediction": [2.0, 4.0, 6.0]})
        models.write(
            self.directory / "models",
            "sums",
            LinearRegression(),
            inputs,
            [2.0, 4.0, 6.0],
            "regression",
            profiled=outputs,
        )
        self.submit()
        self.outcomes = Outcomes(self.settings)
        self.feeder = Feeder(self.broker.bootstrap, self._seed)
        self.feeder.start()

    # What people do

    def submit(self, savepoint: str | None = None) -> None:
        """Returns when all tasks run."""
        self._done(self.submission(savepoint))

    def submission(self, savepoint: str | None = None) -> subprocess.Popen[str]:
        """The command that submits the job, under way."""
        file = self.directory / "proof.yaml"
        text = JOB.replace("BROKERS", self.broker.bootstrap)
        file.write_text(text.replace("parallelism: 2", f"parallelism: {self.parallelism}"))
        return self._tailrace("submit", str(file), *(("--savepoint", savepoint) if savepoint else ()))

    def stop(self) -> str:
        """Stops the job with a savepoint, and gives the savepoint."""
        savepoints = self.directory / "savepoints"
        return self._done(self._tailrace("stop", "proof", "--savepoint", str(savepoints))).split()[-1]

    def newest_checkpoint(self) -> str:
        """Of all complete ones that the cluster keeps, by any job."""
        found = self.checkpoints.glob("*/chk-*/_metadata")
        return str(max(found, key=lambda path: path.stat().st_mtime).parent)

    def runs(self) -> bool:
        """Whether the cluster has the job, and it has not ended."""
        return any(job.state not in ENDED for job in self._rest.jobs())

    def _tailrace(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("tailrace")), *arguments, "--cluster", self.cluster.url]
        environ = os.environ | {"TAILRACE_CLUSTER": self.cluster.url}
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,
        )

    def _done(self, command: subprocess.Popen[str]) -> str:
        out, errors = command.communicate(timeout=_PATIENCE)
        if command.returncode:
            raise WorkError(f"{command.args!r} failed:\n{errors}")
        return out

    # What happens to processes

    def worker(self) -> int:
        """The process id of a Python worker, as soon as there is one."""
        found: list[int] = []

        def looked() -> bool:
            found[:] = [pid for pid in descendants(self.processes["taskmanager"].pid) if _is_worker(pid)]
            return bool(found)

        if not wait_until(looked, _PATIENCE, 0.2):
            raise WorkError("no Python worker came up")
        return self.draw.choice(found)

    def kill(self, service: str) -> None:
        """Kills the jobmanager or the taskmanager, and returns when it is gone."""
        process = self.processes[service]
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not process.alive(), 20)

    def relaunch(self, service: str) -> None:
        self.processes[service], _ = self.cluster.launch_one(service)

    def kill_broker(self) -> None:
        process = self.broker.process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not process.alive(), 20)

    def restart_broker(self) -> None:
        """With the data that it had."""
        self.broker.launch()
        self.broker.wait()

    # What happens to topics

    def add_partition(self) -> None:
        """To the source, which gets records at once; the job may read it a while later than the others."""
        partitions = self.feeder.partitions + 1
        admin = connect(self.settings)  # kept, or nobody answers
        admin.create_partitions([NewPartitions("proof", partitions)])["proof"].result()
        time.sleep(2)  # until the producer knows, too
        sent = len(self.feeder.sent)
        self._added.append(range(sent, sent + FOUND_S * RATE))
        self.feeder.partitions = partitions

    # What became of the records

    def recovered(self) -> bool:
        """Whether all that has been sent until now gets its outcome in time."""
        sent = len(self.feeder.sent)
        return wait_until(lambda: self.outcomes.count() >= sent, _PATIENCE, 0.2)

    def end(self) -> Accounts:
        """What there is to audit, when all has had its time."""
        self.feeder.finish()
        windows = len({each.time // DRIFT_MS for each in self.feeder.sent if each.outcome == "predicted"})
        if self.recovered() and wait_until(lambda: len(self._read(_DRIFT)) >= windows, _PATIENCE, 2):
            time.sleep(5)  # doubled records would still come
        outputs = {each: self._read(topic) for each, topic in OUTCOMES.items()}
        source = self._read("proof")
        return Accounts(self.feeder.sent, source, outputs, self._read(_DRIFT), [*self._young(source)])

    def _young(self, source: Sequence[Record]) -> Iterator[Place]:
        """Where records of partitions are that were just added."""
        for each in source:
            if each.partition >= PARTITIONS and any(int(each.key or b"") in span for span in self._added):
                yield each.partition, each.offset

    def _read(self, topic: str) -> list[Record]:
        return list(read_topic(self.settings, topic))


def left_behind(directory: Path) -> list[str]:
    """The processes that still run with this directory in their command line."""
    return [command for command in _commands() if str(directory) in command]


def _commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"pyflink.fn_execution" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
