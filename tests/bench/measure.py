"""Rates and latencies as Kafka saw them, and memory as the kernel saw it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from flink_jobs.kafka import ClientSettings, create_topics, read_topic
from tests.bench.data import PARTITIONS

OUTPUTS = ("predictions", "dead-letters", "late")
REPORTS = ("drift", "alerts")


@dataclass
class Memory:
    """The largest resident sizes seen, in MB: of one Python worker, and of the JVM."""

    worker: float = 0.0
    jvm: float = 0.0


@dataclass
class Run:
    """One run: seconds in all, records a second between first and last output, counts by topic."""

    seconds: float
    rate: float
    counts: dict[str, int]
    memory: Memory = field(default_factory=Memory)


def run(contender: str, brokers: str, registry: str, name: str, *more: str) -> Run:
    """Runs a contender in a process of its own; raises if it fails."""
    topics = {f"{name}.{suffix}": PARTITIONS for suffix in OUTPUTS}
    create_topics(ClientSettings(brokers), topics, {"message.timestamp.type": "LogAppendTime"})
    create_topics(ClientSettings(brokers), {f"{name}.{suffix}": 1 for suffix in REPORTS})
    command = [sys.executable, "-m", "tests.bench.contenders", contender, brokers, registry, name, *more]
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    memory = Memory()
    watcher = threading.Thread(target=_watch, args=(process, memory), daemon=True)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.monotonic() - begun
    if process.returncode:
        raise RuntimeError(f"{contender} failed:\n{errors.decode()[-3000:]}")
    watcher.join()
    times = {topic: append_times(brokers, topic) for topic in topics}
    predicted = times[f"{name}.predictions"]
    span = (predicted.max() - predicted.min()) / 1000
    after_first = np.count_nonzero(predicted > predicted.min())
    return Run(seconds, after_first / span, {t: len(times[t]) for t in topics}, memory)


def append_times(brokers: str, topic: str) -> npt.NDArray[np.int64]:
    """When the broker appended each committed record, in ms."""
    return np.array([r.timestamp for r in read_topic(ClientSettings(brokers), topic)], dtype=np.int64)


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


def _watch(process: subprocess.Popen[bytes], memory: Memory) -> None:
    while process.poll() is None:
        for pid in descendants(process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6
            except OSError:
                continue
            if b"java" in command.split(b"\0")[0]:
                memory.jvm = max(memory.jvm, resident)
            elif b"beam" in command:
                memory.worker = max(memory.worker, resident)
        time.sleep(0.5)


def descendants(root: int) -> Iterator[int]:
    """Process ids below `root`."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(after_name[1]), []).append(int(stat.parent.name))
    pending = [root]
    while pending:
        children = parents.get(pending.pop(), [])
        pending += children
        yield from children
