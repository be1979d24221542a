"""What a process and all below it use, as the kernel counts it: CPU seconds and resident memory.

watch = Watch(process.pid)
watch.start()
...
watch.cpu_seconds(time.time())
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SAMPLE_SECONDS = 0.2
# Processes are looked for less often: it takes a look at all of the machine's.
_SEARCH_EVERY = 3
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6
# Workers of local jobs are forked, and have the command of what forks them.
_WORKERS = (b"beam", b"warm_workers")
# What this one's clock ticks of CPU are of, and when it began: a process id alone may come again.
_Process = tuple[int, int]


@dataclass(frozen=True)
class Memory:
    """The largest resident sizes seen, in MB: of the JVM, and of one of its Python workers.

    Without a JVM, the process itself is the worker.
    """

    worker: float = 0.0
    jvm: float = 0.0


class Watch(threading.Thread):
    """Looks at a process and all below it until it is stopped."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self._root_mb = self._worker_mb = self._jvm_mb = 0.0
        self._ticks: dict[_Process, int] = {}
        self._samples: list[tuple[float, float]] = [(time.time(), 0.0)]
        self._ended = threading.Event()

    def run(self) -> None:
        looks = 0
        while not self._ended.wait(_SAMPLE_SECONDS):
            if looks % _SEARCH_EVERY == 0:
                pids = [self.root, *descendants(self.root)]
            looks += 1
            self._look(pids)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def cpu_seconds(self, at: float | None = None) -> float:
        """Of all processes from their start to that time (as `time.time()` has it), or to the end."""
        times, used = zip(*self._samples.copy(), strict=True)
        return used[-1] if at is None else float(np.interp(at, times, used))

    @property
    def memory(self) -> Memory:
        return Memory(self._worker_mb if self._jvm_mb else self._root_mb, self._jvm_mb)

    def _look(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                began, ticks = _times(pid)
                self._remember(pid)
            except OSError:
                continue
            self._ticks[pid, began] = ticks
        self._samples.append((time.time(), sum(self._ticks.values()) / _TICKS))

    def _remember(self, pid: int) -> None:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
        if b"java" in command.split(b"\0")[0]:
            self._jvm_mb = max(self._jvm_mb, resident)
        elif any(name in command for name in _WORKERS):
            self._worker_mb = max(self._worker_mb, resident)
        elif pid == self.root:
            self._root_mb = max(self._root_mb, resident)


def _times(pid: int) -> _Process:
    """When it began, and its CPU so far, both in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]), int(fields[11]) + int(fields[12])


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
