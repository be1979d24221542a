"""Finds from where a topic is to be read once more, so that windows are whole when the job goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import structlog

from flink_jobs.errors import InputError
from flink_jobs.kafka import (
    ClientSettings,
    begin_offsets,
    committed_offsets,
    end_offsets,
    read_record,
    read_span,
)
from flink_jobs.plan import Plan
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.event_times import AT_ONCE, EventTimes
from flink_jobs.plan.state import looks_back_anew, state_of
from flink_jobs.plan.warm_up import (
    FROM_THE_FIRST,
    active_since,
    covered_since,
    first_timestamp,
    longest,
    warmed_windows,
    with_warm_up,
)
from flink_jobs.run.savepoints import account_of, stored_places
from flink_jobs.spec import JobSpec
from udfs.times import iso

# So many records tell how far a partition had come.
_LOOKED_AT = 200


def warmed(plan: Plan, savepoint: str) -> Plan:
    """The plan that reads its source once more, from its longest window before the savepoint's place on.

    From the first record on where windows look back by rows that the state may lack. Raises InputError for a
    job without windows over events, for one that has read nothing, and for a savepoint that cannot be read.
    """
    if warmed_windows(plan) is None:
        raise InputError("--warm-up is for jobs that have windows (over, rows) for each record")
    job, settings = plan.job, client_settings(plan.job)
    read = stored_places(savepoint, job.source.topic)
    newest = dict(_newest(job, settings, read or committed_offsets(settings, job.job, job.source.topic)))
    since = active_since(newest, job, longest(plan))
    if since is None:
        raise InputError(f"--warm-up: {job.job} has read no records of {job.source.topic} up to {savepoint}")
    number = None
    if looks_back_anew(account_of(savepoint), state_of(plan)):
        since, number = FROM_THE_FIRST, int(time.time() * 1_000)
    start = first_timestamp(job, since)
    whole = covered_since(job, since, _gone_before(job, settings, start))
    log = structlog.get_logger()
    log.info("warm_up", topic=job.source.topic, event_time_from=iso(whole) if whole else "the first record")
    if whole > since:
        log.warning("warm_up_short", wanted_from=iso(since), reason="the topic has deleted older records")
    ends = end_offsets(settings, job.source.topic, isolation=job.source.isolation)
    return with_warm_up(plan, whole, start, ends, number)


def _newest(job: JobSpec, settings: ClientSettings, read: Mapping[int, int]) -> Iterator[tuple[int, int]]:
    """The newest event time of each partition among the last records before these offsets."""
    told = EventTimes(job)
    for partition, end in read.items():
        start = max(0, end - _LOOKED_AT)
        records = list(read_span(settings, job.source.topic, partition, start, end))
        if times := [time for time in told.of(records) if time > AT_ONCE]:
            yield partition, max(times)


def _gone_before(job: JobSpec, settings: ClientSettings, start: int) -> dict[int, int]:
    """The timestamp of the first record of each partition that may have deleted some of `start` or later."""
    found = {}
    first, wanted = (begin_offsets(settings, job.source.topic, since) for since in (None, start))
    for partition, offset in first.items():
        if offset and wanted[partition] == offset:
            record = read_record(settings, job.source.topic, partition, offset)
            if record:
                found[partition] = record.timestamp
    return found
