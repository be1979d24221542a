"""A promote and a rollback under load: who scored what, and how long anybody waited.

    python -m tests.bench.promote --rate 20000 --parallelism 2
    python -m tests.bench.promote --rate 5000 --parallelism 4 --kill     # a TaskManager, around the moment

Exits with 1 if a record was lost, doubled, or scored by the wrong version, if a replay differs, or (without
--kill) if records around the moments waited longer than twice the p99 of those before.
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

from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed, create_topics, read_topic
from flink_jobs.local.broker import Broker
from flink_jobs.local.flink import SessionCluster
from flink_jobs.plan import make_plan
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.run import preflight
from flink_jobs.run.access import Access
from flink_jobs.run.program import Target, start
from flink_jobs.system.processes import ProcessId, free_port, wait_until
from tests.bench.usage import descendants
from tests.helpers import models

LEAD_MS = 2_000
AROUND_MS = 2_000
JOB = """
job: NAME
kafka: {brokers: BROKERS}
source:
  topic: SOURCE
  event_time: {field: at, unit: ms, out_of_order: 1s}
  schema:
    id: {type: long, required: true}
    at: {type: long, required: true}
    a: double
    b: double
    c: double
model: {name: load, registry: REGISTRY, refresh: 1s}
predictions: {include: [id]}
runtime: {parallelism: PARALLELISM, latency: low, delivery: exactly_once, checkpoint: {interval: 1s}}
"""


@dataclass(frozen=True)
class Load:
    """`rate` records a second; `settle` seconds after it caught up, measured for `baseline` seconds."""

    rate: int
    parallelism: int
    settle: float = 20.0
    baseline: float = 15.0


@dataclass(frozen=True)
class Scored:
    """What came back, n predictions: id, partition, event time (ms), version, and the wait for each (ms)."""

    ids: np.ndarray  # type: ignore[type-arg]
    partition: np.ndarray  # type: ignore[type-arg]
    at: np.ndarray  # type: ignore[type-arg]
    version: np.ndarray  # type: ignore[type-arg]
    wait: np.ndarray  # type: ignore[type-arg]


@dataclass(frozen=True)
class Outcome:
    """How many were sent, what a live job and its replay said, and the moments of promote and rollback."""

    sent: int
    live: Scored
    replay: Scored
    moments: list[int]


class Stream(threading.Thread):
    """Every 2 ms the records that are due, with the present time as event time, until `finish`."""

    def __init__(self, brokers: str, topic: str, load: Load) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._topic, self._load = topic, load
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 2, "acks": "all"})
        self._finished = threading.Event()

    def run(self) -> None:
        begun = time.monotonic()
        while not self._finished.is_set():
            due = int((time.monotonic() - begun) * self._load.rate)
            now = int(time.time() * 1000)
            for i in range(self.sent, due):
                value = orjson.dumps({"id": i, "at": now, "a": i % 7 / 7, "b": i % 5 / 5, "c": i % 3 / 3})
                self._producer.produce(
                    self._topic, value, partition=i % self._load.parallelism, timestamp=now
                )
            self.sent = due
            self._producer.poll(0)
            time.sleep(0.002)

    def finish(self) -> int:
        """Returns how many records the broker has."""
        self._finished.set()
        self.join()
        if missing := self._producer.flush(60):
            raise SystemExit(f"the broker did not take {missing} records")
        return self.sent


def write_models(root: Path) -> Registry:
    inputs = pa.table({name: np.linspace(-1, 1, 50) for name in "abc"})
    for seed in range(2):
        targets = (np.random.default_rng(seed).normal(size=50) + np.linspace(-1, 1, 50) > 0).tolist()
        models.write(root, "load", LogisticRegression(), inputs, targets, "binary", promoted=seed == 0)
    return Registry(root)


def run(
    brokers: str, root: Path, name: str, load: Load, kill_in: tuple[SessionCluster, ProcessId] | None = None
) -> Outcome:
    """The live run, then a replay of the same topic.

    With `kill_in`, a cluster and its TaskManager, that is killed shortly before the first moment.
    """
    settings, registry = ClientSettings(brokers), write_models(root)
    source, topic = f"{name}.source", f"{name}.predictions"
    create_topics(settings, {source: load.parallelism})
    moments: list[int] = []
    plan = _plan(name, source, brokers, root, load)
    stream = Stream(brokers, source, load)
    with start(plan, Target(cluster=Access(kill_in[0].url) if kill_in else None)) as running:
        stream.start()
        _catch_up(settings, topic)
        time.sleep(load.settle + load.baseline)
        releases = Releases(registry, "load")
        moments.append(releases.promote(2, Activation(lead_ms=LEAD_MS)).at_ms)
        if kill_in:
            time.sleep(LEAD_MS / 1000 - 0.5)
            _replace_taskmanager(*kill_in)
        time.sleep((LEAD_MS + AROUND_MS) / 1000)
        _catch_up(settings, topic)
        moments.append(releases.rollback(Activation(lead_ms=LEAD_MS)).at_ms)
        time.sleep((LEAD_MS + AROUND_MS) / 1000)
        sent = stream.finish()
        wait_until(lambda: count_committed(settings, topic) >= sent, 120, interval=1)
        running.cancel() if kill_in else running.finish()
        running.wait()
    with start(_plan(f"{name}-again", source, brokers, root, load, bounded=True), Target()) as running:
        running.wait()
    return Outcome(sent, _read(settings, topic), _read(settings, f"{name}-again.predictions"), moments)


def _plan(name: str, source: str, brokers: str, root: Path, load: Load, *, bounded: bool = False):  # type: ignore[no-untyped-def]
    words = {
        "NAME": name,
        "SOURCE": source,
        "BROKERS": brokers,
        "REGISTRY": str(root),
        "PARALLELISM": str(load.parallelism),
    }
    text = JOB
    for word, value in words.items():
        text = text.replace(word, value)
    plan = make_plan(load_job_text(text, "job.yaml", root, {}), bounded=bounded)
    preflight.check(plan)
    return plan


def _catch_up(settings: ClientSettings, topic: str) -> None:
    """Returns when predictions come within a second of their event."""

    def behind() -> float:
        news = read_topic(settings, topic, isolation="read_uncommitted", follow=True, from_beginning=False,
                          limit=500, timeout=60)  # fmt: skip
        return max((r.timestamp - _event_time(orjson.loads(r.value or b"")) for r in news), default=np.inf)

    if not wait_until(lambda: behind() < 1_000, 240, interval=0.5):
        raise SystemExit("the job does not keep up with this rate")


def _event_time(row: dict[str, str]) -> int:
    return int(np.datetime64(row["event_time"][:-1], "ms").astype(np.int64))


def _replace_taskmanager(cluster: SessionCluster, taskmanager: ProcessId) -> None:
    workers = [ProcessId.of(pid) for pid in descendants(taskmanager.pid)]
    os.kill(taskmanager.pid, signal.SIGKILL)
    cluster.launch_one("taskmanager")
    if not wait_until(lambda: not any(worker.alive() for worker in workers), 20):
        raise SystemExit("workers of the killed TaskManager are still there")


def _read(settings: ClientSettings, topic: str) -> Scored:
    rows = [(orjson.loads(r.value or b""), r.timestamp) for r in read_topic(settings, topic)]
    at = np.array([_event_time(row) for row, _ in rows])
    columns = [np.array([row[name] for row, _ in rows]) for name in ("id", "partition", "version")]
    return Scored(columns[0], columns[1], at, columns[2], np.array([stamp for _, stamp in rows]) - at)


def problems(outcome: Outcome) -> list[str]:
    """What is not as promised; versions are 1, then 2 from the first moment, then 1 from the second."""
    live, replay, moments = outcome.live, outcome.replay, outcome.moments
    found = []
    for run_name, scored in (("live", live), ("replay", replay)):
        if not np.array_equal(np.sort(scored.ids), np.arange(outcome.sent)):
            distinct = len(np.unique(scored.ids))
            found.append(f"{run_name}: {outcome.sent} sent, {len(scored.ids)} predicted, {distinct} distinct")
    expected = np.where((live.at >= moments[0]) & (live.at < moments[1]), 2, 1)
    if bad := int((live.version != expected).sum()):
        found.append(f"{bad} predictions of the wrong version")
    for partition in np.unique(live.partition):
        around = live.partition == partition
        for moment, versions in zip(moments, ([1, 2], [2, 1]), strict=True):
            near = around & (np.abs(live.at - moment) < AROUND_MS)
            in_order = live.version[near][np.argsort(live.at[near], kind="stable")]
            if in_order[[0, -1]].tolist() != versions:
                found.append(f"partition {partition} did not change from {versions[0]} to {versions[1]}")
    if not found:
        differ = int((live.version[np.argsort(live.ids)] != replay.version[np.argsort(replay.ids)]).sum())
        found += [f"{differ} records have another version in the replay"] if differ else []
    return found


def waits(outcome: Outcome, load: Load) -> dict[str, float]:
    """p99 and longest wait (ms) before the moments and around each of them."""
    live, moments = outcome.live, outcome.moments
    begun = moments[0] - LEAD_MS - load.baseline * 1000
    spans = {"before": (live.at >= begun) & (live.at < moments[0] - AROUND_MS)}
    for name, moment in zip(("promote", "rollback"), moments, strict=True):
        spans[name] = np.abs(live.at - moment) < AROUND_MS
    return {
        f"{statistic} {name}": float(np.percentile(live.wait[span], share))
        for name, span in spans.items()
        for statistic, share in (("p50", 50), ("p99", 99), ("longest", 100))
    }


def with_cluster(root: Path, brokers: str, name: str, load: Load) -> Outcome:
    """`run` on a session cluster whose TaskManager is killed and replaced."""
    cluster = SessionCluster(root / "flink", free_port(), load.parallelism, "4g")
    try:
        started = {process_name: process for process_name, process, _ in cluster.launch()}
        cluster.wait()
        return run(brokers, root / "models", name, load, (cluster, started["taskmanager"]))
    finally:
        cluster.stop()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rate", type=int, default=20_000)
    options.add_argument("--parallelism", type=int, default=2)
    options.add_argument("--settle", type=float, default=20.0)
    options.add_argument("--baseline", type=float, default=15.0)
    options.add_argument("--kill", action="store_true")
    chosen = options.parse_args()
    load = Load(chosen.rate, chosen.parallelism, chosen.settle, chosen.baseline)
    with tempfile.TemporaryDirectory(prefix="tailrace-promote-") as folder, Broker() as broker:
        root = Path(folder)
        if chosen.kill:
            outcome = with_cluster(root, broker.bootstrap, "promote", load)
        else:
            outcome = run(broker.bootstrap, root / "models", "promote", load)
    return _report(outcome, load, kill=chosen.kill)


def _report(outcome: Outcome, load: Load, *, kill: bool) -> int:
    found, waited = problems(outcome), waits(outcome, load)
    print(f"{outcome.sent:,} records at {load.rate:,} a second, parallelism {load.parallelism}")
    for name, value in waited.items():
        print(f"{name:18}{value:8.0f} ms")
    worst = max(waited["p99 promote"], waited["p99 rollback"])
    if not kill and worst > 2 * waited["p99 before"]:
        found.append(f"p99 of {worst:.0f} ms around a moment, more than twice that before")
    print("wrong: " + ("; ".join(found) or "nothing"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
