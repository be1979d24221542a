"""Runs a contender, and says how fast it was as Kafka saw it, and what it used as the kernel saw it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from confluent_kafka.admin import AdminClient

from flink_jobs.kafka import ClientSettings, create_topics, end_offsets, read_topic
from flink_jobs.system.processes import wait_until
from tests.bench.data import PARTITIONS
from tests.bench.usage import Memory, Watch

OUTPUTS = ("predictions", "dead-letters", "late")
REPORTS = ("drift", "alerts")
# The first part of the outputs is written while code is compiled and buffers fill: it counts as start-up.
WARM_UP = 0.2


class CpuSeconds(Protocol):
    """What `Watch` knows."""

    def cpu_seconds(self, at: float | None = None) -> float: ...


@dataclass(frozen=True)
class Run:
    """One run: seconds in all and to the first output, the steady rates, CPU seconds in all, and memory."""

    seconds: float
    startup: float
    rate: float
    cpu_per_million: float
    cpu_in_all: float
    records: int
    memory: Memory


class WrongCountError(Exception):
    """Some record has not exactly one output."""


def run(command: Sequence[str], brokers: str, name: str, records: int, *, some: bool = False) -> Run:
    """Runs a contender in a process of its own and checks its outputs; removes them.

    With `some` it read that many records of a topic with more. Raises RuntimeError if the command fails,
    WrongCountError if a record has no output or several.
    """
    topics = {f"{name}.{suffix}": PARTITIONS for suffix in OUTPUTS}
    reports = {f"{name}.{suffix}": 1 for suffix in REPORTS}
    create_topics(ClientSettings(brokers), topics, {"message.timestamp.type": "LogAppendTime"})
    create_topics(ClientSettings(brokers), reports)
    try:
        begun, seconds, watch = _watched(command, name)
        times, ids = outputs(brokers, f"{name}.predictions")
        refused = {topic: _count(brokers, topic) for topic in topics if not topic.endswith(".predictions")}
        check(ids, refused, records, some=some)
    finally:
        _delete(brokers, [*topics, *reports])
    rate, cpu_per_million = steady(times, watch)
    startup = float(times.min()) / 1000 - begun
    return Run(seconds, startup, rate, cpu_per_million, watch.cpu_seconds(), records, watch.memory)


def _watched(command: Sequence[str], name: str) -> tuple[float, float, Watch]:
    """When it began, how many seconds it took, and what it used."""
    with tempfile.TemporaryFile() as errors:
        begun, clock = time.time(), time.monotonic()
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
        watch = Watch(process.pid)
        watch.start()
        try:
            process.wait()
        finally:
            process.kill()
            watch.stop()
        seconds = time.monotonic() - clock
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{name} failed:\n{errors.read().decode(errors='replace')[-3000:]}")
    return begun, seconds, watch


def outputs(brokers: str, topic: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """When the broker appended each committed record, in ms, and the records' ids."""
    settings, decoder = ClientSettings(brokers), msgspec.json.Decoder(_Id)
    # A commit shows a moment after the producer was told of it.
    wait_until(lambda: end_offsets(settings, topic) == _committed(settings, topic), 10.0)
    found = [(r.timestamp, decoder.decode(r.value or b"").id) for r in read_topic(settings, topic)]
    times, ids = np.array(found, dtype=np.int64).reshape(-1, 2).T
    return times, ids


def check(ids: npt.NDArray[np.int64], refused: dict[str, int], records: int, *, some: bool = False) -> None:
    """Raises WrongCountError unless each record has one prediction, and nothing else was written.

    With `some`, so many of the records.
    """
    once = len(np.unique(ids))
    if len(ids) != records or once != records or (not some and int(ids.max(initial=-1)) != records - 1):
        raise WrongCountError(
            f"each of {records:,} records must have one prediction; got {len(ids):,} of {once:,} records, "
            f"and {refused}"
        )
    if any(refused.values()):
        raise WrongCountError(f"no record is late or wrong; got {refused}")


def steady(times: npt.NDArray[np.int64], used: CpuSeconds) -> tuple[float, float]:
    """Records a second, and CPU seconds per million records, after the warm-up.

    `times`: when each output was appended, in ms; `used`: CPU seconds up to a time in seconds.
    """
    after = np.sort(times)[int(len(times) * WARM_UP) :] / 1000
    moments, place = np.unique(after, return_inverse=True)
    cpu = np.array([used.cpu_seconds(moment) for moment in moments])
    # A run of few records may end before the clock, or the kernel's count, has moved on.
    rate, per_cpu_second = slope(after) or len(after) / 0.001, slope(cpu[place])
    return rate, 1e6 / (per_cpu_second or len(times) / used.cpu_seconds())


def slope(spent: npt.NDArray[np.float64]) -> float:
    """Records for each second spent, by least squares: (n,) seconds spent up to each record, ascending.

    Outputs come in bundles. From one output to another would count a bundle too many, when the first is in
    the middle of one.
    """
    counted = np.arange(len(spent))
    away = spent - spent.mean()
    return float((away * counted).sum() / max((away * away).sum(), 1e-9))


def latencies(brokers: str, source: str, predictions: str, after: int) -> npt.NDArray[np.int64]:
    """Milliseconds from a record's timestamp to its prediction's append, for records from `after` on."""
    settings = ClientSettings(brokers)
    written = {(r.partition, r.offset): r.timestamp for r in read_topic(settings, source)}
    decoder = msgspec.json.Decoder(_Coordinates)
    waits = []
    for record in read_topic(settings, predictions):
        at = decoder.decode(record.value or b"")
        sent = written[at.partition, at.offset]
        if sent >= after:
            waits.append(record.timestamp - sent)
    return np.array(waits, dtype=np.int64)


class _Coordinates(msgspec.Struct):
    partition: int
    offset: int


class _Id(msgspec.Struct):
    id: int


def _committed(settings: ClientSettings, topic: str) -> dict[int, int]:
    return end_offsets(settings, topic, isolation="read_committed")


def _count(brokers: str, topic: str) -> int:
    return sum(1 for _ in read_topic(ClientSettings(brokers), topic))


def _delete(brokers: str, topics: list[str]) -> None:
    """So that the disk holds the outputs of one run at a time."""
    admin = AdminClient(ClientSettings(brokers).librdkafka())
    for deleted in admin.delete_topics(topics).values():
        deleted.result()
