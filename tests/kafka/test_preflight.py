"""What is checked with a real broker before a job starts."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import ClientSettings, describe_topics
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.flink_options import largest_message
from flink_jobs.plan.topics import output_topics
from flink_jobs.run import preflight
from flink_jobs.run.cluster import JobInfo
from flink_jobs.run.preflight import ClusterState
from flink_jobs.spec import JobSpec
from tests.helpers.samples import write_model

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan_of(kafka: ClientSettings, new_topic: Callable[..., str], tmp_path: Path) -> MakePlan:
    """A plan that reads a topic of its own: plan_of(partitions=1, **sections)."""
    write_model(tmp_path, "tiny", "a")

    def make(partitions: int = 1, topic: str | None = None, **sections: Any) -> Plan:
        job = {
            "job": f"job-{uuid.uuid4().hex[:8]}",
            "source": {
                "topic": topic or new_topic(partitions),
                "schema": {"a": {"type": "double", "required": True}},
            },
            "model": {"name": "tiny", "registry": str(tmp_path)},
            "kafka": {"brokers": kafka.brokers},
        }
        return make_plan(JobSpec.model_validate(job | sections))

    return make


def test_missing_output_topics_are_created_like_the_source(kafka: ClientSettings, plan_of: MakePlan) -> None:
    plan = plan_of(partitions=3)
    found = preflight.check(plan)
    names = sorted(output_topics(plan.job).values())
    assert (found.partitions, list(found.created), found.warnings) == (3, names, ())
    limit = largest_message(plan.job.source.max_bytes)
    for topic in describe_topics(kafka, names).values():
        assert topic is not None
        assert (topic.partitions, topic.max_message_bytes) == (3, limit)
    assert preflight.check(plan).created == ()


def test_a_missing_source_is_not_created(kafka: ClientSettings, plan_of: MakePlan) -> None:
    plan = plan_of()
    near = plan.job.source.topic
    plan = plan_of(topic=near + "x")
    with pytest.raises(InputError, match=f"source.topic: no topic '{near}x' .*did you mean '{near}'"):
        preflight.check(plan)
    names = [near + "x", *output_topics(plan.job).values()]
    assert set(describe_topics(kafka, names).values()) == {None}


def test_without_create_topics_all_missing_ones_are_listed(kafka: ClientSettings, plan_of: MakePlan) -> None:
    plan = plan_of(kafka={"brokers": kafka.brokers, "create_topics": False})
    with pytest.raises(InputError) as raised:
        preflight.check(plan)
    assert all(name in str(raised.value) for name in output_topics(plan.job).values())


def test_topics_for_whole_records_must_take_them(plan_of: MakePlan, new_topic: Callable[..., str]) -> None:
    small, other = new_topic(max_message_bytes="1000000"), new_topic()
    plan = plan_of(dead_letters={"topic": small}, predictions={"topic": other})
    needed = largest_message(plan.job.source.max_bytes)
    with pytest.raises(InputError) as raised:
        preflight.check(plan)
    assert str(raised.value) == (
        f"dead_letters.topic: max.message.bytes of {small} must be at least {needed}, since whole records "
        "are written there; got 1000000"
    )


def test_transactions_must_fit_the_brokers_and_the_checkpoints(
    kafka: ClientSettings, plan_of: MakePlan
) -> None:
    def kafka_with(timeout: str) -> dict[str, Any]:
        return {"brokers": kafka.brokers, "properties": {"transaction.timeout.ms": timeout}}

    with pytest.raises(InputError, match=r"transaction.timeout.ms must be at most 900000, .*; got 900001"):
        preflight.check(plan_of(kafka=kafka_with("900001")))
    with pytest.raises(InputError, match=r"transaction.timeout.ms must be milliseconds; got '1 h'"):
        preflight.check(plan_of(kafka=kafka_with("1 h")))
    slow = {"checkpoint": {"interval": "8m"}}
    with pytest.raises(InputError, match=r"runtime.checkpoint.interval must be less than half .*\(15m\).*8m"):
        preflight.check(plan_of(runtime=slow))
    plan = plan_of(kafka=kafka_with("900001"), runtime={"delivery": "at_least_once", **slow})
    assert preflight.check(plan).created


def test_idle_instances_and_records_too_large_to_keep_are_warnings(
    plan_of: MakePlan, new_topic: Callable[..., str]
) -> None:
    found = preflight.check(plan_of(partitions=2, runtime={"parallelism": 5}))
    [idle] = found.warnings
    assert "has only 2 partitions: 3 source instances will be idle" in idle
    [large] = preflight.check(plan_of(topic=new_topic(max_message_bytes="9000000"))).warnings
    assert "takes records of up to 9000000 bytes" in large


def test_no_broker_is_said_within_seconds(plan_of: MakePlan) -> None:
    with pytest.raises(WorkError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        preflight.check(plan_of(topic="t", kafka={"brokers": "127.0.0.1:1"}))


READY = ClusterState("http://flink:8081", "2.3.0", 3, (), {"execution.checkpointing.dir": "s3://b/c"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        (
            {"free_slots": 2},
            r"parallelism must be at most the free task slots of http://flink:8081, 2; got 3",
        ),
        ({"settings": {}}, r"runtime\.checkpoint\.dir must be given, as http://flink:8081 has no"),
        ({"settings": {"execution.checkpointing.dir": ""}}, r"runtime\.checkpoint\.dir must be given"),
        ({"settings": {"state.checkpoints.dir": "file:///c"}}, None),
        ({"version": "2.3.1"}, None),
        ({"version": "1.20.1"}, r"must be Flink 2\.3\.0, as here; got 1\.20\.1"),
        ({"running": (JobInfo("1f2e", "pay", "RESTARTING", 0, 1),)}, r"runs on .* as 1f2e; .*stop 1f2e"),
        ({"running": (JobInfo("1f2e", "pays", "RUNNING", 0, 1),)}, None),
    ],
)
def test_what_a_cluster_must_have(plan_of: MakePlan, changes: dict[str, Any], message: str | None) -> None:
    plan = plan_of(topic="t", job="pay", runtime={"parallelism": 3})
    state = dataclasses.replace(READY, **changes)
    if message is None:
        preflight.check_cluster(plan, state)
    else:
        with pytest.raises(InputError, match=message):
            preflight.check_cluster(plan, state)


def test_a_checkpoint_dir_of_the_job_is_enough(plan_of: MakePlan) -> None:
    plan = plan_of(topic="t", runtime={"checkpoint": {"dir": "s3://mine/c"}})
    preflight.check_cluster(plan, dataclasses.replace(READY, settings={}))
