"""The jobs of the benchmark are ones that can be planned, with windows as their names say."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.plan import make_plan
from flink_jobs.spec import JobSpec
from tests.bench.contenders import CONTENDERS, Work, command
from tests.bench.contenders.tailrace import CHANGES
from tests.bench.data import ROWS_PER_KEY, job, write_model
from tests.bench.latency import JOBS

ELSEWHERE = {"bare", "bare_transactions", "quix", "pyflink", "java", "java_over"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "models"
    write_model(path)
    return path


@pytest.mark.parametrize("name", CHANGES)
def test_each_job_can_be_planned(name: str, registry: Path) -> None:
    """A key of the job file, or the meaning of one, has changed."""
    spec = JobSpec.model_validate(job("localhost:1", str(registry), name, **CHANGES[name]()))
    plan = make_plan(spec, bounded=True)
    assert spec.runtime.delivery == "exactly_once"
    assert bool(plan.drift) == (name == "watched")
    if name.startswith("windowed"):
        (window,) = spec.features.windows.values()
        (key,) = window.by
        assert ROWS_PER_KEY[key] == int(name.removeprefix("windowed").lstrip("_") or 12)


@pytest.mark.parametrize("name", JOBS)
def test_each_job_of_the_latencies_can_be_planned(name: str, registry: Path) -> None:
    make_plan(JobSpec.model_validate(job("localhost:1", str(registry), name, topic="s", **JOBS[name])))


def test_each_contender_is_something_to_run(registry: Path) -> None:
    assert {*CONTENDERS} == {*CHANGES, *ELSEWHERE}
    work = Work("localhost:1", str(registry), "a", "b", 5)
    assert work.model.exists()
    for contender in CONTENDERS.values():
        program = command(contender, work)
        assert contender.name in program or Path(program[1]).exists()
