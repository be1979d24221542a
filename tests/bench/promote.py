"""A promote and a rollback under load: who scored what, and how long anybody waited.

    python -m tests.bench.promote --rate 20000 --parallelism 2
    python -m tests.bench.promote --rate 5000 --parallelism 4 --kill     # a TaskManager, around the moment

Exits with 1 if a record was lost, doubled, or scored by the wrong version, or if a replay differs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from confluent_kafka import Producer
from sklearn.linear_model import LogisticRegression

from flink_jobs import preflight
from flink_jobs.broker import Broker
from flink_jobs.kafka import ClientSettings, count_committed, create_topics, read_topic
from flink_jobs.loader import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.processes import free_port, spawn, wait_until
from flink_jobs.program import Target, start
from flink_jobs.registry import Registry
from flink_jobs.releases import Moment, Releases
from flink_jobs.session_cluster import SessionCluster
from tests import models

LEAD_MS = 2_000
AROUND_MS = 2_000
JOB = """
job: NAME
kafka: {brokers: BROKERS}
source:
  topic: NAME.source
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema:
    id: {type: long, required: true}
    at: {type: long, required: true}
    a: double
    b: double
    c: double
model: {name: load, registry: REGISTRY, refresh: 1s}
predictions: {include: [id]}
runtime: {parallelism: PARALLELISM, latency: low, delivery: DELIVERY, checkpoint: {interval: 1s}}
"""


@dataclass(frozen=True)
class Load:
    """What is sent: `rate` records a second, for `seconds`, to `partitions`."""

    rate: int
    seconds: int
    partitions: int


@dataclass(frozen=True)
class Scored:
    """What came back, n predictions: id, partition, event time (ms), version, and the wait for each (ms)."""

    ids: np.ndarray  # type: ignore[type-arg]
    partition: np.ndarray  # type: ignore[type-arg]
    at: np.ndarray  # type: ignore[type-arg]
    version: np.ndarray  # type: ignore[type-arg]
    wait: np.ndarray  # type: ignore[type-arg]


def write_models(root: Path) -> Registry:
    inputs = pa.table({name: np.linspace(-1, 1, 50) for name in "abc"})
    for seed in range(2):
        targets = (np.random.default_rng(seed).normal(size=50) + np.linspace(-1, 1, 50) > 0).tolist()
        models.write(root, "load", LogisticRegression(), inputs, targets, "binary", promoted=seed == 0)
    return Registry(root)


def send(brokers: str, topic: str, load: Load) -> None:
    """A steady stream: every 2 ms the records that are due, with the present time as event time."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 2, "acks": "all"})
    begun, sent = time.monotonic(), 0
    while sent < load.rate * load.seconds:
        due = min(int((time.monotonic() - begun) * load.rate), load.rate * load.seconds)
        now = int(time.time() * 1000)
        for i in range(sent, due):
            value = orjson.dumps({"id": i, "at": now, "a": i % 7 / 7, "b": i % 5 / 5, "c": i % 3 / 3})
            producer.produce(topic, value, partition=i % load.partitions, timestamp=now)
        sent = due
        producer.poll(0)
        time.sleep(0.002)
    producer.flush()


def read(settings: ClientSettings, topic: str) -> Scored:
    rows = [(orjson.loads(r.value or b""), r.timestamp) for r in read_topic(settings, topic)]
    at = np.array([np.datetime64(row["event_time"][:-1], "ms").astype(np.int64) for row, _ in rows])
    columns = [np.array([row[name] for row, _ in rows]) for name in ("id", "partition", "version")]
    return Scored(columns[0], columns[1], at, columns[2], np.array([stamp for _, stamp in rows]) - at)


def wrong(scored: Scored, load: Load, moments: list[int], *, exactly_once: bool = True) -> list[str]:
    """What is not as promised; versions are 1, then 2 from the first moment, then 1 from the second."""
    found = []
    distinct = len(np.unique(scored.ids))
    if distinct != load.rate * load.seconds or (exactly_once and len(scored.ids) != distinct):
        found.append(
            f"{load.rate * load.seconds} sent, {len(scored.ids)} predicted, {distinct} of them distinct"
        )
    expected = np.where((scored.at >= moments[0]) & (scored.at < moments[1]), 2, 1)
    if (bad := int((scored.version != expected).sum())) > 0:
        found.append(f"{bad} predictions of the wrong version")
    for partition in range(load.partitions):
        seen = set(scored.version[scored.partition == partition].tolist())
        if seen != {1, 2}:
            found.append(f"partition {partition} saw the versions {seen}")
    return found


def waits(scored: Scored, moments: list[int]) -> dict[str, float]:
    """p99 before the moments (ms), and the p99 and longest wait of those around each."""
    near = np.min([np.abs(scored.at - moment) for moment in moments], axis=0) < AROUND_MS
    before = (scored.at < moments[0] - AROUND_MS) & (scored.at > moments[0] - 3 * AROUND_MS)
    return {
        "p99 before": float(np.percentile(scored.wait[before], 99)),
        "p99 around": float(np.percentile(scored.wait[near], 99)),
        "longest before": float(scored.wait[before].max()),
        "longest around": float(scored.wait[near].max()),
    }


