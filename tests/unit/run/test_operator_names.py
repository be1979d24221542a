"""Operators' names in savepoints, against a plan with one more operator, by which Flink's numbers move on.

Seed 605 of the proof's upgrade: what was number 29 had one instance at most, and in the next release two, so
that Flink refused the savepoint for an operator that has no state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flink_jobs.run.operators import name_operators


@dataclass
class Operator:
    """As much of Flink's Transformation."""

    number: int
    uid: str | None
    name: str
    most: int = -1
    before: list[Operator] = field(default_factory=list)

    def getId(self) -> int:  # noqa: N802
        return self.number

    def getUid(self) -> str | None:  # noqa: N802
        return self.uid

    def setUid(self, uid: str) -> None:  # noqa: N802
        self.uid = uid

    def getName(self) -> str:  # noqa: N802
        return self.name

    def getMaxParallelism(self) -> int:  # noqa: N802
        return self.most

    def getTransitivePredecessors(self) -> list[Operator]:  # noqa: N802
        return [self, *self.before]


class Environment:
    """One whose last operators are these."""

    def __init__(self, last: list[Operator]) -> None:
        self._j_stream_execution_environment: Any = self
        self.last = last

    def getTransformations(self) -> list[Operator]:  # noqa: N802
        return self.last


def named(shift: int, monitored: int) -> set[str | None]:
    """Names of a plan with so many operators before, in which the monitor has so many instances at most."""
    source = Operator(1, "1_kafka", "Source: KafkaSource-default_catalog.default_database.source")
    table = Operator(2, f"{2 + shift}_external-datastream", "TableToDataStream", before=[source])
    monitor = Operator(3, "tailrace-monitor", "monitor", monitored, [table])
    reports = Operator(4, f"{3 + shift}_external-datastream", "DataStreamToTable", before=[monitor, table])
    sink = Operator(5, f"{4 + shift}_sink", f"drift[{4 + shift}]: Writer", before=[reports, monitor, table])
    keyed = Operator(6, None, "_stream_key_by_map_operator", before=[source])
    name_operators(Environment([sink, keyed]))
    return {each.uid for each in (source, table, monitor, reports, sink, keyed)}


def test_only_what_has_state_has_its_name_in_another_plan() -> None:
    stateful = {"tailrace-from-source", "tailrace-monitor", "tailrace-to-drift"}
    first = named(0, 1)
    assert len(first) == 6
    assert named(0, 1) == first
    for other in (named(1, 1), named(-1, 1), named(0, 4)):
        assert other & first == stateful | {None}
