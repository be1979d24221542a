"""A job under load for a while: whether memory, checkpoints and lag stay flat, and what waited is caught up.

scripts/prove --load 30
scripts/prove --load 5 --backlog 300000
"""

from __future__ import annotations

import os
import random
import statistics
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
from flink_jobs.run.cluster import ENDED, Cluster
from flink_jobs.system.processes import wait_until
from tests.bench.usage import descendants
from tests.proof.ledger import START
from tests.proof.stage import JOB, Stage

SHARE, BURST, BURST_S, KEYS, HOUR_MS = 0.7, 10, 60, 50, 3_600_000
LEAST_SHARE = 0.8
# So many records of a key are in its window of an hour.
ROWS = 720
STEP_MS = HOUR_MS // (ROWS * KEYS)
_SAMPLE_S, _PATIENCE_S = 5.0, 3_600.0
_AT_ONCE, _FEW, _TOGETHER_S = 20_000, 3, 3.0
EDITS = [
    (JOB[JOB.index("{minute:") : JOB.index("select")], f"{{minute: {{by: card, over: {HOUR_MS}ms, "),
    ("interval: 1s", "interval: 10s"),
]


class Sample(NamedTuple):
    """At a moment, in s: resident MB of JVM and workers, bytes of the newest checkpoint, lag.

    `machine` is how many processes of the whole machine want a core, on average of the last minute.
    """

    at: float
    jvm_mb: float
    workers_mb: float
    checkpoint_bytes: float
    lag: float
    machine: float


class Load(msgspec.Struct, frozen=True):
    """What was seen. Rates are records a second; slopes are per minute, of the steady part.

    `burst_rate` is what the burst came to. `machine` is the median number of processes that wanted one of
    the `cores`, before the job began and in its steady part.
    """

    minutes: float
    drained: int
    steady_rate: float
    sent_rate: float
    slopes: dict[str, float]
    means: dict[str, float]
    burst_rate: float
    burst_caught_up_s: float
    backlog: int
    backlog_rate: float
    machine: tuple[float, float]
    cores: int
    seed: int
    tried: str = ""
    at: str = ""
    burst_s: float = BURST_S

    def holds(self) -> bool:
        """Whether what waited was drained as fast as the steady stream could be."""
        return self.backlog_rate >= LEAST_SHARE * self.steady_rate

    def in_words(self) -> str:
        slopes = ", ".join(
            f"{name} {self.means[name]:,.1f} {slope:+,.2f} a minute" for name, slope in self.slopes.items()
        )
        return (
            f"{self.drained:,} records drained at {self.steady_rate:,.0f}/s; {self.minutes:.0f} minutes at "
            f"{self.sent_rate:,.0f}/s: {slopes}; a burst of {self.burst_rate / self.sent_rate:.1f} x for "
            f"{self.burst_s:.0f} s caught up after {self.burst_caught_up_s:.0f} s; "
            f"a backlog of {self.backlog:,} drained at {self.backlog_rate:,.0f}/s; load of the machine "
            f"{self.machine[0]:.1f} before, {self.machine[1]:.1f} meanwhile, on {self.cores} cores"
        )


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of a straight line through moments in s and values, by least squares, per minute."""
    times, values = np.array(samples).T
    return float(np.polyfit((times - times[0]) / 60, values, 1)[0])


def drained_rate(seen: Sequence[tuple[float, int]]) -> float:
    """Records a second, of moments in s at which a checkpoint came and how many records were left then.

    What tasks commit a moment apart is one checkpoint. The last one comes when the job has had nothing to do
    for a while. Raises WorkError for fewer than three.
    """
    moments: list[tuple[float, int]] = []
    for at, left in seen:
        if moments and at - moments[-1][0] < _TOGETHER_S:
            moments[-1] = moments[-1][0], left
        else:
            moments.append((at, left))
    if len(moments) < _FEW:
        raise WorkError("too few records waited: all were read within two checkpoints")
    (first, most), (last, least) = moments[0], moments[-2]
    return (most - least) / (last - first)


def load(directory: Path, minutes: float, backlog: int, seed: int, burst_s: float = BURST_S) -> Load:
    """Raises WorkError where the job does not catch up."""
    before = os.getloadavg()[0]
    with Stage(directory, seed, random.Random(seed), EDITS, feeds=False) as stage:
        found = _Load(stage).run(minutes, backlog, burst_s)
    return msgspec.structs.replace(found, machine=(before, found.machine[1]), seed=seed)


class _Load:
    def __init__(self, stage: Stage) -> None:
        self._stage, self._rest = stage, Cluster(stage.cluster.url)
        self._producer = Producer({"bootstrap.servers": stage.broker.bootstrap, "linger.ms": 20})
        self._draw = random.Random(stage.draw.random())
        self._sent = 0

    def run(self, minutes: float, backlog: int, burst_s: float) -> Load:
        savepoint = self._stage.stop()
        self._send(backlog)
        steady = self._drained(backlog, lambda: self._stage.submit(savepoint))
        sent, begun = self._sent, time.monotonic()
        samples = [*self._steadily(SHARE * steady, minutes * 60)]
        sent_rate = (self._sent - sent) / (time.monotonic() - begun)
        # The beginning is that of the JVM's own warming up.
        kept = samples[len(samples) // 4 :]
        measured = ("jvm_mb", "workers_mb", "checkpoint_bytes", "lag")
        slopes = {name: slope([(each.at, getattr(each, name)) for each in kept]) for name in measured}
        means = {name: float(np.mean([getattr(each, name) for each in kept])) for name in measured}
        sent, begun = self._sent, time.monotonic()
        for _ in self._steadily(SHARE * steady * BURST, burst_s):
            pass
        burst_rate = (self._sent - sent) / (time.monotonic() - begun)
        begun = time.monotonic()
        self._until_read()
        caught_up = time.monotonic() - begun
        savepoint = self._stage.stop()
        self._send(backlog)
        rate = self._drained(backlog, lambda: self._stage.submit(savepoint))
        return Load(
            minutes,
            backlog,
            steady,
            sent_rate,
            slopes,
            means,
            burst_rate,
            caught_up,
            backlog,
            rate,
            (0.0, statistics.median(each.machine for each in samples)),
            os.cpu_count() or 1,
            0,
            burst_s=burst_s,
        )

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
        seen: list[tuple[float, int]] = []

        def done() -> bool:
            lag = self._lag()
            if lag <= 0.75 * count and (not seen or lag != seen[-1][1]):
                seen.append((time.monotonic(), lag))
            return lag == 0

        if not wait_until(done, _PATIENCE_S, 0.2):
            raise WorkError(f"{self._lag()} records still wait")
        return drained_rate(seen)

    def _steadily(self, rate: float, seconds: float) -> Iterator[Sample]:
        """Sends at this rate, and looks meanwhile."""
        over = threading.Event()

        def send() -> None:
            begun, base = time.monotonic(), self._sent
            while not over.wait(0.05):
                due = base + int((time.monotonic() - begun) * rate) - self._sent
                self._send(min(max(0, due), _AT_ONCE))  # else it would be late by as much as it lags behind

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
        return Sample(at, java, workers, self._checkpoint_bytes(), self._lag(), os.getloadavg()[0])

    def _checkpoint_bytes(self) -> float:
        job = next(job for job in self._rest.jobs() if job.state not in ENDED)
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