def run(
    broker: str, root: Path, name: str, load: Load, parallelism: int, *, cluster: SessionCluster | None = None
) -> tuple[Scored, Scored, list[int]]:
    """The live run and its replay, with the moments of promote and rollback.

    With a `cluster` its TaskManager is killed shortly before the first moment.
    """
    settings, registry = ClientSettings(broker), write_models(root)
    create_topics(settings, {f"{name}.source": load.partitions})
    words = {
        "BROKERS": broker,
        "REGISTRY": str(root),
        "PARALLELISM": str(parallelism),
        "DELIVERY": "exactly_once",
    }
    text = JOB
    for word, value in words.items():
        text = text.replace(word, value)
    plan = make_plan(load_job_text(text.replace("NAME", name), "job.yaml", root, {}))
    preflight.check(plan)
    moments: list[int] = []
    with start(plan, Target(cluster=cluster.url if cluster else None)) as running:
        sender = threading.Thread(target=send, args=(broker, f"{name}.source", load))
        sender.start()
        _steer(registry, moments, load, cluster)
        sender.join()
        expected = load.rate * load.seconds
        done = wait_until(
            lambda: count_committed(settings, f"{name}.predictions") >= expected, 180, interval=1
        )
        if not done:
            print(
                f"only {count_committed(settings, f'{name}.predictions')} of {expected} came", file=sys.stderr
            )
        running.cancel() if cluster else running.finish()
        running.wait()
    live = read(settings, f"{name}.predictions")
    again = text.replace("NAME.source", f"{name}.source").replace("NAME", f"{name}-again")
    plan = make_plan(load_job_text(again, "job.yaml", root, {}), bounded=True)
    preflight.check(plan)
    with start(plan, Target()) as running:
        running.wait()
    return live, read(settings, f"{name}-again.predictions"), moments


def _steer(registry: Registry, moments: list[int], load: Load, cluster: SessionCluster | None) -> None:
    releases = Releases(registry, "load")
    time.sleep(load.seconds * 0.55)
    moments.append(releases.promote(2, Moment(lead_ms=LEAD_MS)).at_ms)
    if cluster:
        time.sleep(LEAD_MS / 1000 - 0.5)
        _restart_taskmanager(cluster)
    time.sleep(load.seconds * 0.2)
    moments.append(releases.rollback(Moment(lead_ms=LEAD_MS)).at_ms)


def _restart_taskmanager(cluster: SessionCluster) -> None:
    process, log = cluster._processes["taskmanager"]
    os.kill(process.pid, signal.SIGKILL)
    for child in Path("/proc").glob("[0-9]*/stat"):
        _kill_if_child(child, process.pid)
    from flink_jobs.session_cluster import _flink_home

    script = ["bash", str(_flink_home() / "bin" / "taskmanager.sh"), "start-foreground"]
    spawn(script, log.with_suffix(".second"), env=cluster._environment())


def _kill_if_child(stat: Path, parent: int) -> None:
    try:
        if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
            os.kill(int(stat.parent.name), signal.SIGKILL)
    except (OSError, ValueError, IndexError):
        return


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rate", type=int, default=20_000)
    options.add_argument("--seconds", type=int, default=40)
    options.add_argument("--parallelism", type=int, default=2)
    options.add_argument("--kill", action="store_true")
    chosen = options.parse_args()
    load = Load(chosen.rate, chosen.seconds, chosen.parallelism)
    with tempfile.TemporaryDirectory(prefix="tailrace-promote-") as folder:
        root = Path(folder)
        if chosen.kill:
            found = _with_cluster(root, load, chosen.parallelism)
        else:
            with Broker() as broker:
                found = run(broker.bootstrap, root / "models", "promote", load, chosen.parallelism)
    return report(found, load)


def _with_cluster(root: Path, load: Load, parallelism: int) -> tuple[Scored, Scored, list[int]]:
    with Broker() as broker:
        cluster, started = SessionCluster(root / "flink", free_port(), parallelism, "4g"), []
        try:
            started += [process for _, process, _ in cluster.launch()]
            cluster.wait()
            return run(broker.bootstrap, root / "models", "promote", load, parallelism, cluster=cluster)
        finally:
            for process in started:
                process.stop()


def report(found: tuple[Scored, Scored, list[int]], load: Load) -> int:
    live, again, moments = found
    problems = wrong(live, load, moments)
    replayed = dict(zip(again.ids.tolist(), again.version.tolist(), strict=True))
    differ = sum(replayed.get(i) != v for i, v in zip(live.ids.tolist(), live.version.tolist(), strict=True))
    if differ:
        problems.append(f"{differ} records have another version in the replay")
    print(f"{len(live.ids):,} records at {load.rate:,} a second, {load.partitions} partitions")
    for name, value in waits(live, moments).items():
        print(f"{name:16}{value:8.0f} ms")
    print("wrong: " + ("; ".join(problems) or "nothing"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
