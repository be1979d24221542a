"""A savepoint and the topic it is of, which a real broker deletes and makes anew."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from flink_jobs.cli.submit import require_same_topic
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
    require_same_topic(job, str(tmp_path), topic_id(kafka, name))
    produce(kafka, name, [Message(b"{}")] * 10)
    require_same_topic(job, str(tmp_path), topic_id(kafka, name))
    admin = connect(kafka)  # kept, or nobody answers
    admin.delete_topics([name])[name].result()
    assert wait_until(lambda: topic_id(kafka, name) == "", 30, 0.2)
    create_topics(kafka, {name: 2})
    assert wait_until(lambda: topic_id(kafka, name) != "", 30, 0.2)
    with pytest.raises(InputError, match=f"{name} was deleted and made anew since .*submit --again"):
        require_same_topic(job, str(tmp_path), topic_id(kafka, name))


def test_a_savepoint_of_before_topics_had_ids_is_taken(tmp_path: Path, job: JobSpec) -> None:
    assert leave_state(str(tmp_path), state_of(make_plan(job)))
    require_same_topic(job, str(tmp_path), "other")
    require_same_topic(job, str(tmp_path / "none"), "other")
