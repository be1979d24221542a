"""A job that cannot go on ends at once, with the worker's own traceback and without a restart loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flink_jobs.errors import JobFailedError
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed, produce
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.topics import output_topics
from flink_jobs.run import preflight
from flink_jobs.run.program import Target, start
from flink_jobs.testing import record
from tests.helpers.samples import write_model

JOB = """
job: failing-${TOPIC}
kafka: {brokers: "${BROKERS}"}
source: {topic: "${TOPIC}", schema: {x: {type: double, required: true}, town: string}}
features: {lookups: {towns: {file: towns.csv, by: town, key: name, select: [people]}}}
model: {name: m, registry: models}
"""


@pytest.fixture
def plan(kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path) -> Plan:
    """A job with no end to its topic, so that it ends by itself only if it fails."""
    write_model(tmp_path / "models", "m", "x")
    (tmp_path / "towns.csv").write_text("name,people\nrome,2800\n")
    topic = new_topic()
    produce(kafka, topic, [record({"x": 1.0, "town": "rome"})])
    environ = {"BROKERS": kafka.brokers, "TOPIC": topic}
    plan = make_plan(load_job_text(JOB, "job.yaml", tmp_path, environ))
    preflight.check(plan)
    return plan


def failure(plan: Plan, kafka: ClientSettings) -> JobFailedError:
    with pytest.raises(JobFailedError) as raised, start(plan, Target()) as running:
        running.wait()
    assert [count_committed(kafka, topic) for topic in output_topics(plan.job).values()] == [0, 0, 0]
    return raised.value


def test_a_model_that_was_changed_after_planning(plan: Plan, kafka: ClientSettings, tmp_path: Path) -> None:
    changed = tmp_path / "models" / "m" / "versions" / "1" / "model.joblib"
    changed.chmod(0o600)
    changed.write_bytes(changed.read_bytes() + b"!")
    error = failure(plan, kafka)
    assert f"{changed} was changed: its SHA-256 must be {plan.manifest.files['model.joblib']}; got" in str(
        error
    )
    assert error.worker_traceback is not None
    assert error.worker_traceback.startswith("Traceback (most recent call last):")
    assert "in load_version" in error.worker_traceback


def test_a_lookup_file_that_is_gone_after_planning(plan: Plan, kafka: ClientSettings, tmp_path: Path) -> None:
    (tmp_path / "towns.csv").unlink()
    error = failure(plan, kafka)
    assert "towns.csv" in str(error)
    assert error.worker_traceback is not None
    assert "lookup" in error.worker_traceback
