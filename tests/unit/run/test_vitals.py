"""How a job does, from answers of a real Flink whose TaskManager was killed.

The adversary is Flink's own word: it calls a job RUNNING for which no TaskManager is there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flink_jobs.run.vitals import (
    Answers,
    Lag,
    Vitals,
    answers_of,
    in_words,
    last_failure,
    newest_checkpoint,
    read_up_to,
    vitals,
)
from tests.helpers.recorded_flink import MOMENTS, RecordedCluster


def answers(moment: str) -> Answers:
    cluster: Any = RecordedCluster(moment)
    return answers_of(cluster, cluster.jobs()[0].id)


def seen(moment: str, lag: list[Lag] | None = None) -> Vitals:
    return vitals(answers(moment), lag, RecordedCluster(moment).now)


def test_a_job_that_runs() -> None:
    found = seen("running", [Lag(0, 3, 1.5), Lag(1, 4, 0.5)])
    assert (found.name, found.state, found.words, found.healthy) == ("alive", "running", "", True)
    assert (found.restarts, found.failure, found.waiting, found.pending) == (0, None, 7, 0)
    assert 40 < found.uptime_s < 50
    # 2,001 records were sent, one of them late.
    assert found.rate_in == pytest.approx(33.35)
    assert found.late_share == pytest.approx(1 / 1_900)
    assert found.dead_share == 0
    assert found.checkpoint is not None
    assert (found.checkpoint.bytes, found.checkpoint.failed) == (58_094, 8)
    assert found.checkpoint.path.endswith("/chk-10")
    assert found.watermark_behind_s == pytest.approx((RecordedCluster("running").now - 1795895453357) / 1000)


def test_what_was_read_by_partition() -> None:
    assert read_up_to(answers("running").metrics) == {0: 1_001, 1: 1_000}


def test_offsets_of_labels_are_not_those_of_records() -> None:
    metric = (
        "Source__KafkaSource-default_catalog_default_database_labels.KafkaSourceReader.topic.a.partition.0"
    )
    assert read_up_to({"v": {f"{metric}.currentOffset": 7.0}}) == {}


def test_a_lost_taskmanager_is_not_noticed_at_once() -> None:
    assert seen("unnoticed").state == "running"


def test_flink_says_so_while_it_restarts() -> None:
    found = seen("restarting")
    assert (found.state, found.healthy) == ("restarting", False)
    assert found.words == "it waits for a TaskManager: none is registered"


@pytest.mark.parametrize("moment", sorted(set(MOMENTS) & {"alone", "still alone"}))
def test_a_job_that_flink_calls_running_with_no_taskmanager(moment: str) -> None:
    found = answers(moment)
    assert found.job["state"] == "RUNNING"
    told = seen(moment)
    assert (told.state, told.healthy, told.uptime_s) == ("no TaskManager", False, 0.0)
    assert told.words == "Flink calls it running; it waits for a TaskManager: none is registered"
    assert told.failure is not None
    assert told.failure.reason == "a TaskManager was lost (127.0.0.1:37089-12835b)"
    assert (told.rate_in, told.rate_out) == (None, None)


def test_a_taskmanager_that_is_silent_is_not_there() -> None:
    """A frozen machine: it is registered, and says nothing."""
    found, now = answers("alone"), RecordedCluster("alone").now
    silent = {"timeSinceLastHeartbeat": now - 60_000, "slotsNumber": 2}
    told = vitals(dataclasses.replace(found, taskmanagers=[silent]), None, now)
    assert told.state == "no TaskManager"
    assert "1 silent for more than 30 s" in told.words


def test_too_few_slots() -> None:
    found, now = answers("alone"), RecordedCluster("alone").now
    small = {"timeSinceLastHeartbeat": now, "slotsNumber": 1}
    told = vitals(dataclasses.replace(found, taskmanagers=[small]), None, now)
    assert (told.state, told.words) == ("waiting", "it waits for 2 task slots; the TaskManagers have 1")


def test_tasks_that_start() -> None:
    found, now = answers("running"), RecordedCluster("running").now
    job = {**found.job, "status-counts": {"RUNNING": 3, "INITIALIZING": 1, "CREATED": 0}}
    told = vitals(dataclasses.replace(found, job=job), None, now)
    assert (told.state, told.words, told.healthy) == ("starting", "tasks: 1 initializing, 3 running", False)


@pytest.mark.parametrize(("state", "healthy"), [("FAILED", False), ("FINISHED", True), ("CANCELED", True)])
def test_a_job_that_has_ended(state: str, healthy: bool) -> None:
    found, now = answers("running"), RecordedCluster("running").now
    told = vitals(dataclasses.replace(found, job={**found.job, "state": state}), None, now)
    assert (told.state, told.healthy, told.uptime_s) == (state.lower(), healthy, 0.0)


TRACES = {
    "java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id 10.0.0.7:6122-ab timed out.": (
        "a TaskManager was lost (10.0.0.7:6122-ab)"
    ),
    "x.RemoteTransportException: Connection unexpectedly closed by remote task manager '10.0.0.7:6121'.": (
        "a TaskManager was lost (10.0.0.7:6121)"
    ),
    "x.JobException: Recovery is suppressed\nCaused by: y.NoResourceAvailableException: Could not acquire": (
        "no TaskManager had free slots for the tasks"
    ),
    "x.FlinkRuntimeException: Exceeded checkpoint tolerable failure threshold.": (
        "too many checkpoints failed in a row"
    ),
    'x.A: outer\nCaused by: x.B: Traceback (most recent call last):\n  File "a.py"\nValueError: no\n\tat x': (
        "ValueError: no"
    ),
}


@pytest.mark.parametrize("trace", TRACES)
def test_failures_in_words(trace: str) -> None:
    assert in_words(trace) == TRACES[trace]


def test_before_the_first_failure_and_checkpoint_there_is_none() -> None:
    assert last_failure({"exceptionHistory": {"entries": []}}) is None
    assert last_failure({}) is None
    assert newest_checkpoint({"latest": {"completed": None, "savepoint": None}}) is None
    assert newest_checkpoint({}) is None
