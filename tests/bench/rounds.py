"""Runs contenders in turn, round by round, and sums up: medians, least, greatest, ratios within a round."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.contenders import CONTENDERS, Contender, Work, command
from tests.bench.data import load_topic
from tests.bench.measure import Run, run

BARE = "bare"
Spread = dict[str, float]
Measures = dict[str, Spread]
Runs = dict[str, list[Run]]
# Of one run; ratios to another run of the same round are `RATIOS`.
VALUES: Mapping[str, Callable[[Run], float]] = {
    "records_per_s": lambda done: done.rate,
    "cpu_s_per_million": lambda done: done.cpu_per_million,
    "startup_s": lambda done: done.startup,
    "seconds": lambda done: done.seconds,
    "cpu_s_in_all": lambda done: done.cpu_in_all,
    "worker_mb": lambda done: done.memory.worker,
    "jvm_mb": lambda done: done.memory.jvm,
}
RATIOS = {"ratio_to_bare": "records_per_s", "cpu_ratio_to_bare": "cpu_s_per_million"}


def run_rounds(
    brokers: str,
    registry: Path,
    names: Sequence[str],
    records: int,
    rounds: int,
    tell: Callable[[str], None],
) -> Runs:
    """Loads what they read, then runs all of them in each round, the other way round in every second one."""
    contenders = [CONTENDERS[name] for name in names]
    _load(brokers, contenders, records)
    runs: Runs = {name: [] for name in names}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            done = run_once(brokers, registry, contender, records)
            runs[contender.name].append(done)
            tell(
                f"round {number + 1} {contender.name}: {done.rate:,.0f} records/s, "
                f"{done.cpu_per_million:.1f} CPU s per million; first output after {done.startup:.1f} s, "
                f"{done.seconds:.1f} s in all"
            )
    return runs


def run_once(brokers: str, registry: Path, contender: Contender, loaded: int) -> Run:
    """One run with outputs of its own; raises WrongCountError if they do not add up."""
    name = f"{contender.name}-{uuid.uuid4().hex[:8]}"
    work = Work(brokers, str(registry), name, contender.topic, contender.records(loaded))
    return run(command(contender, work), brokers, name, work.records, some=contender.share < 1)


def _load(brokers: str, contenders: Iterable[Contender], records: int) -> None:
    for topic, stream in {each.topic: each.stream for each in contenders}.items():
        load_topic(brokers, stream(records), topic)


def summary(runs: Runs) -> dict[str, Measures]:
    """Contender to measure to median, min and max."""
    return {name: _measures(done, runs.get(BARE)) for name, done in runs.items()}


def _measures(done: list[Run], bare: list[Run] | None) -> Measures:
    found = {name: spread([value(one) for one in done]) for name, value in VALUES.items()}
    if bare:
        found |= {name: spread(ratios(done, bare, value)) for name, value in RATIOS.items()}
    return found


def ratios(done: list[Run], base: list[Run], measure: str) -> list[float]:
    """Round by round."""
    value = VALUES[measure]
    return [value(one) / (value(other) or float("nan")) for one, other in zip(done, base, strict=True)]


def spread(values: Sequence[float]) -> Spread:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
