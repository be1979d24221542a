"""Names operators that have state by what they are for, so that another plan finds it again.

Flink's planner numbers them, on from the last number of its process: one more output, or one more job, and a
savepoint would fit no more. See `flink_jobs.plan.state` for what the names say.

Operators without state are in savepoints too, by the most instances that their task can have. So that another
plan takes none of them for one of its own, which may have more instances, the plan is in their names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from flink_jobs.plan.state import LABEL_JOIN, LABELS_FIRST, reads, writes

_NUMBERED = re.compile(r"\d+_(?P<kind>[a-z-]+)")


def name_operators(environment: Any) -> None:
    """Names what is in the environment, which is ready to execute."""
    found = [(each, each.getUid() or "", each.getName()) for each in transformations_of(environment)]
    plan = layout((uid, name, each.getMaxParallelism()) for each, uid, name in found)
    for transformation, before, name in found:
        if numbered := _NUMBERED.fullmatch(before):
            transformation.setUid(_uid(numbered["kind"], name) or f"flink-{plan}-{before}")


def layout(operators: Iterable[tuple[str, str, int]]) -> str:
    """Tells plans apart that differ in operators, by their names in Flink, own names and most instances."""
    return hashlib.sha256(repr(sorted(operators)).encode()).hexdigest()[:12]


def _uid(kind: str, name: str) -> str | None:
    """None for an operator without state."""
    match kind:
        case "sink":
            return writes(name.partition("[")[0])
        case "kafka":
            return reads(name.rpartition(".")[2])
        case "interval-join":
            return LABEL_JOIN
        case "over-aggregate":
            return LABELS_FIRST
    return None


def transformations_of(environment: Any) -> Iterator[Any]:
    """All that the environment, which is ready to execute, is made of; each once."""
    seen = set()
    for last in list(environment._j_stream_execution_environment.getTransformations()):
        for transformation in list(last.getTransitivePredecessors()):
            if transformation.getId() not in seen:
                seen.add(transformation.getId())
                yield transformation
