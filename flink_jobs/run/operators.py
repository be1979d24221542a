"""Names operators that have state by what they are for, so that another plan finds it again.

Flink's planner numbers them, on from the last number of its process: one more output, or one more job, and a
savepoint would fit no more. See `flink_jobs.plan.state` for what the names say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flink_jobs.plan.state import LABEL_JOIN, LABELS_FIRST, reads, writes

_NUMBERED = re.compile(r"\d+_(?P<kind>[a-z-]+)")


def name_operators(environment: Any) -> None:
    """Names what is in the environment, which is ready to execute."""
    for transformation in transformations_of(environment):
        numbered = _NUMBERED.fullmatch(transformation.getUid() or "")
        if numbered and (uid := _uid(numbered["kind"], transformation.getName())):
            transformation.setUid(uid)


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
