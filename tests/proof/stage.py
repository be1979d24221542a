"""A broker, a Flink cluster and one job on it, with numbered records coming in steadily.

All of it is started here, as processes of their own; what people do is done by the `tailrace` command.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, Message, Record, create_topics, end_offsets, read_topic
from flink_jobs.kafka.admin import connect
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.system.processes import ProcessId, free_port, wait_until
from tests.bench.usage import descendants
from tests.proof import model
from tests.proof.job_file import head, write_job
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
# After so long one that was silent is waited for again: what the reader holds of the others comes first, and
# event time runs 400 times as fast as the clock here.
WOKEN_S = 30
JOB = f"""
{head("proof", f"{OUT_OF_ORDER_MS}ms", ("id", "card", "amount"))}features:
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
        self._brokers = brokers
        self._producers = [self._connected("none")]
        self._former: list[Producer] = []
        self.partitions: Sequence[int] = range(PARTITIONS)
        self.change: Callable[[Sent], Sent] = lambda row: row
        self._rows = stream(seed)
        self._end = threading.Event()
        self._refused: list[KafkaError] = []
        self.sent: list[Sent] = []

    def run(self) -> None:
        begun = time.monotonic()
        while not self._end.wait(0.05):
            due = int((time.monotonic() - begun) * RATE)
            while len(self.sent) < due:
                row = self.change(next(self._rows))
                self._send(message(row, self.partitions))
                self.sent.append(row)

    def compress(self, *codecs: str) -> None:
        """Has producers with these send in turn, from now on."""
        self._former += self._producers  # which may still have some to send
        self._producers = [*map(self._connected, codecs)]

    def _connected(self, codec: str) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._brokers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "topic.metadata.refresh.interval.ms": 1_000,
                "compression.type": codec,
                "log_level": 0,
            }
        )

    def finish(self) -> None:
        """Ends the stream, and moves each partition past it. Raises WorkError where a record was refused."""
        self._end.set()
        self.join()
        left = self._flush()  # before others of them move the watermark
        for each in flush(len(self.sent), len(self.partitions)):
            self._send(each)
        left += self._flush()
        if left or self._refused:
            raise WorkError(
                f"{left} records were not sent, {len(self._refused)} refused: {self._refused[:1]}"
            )

    def _flush(self) -> int:
        """How many could not be sent."""
        return sum(producer.flush(_PATIENCE) for producer in (*self._former, *self._producers))

    def _send(self, row: Message) -> None:
        producer = self._producers[len(self.sent) % len(self._producers)]
        producer.produce(
            "proof",
            row.value,
            row.key,
            -1 if row.partition is None else row.partition,
            on_delivery=self._delivered,
            timestamp=row.timestamp or 0,
        )
        producer.poll(0)

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
        self.numbers: set[int] = set()

    def count(self) -> int:
        """How many came until now; `numbers` are those of their records.

        For a second at most, as others come meanwhile.
        """
        until = time.monotonic() + 1
        while time.monotonic() < until and (got := self._consumer.consume(5_000, timeout=0.2)):
            rows = [each for each in got if each.error() is None]
            self._count += len(rows)
            self.numbers.update(int(row.key() or b"-1") for row in rows)
        return self._count

    def close(self) -> None:
        self._consumer.close()


class Accounts(NamedTuple):
    """What was sent, what the source has or had, what became of it by outcome, and the drift records.

    `unsettled` are places of which more than one outcome is right; of those `gone` and `missing` the product
    says that it has not read them, and that they have no outcome.
    """

    sent: Sequence[Sent]
    source: Sequence[Record]
    outputs: Mapping[str, Sequence[Record]]
    drift: Sequence[Record]
    unsettled: Collection[Place]
    gone: Collection[Place]
    missing: Collection[Place]


