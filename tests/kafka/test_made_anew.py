"""A savepoint and the topic it is of, which a real broker deletes and makes anew."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.cli.submit import check_savepoint
from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.kafka import ClientSettings, Message, create_topics, produce, topic_id
from flink_jobs.kafka.admin import connect
from flink_jobs.plan import make_plan
from flink_jobs.plan.state import state_of
from flink_jobs.run.savepoints import leave_state
from flink_jobs.spec import JobSpec
from flink_jobs.system.processes import wait_until
from tests.helpers.samples import write_model

JOB = """
job: NAME
kafka: {brokers: "BROKERS"}
source: {topic: NAME, schema: {x: {type: double, required: true}}}
model: {name: m}
"""


@pytest.fixture
def name() -> str:
    return f"gone-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def job(kafka: ClientSettings, tmp_path: Path, name: str) -> JobSpec:
    write_model(tmp_path / "models", "m", "x")
    file = tmp_path / "job.yaml"
    file.write_text(JOB.replace("NAME", name).replace("BROKERS", kafka.brokers))
    return load_job(file, {})


def test_a_savepoint_is_not_taken_to_a_topic_that_was_made_anew(
    kafka: ClientSettings, tmp_path: Path, job: JobSpec, name: str
) -> None:
    """Its offsets are of other records; and a topic that is as it was is taken, after a broker's word."""
    create_topics(kafka, {name: 2})
    before = topic_id(kafka, name)
    assert leave_state(str(tmp_path), state_of(make_plan(job), topic_id=before))
    plan, planned = make_plan(job), ["plan", str(tmp_path / "job.yaml"), "--savepoint", str(tmp_path)]
    check_savepoint(plan, str(tmp_path), [], topic_id(kafka, name))
    produce(kafka, name, [Message(b"{}")] * 10)
    check_savepoint(plan, str(tmp_path), [], topic_id(kafka, name))
    assert CliRunner().invoke(app, planned).exit_code == 0
    admin = connect(kafka)  # kept, or nobody answers
    admin.delete_topics([name])[name].result()
    assert wait_until(lambda: topic_id(kafka, name) == "", 30, 0.2)
    create_topics(kafka, {name: 2})
    assert wait_until(lambda: topic_id(kafka, name) != "", 30, 0.2)
    with pytest.raises(InputError, match=f"{name}: the topic was deleted and made anew .*submit --again"):
        check_savepoint(plan, str(tmp_path), [], topic_id(kafka, name))
    told = CliRunner().invoke(app, planned)
    assert told.exit_code == 2
    assert "refused: the topic was deleted and made anew since" in told.stdout


def test_a_savepoint_of_before_topics_had_ids_is_taken(tmp_path: Path, job: JobSpec) -> None:
    plan = make_plan(job)
    assert leave_state(str(tmp_path), state_of(plan))
    check_savepoint(plan, str(tmp_path), [], "other")
    check_savepoint(plan, str(tmp_path / "none"), [], "other")
