"""Tailrace with all its promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flink_jobs.plan import make_plan
from flink_jobs.run.program import Target, start
from flink_jobs.spec import JobSpec
from tests.bench.contenders import Work
from tests.bench.data import job, window

CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "stateless": dict,
    "watched": lambda: {"drift": {"window": "1m"}},
    "windowed": lambda: {"features": window("card")},
    "windowed_100": lambda: {"features": window("shop")},
    "windowed_1000": lambda: {"features": window("city")},
    "windowed_10000": lambda: {"features": window("country")},
    "skewed": lambda: {"features": window("shop")},
    "backlog": lambda: {"features": window("shop", "1h")},
}


def tailrace(contender: str, work: Work) -> None:
    """The contender of this name."""
    changes = CHANGES[contender]()
    _run(job(work.brokers, work.registry, work.name, topic=work.topic, **changes))


def features(work: Work, count: int, drift: str) -> None:
    """So many features, with a model of their own; `drift` is on or off."""
    changes = {"drift": {"window": "1m"}} if drift == "on" else {}
    _run(job(work.brokers, work.registry, work.name, count, work.topic, **changes))


def _run(file: dict[str, Any]) -> None:
    with start(make_plan(JobSpec.model_validate(file), bounded=True), Target()) as running:
        running.wait()
