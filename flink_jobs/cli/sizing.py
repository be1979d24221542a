"""What a job needs for a rate of records, for `tailrace plan --size` and `tailrace k8s render --size`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.kubernetes import Measured, memory_of
from flink_jobs.kubernetes.capacity import BENCHMARKS, Cost, Needs, cost_of_flink, needed
from flink_jobs.kubernetes.speed import made_up, measured_speed
from flink_jobs.plan import Plan
from flink_jobs.registry import Registry
from flink_jobs.registry.footprint import footprint
from flink_jobs.system.log import configure_logging

_MADE_UP = 20_000
_MOST_RECORDS = 100_000


@dataclass(frozen=True)
class Sized:
    """What is needed, and in words how that is known."""

    needs: Needs
    cost: Cost | None
    how: tuple[str, ...]

    def as_data(self, job: str) -> dict[str, object]:
        """For JSON."""
        spent = {"cpu_s_per_million": vars(self.cost)} if self.cost else {}
        return {"schema": "tailrace.size/1", "job": job, **self.needs.as_data(), **spent, "how": [*self.how]}

    def text(self, plan: Plan) -> str:
        """For people."""
        needs, topic = self.needs, plan.job.masks.hide(plan.job.source.topic)
        slots = f"{needs.parallelism} TaskManager{'s' * (needs.parallelism != 1)}"
        rows = (
            ("parallelism", f"{needs.parallelism} (the job file says {plan.job.runtime.parallelism})"),
            ("TaskManagers", f"{slots}, each one slot, {needs.cpu:g} core, {needs.memory.total:,} MiB"),
            ("memory", f"{needs.memory.python:,} MiB of each are Python's, by the model's measured size"),
            ("a slot", f"at most {needs.per_slot:,} records/s, and {needs.load:.0%} busy"),
            ("partitions", f"at least {needs.parallelism} in {topic}, or slots have nothing to do"),
            ("an hour away", f"is caught up in {needs.catch_up_minutes:.0f} minutes"),
        )
        lines = [f"For {needs.rate:,.0f} records/s", *(f"  {name:<14}{value}" for name, value in rows)]
        return "\n".join([*lines, *(f"  {line}" for line in self.how), ""])


def sized(
    plan: Plan,
    rate: float,
    *,
    records: Path | None = None,
    records_per_second: float | None = None,
    cpu: float = 1.0,
    memory: Measured | None = None,
) -> Sized:
    """Raises InputError where the speed is not known and cannot be measured."""
    windows = bool(plan.job.features.windows)
    where = Registry(plan.job.model.registry).location(plan.manifest.name, plan.manifest.version)
    size = memory_of(memory or Measured(*footprint(where)))
    if records_per_second:
        cost = Cost(cpu * 1e6 / records_per_second)
        found = needed(rate, cost, size, windows=windows, cpu=cpu)
        return Sized(found, None, (f"as --records-per-second {records_per_second:,.0f} of a slot says",))
    configure_logging()  # standard output is the answer's
    lines = _lines(records) if records else made_up(plan.job.source, _MADE_UP)
    spent = measured_speed(plan, lines)
    cost = cost_of_flink(spent.cpu_s_per_million, windows=windows)
    origin = str(records) if records else "made-up ones"
    dead = f", {spent.dead:.0%} of them dead letters" if spent.dead else ""
    how = [
        f"Python: {cost.python:.1f} s of CPU for a million records, measured here in batches of "
        f"{spent.batch:,}, on {origin}{dead}",
        f"Flink: {cost.flink:.1f} s{f', windows {cost.windows:.1f} s' if windows else ''} ({BENCHMARKS}, of "
        "another job and machine)",
    ]
    return Sized(needed(rate, cost, size, windows=windows, cpu=cpu), cost, tuple(how))


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            lines = [line.rstrip(b"\r\n") for _, line in zip(range(_MOST_RECORDS), file, strict=False)]
    except OSError as error:
        raise InputError(f"--records: {path} must be a readable file; {error.strerror}") from None
    if not any(lines):
        raise InputError(f"--records: {path} must have a record in each line; got none")
    return [line for line in lines if line]
