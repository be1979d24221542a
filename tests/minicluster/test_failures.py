"""A job that cannot go on ends at once, with the worker's own traceback and without a restart loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
import requests

from flink_jobs.errors import JobFailedError
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import ClientSettings, count_committed, produce, read_topic
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.topics import output_topics
from flink_jobs.run import preflight
from flink_jobs.run.program import RunningJob, Target, start
from flink_jobs.system.processes import wait_until
from flink_jobs.testing import record
from tests.helpers import crashing
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


def crashing_plan(kafka: ClientSettings, topic: str, root: Path, more: str = "") -> Plan:
    """A job with a model that takes its worker down on one value."""
    cloudpickle.register_pickle_by_value(crashing)
    crashing.write(root / "models", cloudpickle.dumps(crashing.Crashing()))
    text = JOB.replace(", town: string", "").replace("name: m,", "name: crashing, use: 1,")
    lines = [line for line in text.splitlines() if not line.startswith("features")]
    environ = {"BROKERS": kafka.brokers, "TOPIC": topic}
    plan = make_plan(load_job_text("\n".join([*lines, more]), "job.yaml", root, environ))
    preflight.check(plan)
    return plan


def test_a_record_that_crashes_the_model_is_a_dead_letter_when_the_job_comes_again(
    kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    """Native code calls abort(): the worker's process is gone, with no exception to find the record by."""
    topic = new_topic()
    produce(kafka, topic, [record({"x": x}) for x in (1.0, crashing.DEADLY, 2.0, 3.0)])
    plan = crashing_plan(kafka, topic, tmp_path)
    failure(plan, kafka)
    topics = output_topics(plan.job)
    with start(plan, Target()) as running:
        wait_until(
            lambda: bool(running.ended() or sum(count_committed(kafka, t) for t in topics.values()) == 4),
            120,
            0.5,
        )
        running.finish()
        running.wait()
    (dead,) = read_topic(kafka, topics["dead_letters"])
    assert dead.value == record({"x": crashing.DEADLY}).value
    assert dict(dead.headers)["tailrace.reason"] == b"model_crash"
    assert count_committed(kafka, topics["predictions"]) == 3


RESTARTED = """
predictions: {include: [x]}
runtime:
  parallelism: 2
  checkpoint: {interval: 500ms}
  flink:
    restart-strategy.type: exponential-delay
    restart-strategy.exponential-delay.initial-backoff: 100 ms
    restart-strategy.exponential-delay.max-backoff: 1 s
    restart-strategy.exponential-delay.attempts-before-reset-backoff: 20
"""


def test_flink_restarts_a_job_whose_model_crashes_until_each_record_has_its_outcome(
    kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    """The same job goes on: deadly records in both partitions, at once and later, among others in flight."""
    topic = new_topic(2)
    plan = crashing_plan(kafka, topic, tmp_path, RESTARTED)
    deadly = record({"x": crashing.DEADLY})
    good = [float(number) for number in range(100, 400)]
    messages = [record({"x": x}, key=str(x)) for x in good]
    first = [*messages[:50], deadly, *messages[50:100], deadly, *messages[100:150]]
    produce(kafka, topic, first)
    topics = output_topics(plan.job)

    def written() -> int:
        return sum(count_committed(kafka, name) for name in topics.values())

    with start(plan, Target()) as running:
        assert wait_until(lambda: bool(running.ended() or written() == len(first)), 200, 0.5)
        produce(kafka, topic, [*messages[150:], deadly])
        assert wait_until(lambda: bool(running.ended() or written() == len(good) + 3), 200, 0.5)
        restarts = restarts_of(running)
        assert not running.ended()
        running.finish()
        running.wait()
    # Each death is one restart; that of the trial process of a suspected record is none.
    assert 2 <= restarts <= 3
    predicted = [json.loads(message.value or b"") for message in read_topic(kafka, topics["predictions"])]
    assert sorted(line["x"] for line in predicted) == good
    assert all(line["prediction"] == line["x"] for line in predicted)
    dead = list(read_topic(kafka, topics["dead_letters"]))
    assert [message.value for message in dead] == [deadly.value] * 3
    assert {dict(message.headers)["tailrace.reason"] for message in dead} == {b"model_crash"}


def restarts_of(running: RunningJob) -> int:
    """The failures that Flink itself has noted, each with its restart."""
    answer = requests.get(f"{running.cluster.url}/jobs/{running.id}/exceptions", timeout=30).json()
    return len(answer["exceptionHistory"]["entries"])
