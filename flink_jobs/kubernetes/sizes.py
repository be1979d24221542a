"""Memory of a TaskManager with one slot: the JVM's part is fixed, Python's is the model's measured size.

Flink counts Python's memory as managed memory, which nothing else of these jobs takes: state is on the heap.
"""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024
_STEP = 64
_BATCHES = 256
# Flink's own defaults, but for the network, whose share would grow with Python's memory.
_FRAMEWORK, _NETWORK, _METASPACE, _OVERHEAD, _TASK_HEAP = 256, 128, 256, 256, 512


@dataclass(frozen=True)
class Measured:
    """Bytes of a worker's process: with its libraries, and then with the model of the job."""

    libraries: int
    loaded: int


@dataclass(frozen=True)
class Memory:
    """MiB of a TaskManager: `python` of them for the worker, `total` the whole pod."""

    python: int
    total: int

    def options(self) -> dict[str, str]:
        """As Flink is told; the rest of the total is the heap of the tasks."""
        return {
            "taskmanager.memory.managed.size": f"{self.python}m",
            "taskmanager.memory.network.min": f"{_NETWORK}m",
            "taskmanager.memory.network.max": f"{_NETWORK}m",
            "taskmanager.memory.jvm-metaspace.size": f"{_METASPACE}m",
            "taskmanager.memory.jvm-overhead.min": f"{_OVERHEAD}m",
            "taskmanager.memory.jvm-overhead.max": f"{_OVERHEAD}m",
        }


def memory_of(measured: Measured) -> Memory:
    """Twice the model, as the next version is loaded while one scores, the libraries, and batches.

    >>> memory_of(Measured(libraries=300 * 1024**2, loaded=340 * 1024**2))
    Memory(python=640, total=2048)
    """
    model = max(0, measured.loaded - measured.libraries)
    python = -(-(measured.loaded + model + _BATCHES * _MIB) // (_STEP * _MIB)) * _STEP
    return Memory(python, python + _FRAMEWORK + _NETWORK + _METASPACE + _OVERHEAD + _TASK_HEAP)
