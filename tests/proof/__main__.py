"""Kills the parts of a running job at random moments, and accounts for each of its records.

scripts/prove --kills 20 --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, Message, count_committed, create_topics, produce, read_topic
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster
from flink_jobs.plan import Plan, make_plan
from flink_jobs.run import preflight
from flink_jobs.run.access import Access
from flink_jobs.run.cluster import Cluster
from flink_jobs.run.program import Target, start
from flink_jobs.system.processes import ProcessId, free_port, wait_until
from tests.bench.usage import descendants
from tests.helpers import models
from tests.proof.ledger import (
    OUT_OF_ORDER_MS,
    OVER_MS,
    PARTITIONS,
    Ledger,
    Sent,
    audit,
    flush,
    message,
    stream,
)

RATE = 400
JOB = f"""
job: NAME
kafka: {{brokers: "BROKERS"}}
source:
  topic: NAME
  event_time: {{out_of_order: {OUT_OF_ORDER_MS}ms}}
  schema:
    id: {{type: long, required: true}}
    card: {{type: string, required: true}}
    amount: {{type: double, required: true}}
features:
  windows: {{minute: {{by: card, over: {OVER_MS}ms, select: {{seen: count(*), spent: sum(amount)}}}}}}
model: {{name: sums, registry: models, inputs: {{n: spent}}}}
predictions: {{include: [seen, spent]}}
runtime:
  parallelism: 2
  checkpoint: {{interval: 1s}}
  flink:
    restart-strategy.type: exponential-delay
    restart-strategy.exponential-delay.attempts-before-reset-backoff: 1000000
    restart-strategy.exponential-delay.max-backoff: 2 s
"""
OUTPUTS = {"predicted": "predictions", "dead": "dead-letters", "late": "late"}


@dataclass(frozen=True)
class Proof:
    """One run: the kills by what was killed, the records, and the seconds until all had their outcome."""

    seed: int
    kills: dict[str, int]
    records: int
    recovery_s: float
    ledger: Ledger


class Killer:
    """Kills a worker and then the TaskManager with all its workers, which is started again, in turn.

    Where no worker runs, because the job still starts again, the TaskManager.
    """

    def __init__(self, cluster: SessionCluster, taskmanager: ProcessId, seed: int) -> None:
        self._cluster, self._taskmanager, self._draw = cluster, taskmanager, random.Random(seed)
        self.kills = {"worker": 0, "taskmanager": 0}

    def kill(self) -> None:
        workers = [pid for pid in descendants(self._taskmanager.pid) if _is_worker(pid)]
        if workers and self.kills["worker"] <= self.kills["taskmanager"]:
            os.kill(self._draw.choice(workers), signal.SIGKILL)
            self.kills["worker"] += 1
            return
        os.kill(self._taskmanager.pid, signal.SIGKILL)
        wait_until(lambda: not self._taskmanager.alive(), 20)
        self._taskmanager, _ = self._cluster.launch_one("taskmanager")
        self.kills["taskmanager"] += 1

    def moment(self) -> float:
        """Seconds until the next kill: within a checkpoint, after some, while the job still starts again."""
        return self._draw.uniform(2, 25)


def _is_worker(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"pyflink.fn_execution" in command


class Producer(threading.Thread):
    """Sends the stream at a steady rate until it is told to end; `sent` is what it sent."""

    def __init__(self, settings: ClientSettings, topic: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._settings, self._topic, self._rows = settings, topic, stream(seed)
        self._end = threading.Event()
        self.sent: list[Sent] = []

    def run(self) -> None:
        produce(self._settings, self._topic, self._messages())

    def finish(self) -> None:
        self._end.set()
        self.join()
        produce(self._settings, self._topic, flush(len(self.sent)))

    def _messages(self) -> Iterator[Message]:
        begun = time.monotonic()
        while not self._end.wait(0.05):
            due = int((time.monotonic() - begun) * RATE)
            while len(self.sent) < due:
                self.sent.append(next(self._rows))
                yield message(self.sent[-1])


def prove(brokers: str, directory: Path, kills: int, seed: int) -> Proof:
    """Runs the job on a cluster of its own under `kills` kills. Raises SystemExit where it does not end."""
    name = f"proof-{seed}-{os.getpid()}"
    settings = ClientSettings(brokers)
    create_topics(settings, {name: PARTITIONS})
    cluster = SessionCluster(directory / "flink", free_port(), 4, "2500m")
    producer = Producer(settings, name, seed)
    try:
        processes = {service: process for service, process, _ in cluster.launch()}
        cluster.wait()
        job_id = start(_plan(directory, name, brokers), Target(Access(cluster.url))).id
        rest = Cluster(cluster.url)
        wait_until(lambda: rest.all_running(job_id), 120, 0.5)
        producer.start()
        killer = Killer(cluster, processes["taskmanager"], seed)
        for _ in range(kills):
            time.sleep(killer.moment())
            killer.kill()
        time.sleep(killer.moment())
        ended = time.monotonic()
        producer.finish()
        topics = {outcome: f"{name}.{suffix}" for outcome, suffix in OUTPUTS.items()}
        wanted = len(producer.sent)
        everything = wait_until(
            lambda: sum(count_committed(settings, topic) for topic in topics.values()) >= wanted, 300, 2
        )
        recovery = time.monotonic() - ended
        # Doubled records would still come.
        time.sleep(3 if everything else 0)
        ledger = audit(producer.sent, {o: read_topic(settings, topic) for o, topic in topics.items()})
        rest.cancel(job_id)
        return Proof(seed, killer.kills, wanted, recovery, ledger)
    finally:
        cluster.stop()


def _plan(directory: Path, name: str, brokers: str) -> Plan:
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    models.write(directory / "models", "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    text = JOB.replace("NAME", name).replace("BROKERS", brokers)
    plan = make_plan(load_job_text(text, "job.yaml", directory, {}))
    preflight.check(plan)
    return plan


def _line(proof: Proof) -> str:
    ledger = proof.ledger
    killed = ", ".join(f"{count} × {what}" for what, count in proof.kills.items() if count)
    counts = {key: len(numbers) for key, numbers in asdict(ledger).items()}
    return (
        f"seed {proof.seed}: {proof.records} records, killed {killed or 'nothing'}; "
        + ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in counts.items())
        + f"; all had their outcome {proof.recovery_s:.0f} s after the last was sent"
    )


def main(arguments: list[str]) -> int:
    """0 when each record has one outcome, and the right one."""
    parser = argparse.ArgumentParser(prog="scripts/prove", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in each run; default 20")
    parser.add_argument("--seed", type=int, help="of records and moments; default: the clock")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else int(time.time())
    with tempfile.TemporaryDirectory(prefix="tailrace-proof-") as directory, Broker() as broker:
        proof = prove(broker.bootstrap, Path(directory), options.kills, seed)
    print(_line(proof))
    if options.json:
        options.json.write_text(json.dumps(asdict(proof), indent=2))
    return 0 if proof.ledger.balanced() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
