"""The keyed state of shards in memory, as Flink keeps it: what a restart leaves, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from udfs.windows.kept import ShardState


class MemoryBlobs:
    """Map state."""

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}

    def items(self) -> Iterable[tuple[int, bytes]]:
        return list(self.kept.items())

    def get(self, number: int) -> bytes:
        return self.kept[number]

    def put(self, number: int, blob: bytes) -> None:
        self.kept[number] = blob

    def remove(self, number: int) -> None:
        del self.kept[number]


class MemoryValue:
    """Value state."""

    def __init__(self) -> None:
        self.kept: Any = None

    def value(self) -> Any:
        return self.kept

    def update(self, value: Any) -> None:
        self.kept = value


@dataclass
class ShardStates:
    """The states of all shards by Flink's key, with the timers that are set."""

    states: dict[int, ShardState] = field(default_factory=dict)
    timers: set[tuple[int, int]] = field(default_factory=set)

    def of(self, key: int) -> ShardState:
        if key not in self.states:
            self.states[key] = ShardState(MemoryBlobs(), MemoryBlobs(), MemoryValue(), MemoryValue())
        return self.states[key]

    def bytes_kept(self) -> int:
        """Bytes that windows keep of rows."""
        return sum(len(blob) for state in self.states.values() for _, blob in state.kept.items())
