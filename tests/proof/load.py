"""A job under load for a while: whether memory, checkpoints and lag stay flat, and what waited is caught up.

scripts/prove --load 30
scripts/prove --load 5 --backlog 300000
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from confluent_kafka import Producer

from flink_jobs.errors import WorkError
from flink_jobs.kafka import committed_offsets, end_offsets
from flink_jobs.run.cluster import Cluster
from flink_jobs.system.processes import wait_until
from tests.bench.usage import descendants
from tests.proof.ledger import START
from tests.proof.stage import JOB, Stage

SHARE, BURST, BURST_S, KEYS, HOUR_MS = 0.7, 10, 60.0, 50, 3_600_000
# So many records of a key are in its window of an hour.
ROWS = 720
STEP_MS = HOUR_MS // (ROWS * KEYS)
_SAMPLE_S, _PATIENCE_S = 5.0, 3_600.0
EDITS = [
    (JOB[JOB.index("{minute:") : JOB.index("select")], f"{{minute: {{by: card, over: {HOUR_MS}ms, "),
    ("interval: 1s", "interval: 10s"),
]


class Sample(NamedTuple):
    """At a moment, in s: resident MB of JVM and workers, bytes of the newest checkpoint, lag."""

    at: float
    jvm_mb: float
    workers_mb: float
    checkpoint_bytes: float
    lag: float


class Load(msgspec.Struct):
    """What was seen. Rates are records a second; slopes are per minute, of the steady part."""

    minutes: float
    drained: int
    steady_rate: float
    sent_rate: float
    slopes: dict[str, float]
    means: dict[str, float]
    burst_caught_up_s: float
    backlog: int
    backlog_rate: float

    def in_words(self) -> str:
        slopes = ", ".join(
            f"{name} {self.means[name]:,.1f} {slope:+,.2f} a minute" for name, slope in self.slopes.items()
        )
        return (
            f"{self.drained:,} records drained at {self.steady_rate:,.0f}/s; {self.minutes:.0f} minutes at "
            f"{self.sent_rate:,.0f}/s: {slopes}; a burst of {BURST} x for {BURST_S:.0f} s caught up after "
            f"{self.burst_caught_up_s:.0f} s; "
            f"a backlog of {self.backlog:,} drained at {self.backlog_rate:,.0f}/s"
        )


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of a straight line through moments in s and values, by least squares, per minute."""
    times, values = np.array(samples).T
    return float(np.polyfit((times - times[0]) / 60, values, 1)[0])


def load(directory: Path, minutes: float, backlog: int, seed: int) -> Load:
    """Raises WorkError where the job does not catch up."""
    with Stage(directory, seed, random.Random(seed), EDITS, feeds=False) as stage:
        return _Load(stage).run(minutes, backlog)


class _Load:
    def __init__(self, stage: Stage) -> None:
        self._stage, self._rest = stage, Cluster(stage.cluster.url)
        self._producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "linger.ms": 20})
        self._draw = random.Random(stage.draw.random())
        self._sent = 0

    def run(self, minutes: float, backlog: int) -> Load:
        savepoint = self._stage.stop()
        self._send(backlog)
        steady = self._drained(backlog, lambda: self._stage.submit(savepoint))
        samples = [*self._steadily(SHARE * steady, minutes * 60)]
        columns = [*zip(*samples, strict=True)]
        # The beginning is that of the JVM's own warming up.
        kept = samples[len(samples) // 4 :]
        slopes = {
            name: slope([(each.at, getattr(each, name)) for each in kept]) for name in Sample._fields[1:]
        }
        means = {name: float(np.mean(columns[n])) for n, name in enumerate(Sample._fields) if n}
        for _ in self._steadily(SHARE * steady * BURST, BURST_S):
            pass
        begun = time.monotonic()
        self._until_read()
        caught_up = time.monotonic() - begun
        savepoint = self._stage.stop()
        self._send(backlog)
        rate = self._drained(backlog, lambda: self._stage.submit(savepoint))
        return Load(minutes, backlog, steady, SHARE * steady, slopes, means, caught_up, backlog, rate)

    def _send(self, count: int) -> None:
        for _ in range(count):
            number, self._sent = self._sent, self._sent + 1
            at = START + number * STEP_MS
            card = self._draw.randrange(KEYS)
            value = b'{"id": %d, "card": "c%d", "amount": %.3f}' % (number, card, self._draw.uniform(0, 9))
            while True:
                try:
                    self._producer.produce("proof", value, b"%d" % number, number % 4, timestamp=at)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        self._producer.flush()

    def _lag(self) -> int:
        read = committed_offsets(self._stage.settings, "proof", "proof")
        ends = end_offsets(self._stage.settings, "proof")
        return sum(end - read.get(number, 0) for number, end in ends.items())

    def _until_read(self) -> None:
        if not wait_until(lambda: self._lag() == 0, _PATIENCE_S, 0.5):
            raise WorkError(f"{self._lag()} records still wait")

    def _drained(self, count: int, begin: Callable[[], None]) -> float:
        """Records a second, from the first quarter to the end: the start is no part of it."""
        begin()
        wait_until(lambda: self._lag() <= 0.75 * count, _PATIENCE_S, 0.5)
        first, begun = self._lag(), time.monotonic()
        self._until_read()
        return first / (time.monotonic() - begun)

    def _steadily(self, rate: float, seconds: float) -> Iterator[Sample]:
        """Sends at this rate, and looks meanwhile."""
        over = threading.Event()

        def send() -> None:
            begun, base = time.monotonic(), self._sent
            while not over.wait(0.05):
                self._send(max(0, base + int((time.monotonic() - begun) * rate) - self._sent))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        begun = time.monotonic()
        try:
            while (now := time.monotonic() - begun) < seconds:
                yield self._sample(now)
                time.sleep(_SAMPLE_S)
        finally:
            over.set()
            sender.join()

    def _sample(self, at: float) -> Sample:
        jvm, *below = [
            self._stage.processes["taskmanager"].pid,
            *descendants(self._stage.processes["taskmanager"].pid),
        ]
        java = sum(_megabytes(pid) for pid in (jvm, *below) if _is_java(pid))
        workers = sum(_megabytes(pid) for pid in below if not _is_java(pid))
        return Sample(at, java, workers, self._checkpoint_bytes(), self._lag())

    def _checkpoint_bytes(self) -> float:
        job = next(job for job in self._rest.jobs() if job.state == "RUNNING")
        latest = self._rest.get(f"/jobs/{job.id}/checkpoints")["latest"]["completed"]
        return float(latest["state_size"]) if latest else 0.0


def _megabytes(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def _is_java(pid: int) -> bool:
    try:
        return b"java" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False