class Stage:
    """A context manager; all that it has started ends with it.

    `edits` are changes of the job file's text. Of what is `accounted` the product's own accounts are asked.
    `code` is the checkout whose commands are called; none is this one. With `feeds` records come in.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        draw: random.Random,
        edits: Sequence[tuple[str, str]] = (),
        accounted: bool = False,
        feeds: bool = True,
    ) -> None:
        self.directory, self.draw = directory, draw
        self.code: Path | None = None
        self.accounted, self.said = accounted, ""
        # With `idle` a job waits for no partition of a topic that is empty yet.
        self.fed_first = False
        # Who watches over a cluster starts a TaskManager again that has ended by itself.
        self.watched = False
        self._feeds = feeds
        self._edits = edits
        self.drift = not any("# drift" in after for _, after in edits)
        self._kept: dict[Place, Record] = {}
        self._short = 0
        self.broker = Broker(directory=directory / "kafka")
        self.cluster = SessionCluster(directory / "flink", free_port(), 4, "2500m")
        self.checkpoints = directory / "flink" / "checkpoints"
        self.processes: dict[str, ProcessId] = {}
        self.parallelism = 2
        self._unsettled: list[tuple[int, range]] = []
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
        with self._code():
            self.processes = {service: process for service, process, _ in self.cluster.launch()}
        self.cluster.wait()
        self._write_model()
        self.feeder = Feeder(self.broker.bootstrap, self._seed)
        if self._feeds and self.fed_first:
            self.feeder.start()
        self.submit()
        self.outcomes = Outcomes(self.settings)
        if self._feeds and not self.fed_first:
            self.feeder.start()

    def _write_model(self) -> None:
        """As the Tailrace of `code` does: an older one need not read what newer ones write."""
        registry = self.directory / "models"
        if not self.code:
            model.write(registry)
            return
        with self._code():
            subprocess.run([sys.executable, "-P", model.__file__, str(registry)], check=True)

    # What people do

    def submit(self, savepoint: str | None = None, *options: str) -> None:
        """Returns when all tasks run."""
        self._done(self.submission(savepoint, *options))

    def submission(self, savepoint: str | None = None, *options: str) -> subprocess.Popen[str]:
        """The command that submits the job, under way."""
        options += ("--savepoint", savepoint) if savepoint else ()
        return self._tailrace("submit", str(self._job_file()), *options)

    def resume(self) -> None:
        """The job is gone, and goes on from what it left."""
        self._done(self._tailrace("resume", "proof", "--file", str(self._job_file())))

    def _job_file(self) -> Path:
        edits = [("parallelism: 2", f"parallelism: {self.parallelism}"), *self._edits]
        return write_job(self.directory / "proof.yaml", JOB, self.broker.bootstrap, edits)

    def stop(self, *options: str) -> str:
        """Stops the job with a savepoint, and gives the savepoint."""
        savepoints = str(self.directory / "savepoints")
        return self._done(self._tailrace("stop", "proof", "--savepoint", savepoints, *options)).split()[-1]

    def newest_checkpoint(self) -> str:
        """Of all complete ones that the cluster keeps, by any job."""
        found = self.checkpoints.glob("*/chk-*/_metadata")
        return str(max(found, key=lambda path: path.stat().st_mtime).parent)

    def await_checkpoint(self) -> None:
        """Returns at the moment when the job writes the last word of its next checkpoint."""
        newest = Path(self.newest_checkpoint())
        number = int(newest.name.removeprefix("chk-")) + 2
        word = newest.with_name(f"chk-{number}") / "_metadata"
        deadline = time.monotonic() + _PATIENCE
        while not word.exists():
            if time.monotonic() > deadline:
                raise WorkError(f"no checkpoint {number} in {newest.parent}")

    def runs(self) -> bool:
        """Whether the cluster has the job, and it has not ended."""
        return any(job.state not in ENDED for job in self._rest.jobs())

    def _tailrace(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).with_name("tailrace")), *arguments]
        environ = os.environ | {"TAILRACE_CLUSTER": self.cluster.url}
        if self.code:
            environ |= {"PYTHONPATH": str(self.code)}
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,
        )

    def _done(self, command: subprocess.Popen[str]) -> str:
        out, self.said = answer(command)
        if command.returncode:
            raise WorkError(f"{command.args!r} failed:\n{out}{self.said}")
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
        with self._code():
            self.processes[service], _ = self.cluster.launch_one(service)

    @contextmanager
    def _code(self) -> Iterator[None]:
        """What is started meanwhile, and the workers that it starts, import the code of the checkout."""
        before = os.environ.get("PYTHONPATH")
        if self.code:
            os.environ["PYTHONPATH"] = str(self.code)
        try:
            yield
        finally:
            if self.code and before is not None:
                os.environ["PYTHONPATH"] = before
            elif self.code:
                del os.environ["PYTHONPATH"]

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
        partitions = len(self.feeder.partitions) + 1
        admin = connect(self.settings)  # kept, or nobody answers
        admin.create_partitions([NewPartitions("proof", partitions)])["proof"].result()
        time.sleep(2)  # until the producer knows, too
        self.unsettle(partitions - 1, FOUND_S)
        self.feeder.partitions = range(partitions)

    def unsettle(self, partition: int, seconds: int) -> None:
        """For so long the job need not wait for what comes to this partition, so that it may be late."""
        sent = len(self.feeder.sent)
        self._unsettled.append((partition, range(sent, sent + seconds * RATE)))

    def limit(self, outcome: str, **settings: str) -> None:
        """Changes settings of an output's topic."""
        resource = ConfigResource(ResourceType.TOPIC, OUTCOMES[outcome])
        for name, value in settings.items():
            resource.add_incremental_config(
                ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            )
        admin = connect(self.settings)  # kept, or nobody answers
        admin.incremental_alter_configs([resource])[resource].result()

    def delete_records(self) -> None:
        """Of the source, those that it has now, as retention does."""
        ends = end_offsets(self.settings, "proof")  # before they are read: more come meanwhile, and stay
        self._kept |= {(each.partition, each.offset): each for each in self._read("proof")}
        admin = connect(self.settings)  # kept, or nobody answers
        places = [TopicPartition("proof", number, end) for number, end in ends.items()]
        for future in admin.delete_records(places).values():
            future.result()

    # What became of the records

    def recovered(self) -> bool:
        """Whether all that has been sent until now gets its outcome in time."""
        sent = len(self.feeder.sent) - self._short

        def there() -> bool:
            if self.watched and not self.processes["taskmanager"].alive():
                self.relaunch("taskmanager")
            return self.outcomes.count() >= sent

        return wait_until(there, _PATIENCE, 0.2)

    def give_up(self) -> None:
        """Some outcomes will never come: those that are not there when the newest ones are."""
        sent = len(self.feeder.sent)
        newest = {*range(sent - RATE, sent)}
        if not wait_until(
            lambda: bool(self.outcomes.count()) and newest <= self.outcomes.numbers, _PATIENCE, 0.2
        ):
            raise WorkError("the job does not go on")
        self._short = len({*range(sent)} - self.outcomes.numbers)

    def end(self) -> Accounts:
        """What there is to audit, when all has had its time."""
        self.feeder.finish()
        recovered, there = self.recovered(), self.outcomes.numbers
        predicted = [row for row in self.feeder.sent if row.outcome == "predicted" and row.number in there]
        windows = len({each.time // DRIFT_MS for each in predicted}) if self.drift else 0
        if recovered and self.drift:
            wait_until(lambda: len(self._read(_DRIFT)) >= windows, _PATIENCE, 2)
        if recovered:
            time.sleep(5)  # doubled records would still come
        if self.accounted:
            self.stop("--drain")
        source = list(
            (self._kept | {(row.partition, row.offset): row for row in self._read("proof")}).values()
        )
        gone, missing = self._named() if self.accounted else ((), ())
        outputs = {each: self._read(topic) for each, topic in OUTCOMES.items()}
        drift = self._read(_DRIFT) if self.drift else []
        return Accounts(self.feeder.sent, source, outputs, drift, [*self._young(source)], gone, missing)

    def _named(self) -> tuple[list[Place], list[Place]]:
        """What `tailrace accounts` says is gone and missing."""
        asked = self._tailrace("accounts", str(self._job_file()), "--ended", "--json")
        out, errors = answer(asked)
        if not out:
            raise WorkError(f"{asked.args!r} says nothing:\n{errors}")
        named: dict[str, list[Place]] = {"gone": [], "missing": []}
        for partition in json.loads(out)["partitions"]:
            for kind, places in named.items():
                for first, last in partition[f"{kind}_offsets"]:
                    places += [(partition["partition"], offset) for offset in range(first, last + 1)]
        return named["gone"], named["missing"]

    def _young(self, source: Sequence[Record]) -> Iterator[Place]:
        """Where records of partitions are that were just added, or silent."""
        for each in source:
            number = int(each.key or b"-1")
            if any(each.partition == of and number in span for of, span in self._unsettled):
                yield each.partition, each.offset

    def _read(self, topic: str) -> list[Record]:
        return list(read_topic(self.settings, topic))


def answer(command: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command has printed when it ends, and its errors; it ends with this process's patience."""
    try:
        return command.communicate(timeout=_PATIENCE)
    except BaseException:
        command.kill()  # in a session of its own, nobody else would
        raise


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
