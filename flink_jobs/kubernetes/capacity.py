"""Says what a job needs for a rate of records: slots, TaskManagers, memory.

>>> needs = needed(50_000, Cost(python=20.0, flink=11.0, windows=9.0), memory_of(Measured(2**28, 2**28)))
>>> needs.parallelism, round(needs.load, 2), needs.per_slot
(4, 0.5, 25000)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flink_jobs.errors import InputError
from flink_jobs.kubernetes.sizes import Measured, Memory, memory_of
from flink_jobs.plan.window_stages import SHARDS_OF_WINDOWS
from flink_jobs.system.data import data_file

# A slot that is busier has nothing left for a peak, a restart, or what waited meanwhile.
HIGHEST_LOAD = 0.6
BENCHMARKS = "docs/benchmarks.json"

__all__ = ["Cost", "Measured", "Needs", "cost_of_flink", "memory_of", "needed"]


@dataclass(frozen=True)
class Cost:
    """CPU seconds for a million records: in Python without windows, in Flink, and in windows."""

    python: float
    flink: float = 0.0
    windows: float = 0.0

    @property
    def total(self) -> float:
        return self.python + self.flink + self.windows


@dataclass(frozen=True)
class Needs:
    """`per_slot` is what a slot can do at most, `load` how busy each is at the rate."""

    rate: float
    parallelism: int
    per_slot: int
    load: float
    memory: Memory
    cpu: float

    @property
    def catch_up_minutes(self) -> float:
        """How long after an hour away the job has read what waited."""
        return 60 * self.load / (1 - self.load)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "records_per_second": self.rate,
            "parallelism": self.parallelism,
            "task_managers": self.parallelism,
            "slots_per_task_manager": 1,
            "cpu": self.cpu,
            "memory_mib": self.memory.total,
            "python_memory_mib": self.memory.python,
            "records_per_second_of_a_slot": self.per_slot,
            "load": round(self.load, 3),
            "minutes_to_catch_up_after_an_hour": round(self.catch_up_minutes, 1),
        }


def needed(rate: float, cost: Cost, memory: Memory, *, windows: bool = False, cpu: float = 1.0) -> Needs:
    """One slot per TaskManager, of so many cores, none busier than HIGHEST_LOAD.

    Raises InputError for a rate that windows cannot be spread for.
    """
    per_slot = cpu * 1e6 / cost.total
    parallelism = max(1, math.ceil(rate / (per_slot * HIGHEST_LOAD)))
    if windows and parallelism > SHARDS_OF_WINDOWS:
        most = int(SHARDS_OF_WINDOWS * per_slot * HIGHEST_LOAD)
        raise InputError(
            f"{rate:,.0f} records/s need {parallelism} slots, and windows can be spread over at most "
            f"{SHARDS_OF_WINDOWS}, which take {most:,} with {cpu:g} cores each"
        )
    return Needs(rate, parallelism, int(per_slot), rate / (per_slot * parallelism), memory, cpu)


def cost_of_flink(python: float, *, windows: bool) -> Cost:
    """With what Flink and windows took in the benchmarks that come with this version.

    Raises InputError where these are not there.
    """
    try:
        found: Mapping[str, Any] = json.loads(data_file(BENCHMARKS).read_text())["contenders"]
        spent = {name: float(each["cpu_s_per_million"]["median"]) for name, each in found.items()}
        added = spent["windowed"] - spent["stateless"] if windows else 0.0
        return Cost(python, spent["java"], max(0.0, added))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{BENCHMARKS} does not say what Flink takes ({error}): give --records-per-second of a slot"
        ) from None
