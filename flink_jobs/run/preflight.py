"""Checks what must hold before a job starts: brokers, topics, their limits, and the cluster it is to run on.

It looks first and creates missing output topics last, so that a check that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from flink_jobs.errors import InputError, WorkError
from flink_jobs.kafka import (
    ClientSettings,
    TopicInfo,
    cluster_limits,
    create_topics,
    describe_topics,
    no_such_topic,
)
from flink_jobs.kafka.acls import Needed
from flink_jobs.kafka.rights import missing_rights
from flink_jobs.plan import Runnable
from flink_jobs.plan.clients import client_settings
from flink_jobs.plan.flink_options import (
    checkpoint_ms,
    largest_message,
    largest_output,
    largest_prediction,
)
from flink_jobs.plan.lookups import topic_lookups
from flink_jobs.plan.outputs import Output, outputs_of
from flink_jobs.plan.tables import TRANSACTION_TIMEOUT_MS
from flink_jobs.plan.topics import all_topics, labels_location, labels_of
from flink_jobs.run.cluster import ENDED, Cluster, JobInfo
from flink_jobs.run.tokens import require_allowed, token_url
from flink_jobs.spec import JobSpec
from flink_jobs.spec.scalars import format_duration
from flink_jobs.system.jars import connector_jars, token_jars
from flink_jobs.system.processes import find_java

CHECKPOINT_DIR = ("execution.checkpointing.dir", "state.checkpoints.dir")
_TIMEOUT = "transaction.timeout.ms"


@dataclass(frozen=True)
class Preflight:
    """What was found: the source's partitions, the topics that were made, and what is odd but no error."""

    partitions: int
    created: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ClusterState:
    """What matters of a cluster; `settings` are its own Flink options."""

    url: str
    version: str
    free_slots: int
    running: tuple[JobInfo, ...]
    settings: Mapping[str, str]


def check(plan: Runnable, cluster: Cluster | None = None) -> Preflight:
    """Makes sure that the plan's job can start, on the cluster or in this process.

    Raises InputError for what the user can put right, WorkError when brokers or cluster do not answer or a
    right is missing.
    """
    job = plan.job
    find_java()
    connector_jars()
    if token_url(job):
        token_jars()
    settings = client_settings(job)
    labels = labels_of(job)
    read = topics_read(job)
    outputs = [*all_topics(job).values()]
    _require(settings, needed_rights(job, read, outputs))
    topics = describe_topics(settings, [*read, *outputs])
    source = topics[job.source.topic]
    if source is None:
        raise InputError(f"source.topic: {no_such_topic(settings, job.source.topic)}")
    if labels and topics[labels.topic] is None:
        raise InputError(f"{'.'.join(labels_location(job))}.topic: {no_such_topic(settings, labels.topic)}")
    for name, lookup in topic_lookups(job).items():
        if topics[topic := lookup.topic or ""] is None:
            raise InputError(f"features.lookups.{name}.topic: {no_such_topic(settings, topic)}")
    _check_outputs(job, settings, topics)
    if job.runtime.delivery == "exactly_once":
        _check_transactions(job, settings)
    if cluster:
        check_cluster(plan, _look_at(cluster))
    missing = {
        topic: 1 if output.is_report else source.partitions
        for output in outputs_of(job)
        if topics[topic := output.topic(job)] is None
    }
    config = {"max.message.bytes": str(largest_output(job))}
    created = create_topics(settings, missing, config)
    _require(settings, [_output_rights(name) for name in missing])
    return Preflight(source.partitions, tuple(sorted(created)), tuple(_warnings(job, source)))


def needed_rights(job: JobSpec, read: Sequence[str], written: Sequence[str] = ()) -> list[Needed]:
    """Of a job that reads and writes these topics."""
    needed = [Needed("topic", name, ("READ", "DESCRIBE")) for name in read]
    needed += [_output_rights(name) for name in written]
    needed.append(Needed("group", job.job, ("READ",)))
    if job.runtime.delivery == "exactly_once":
        needed.append(Needed("transactional-id", job.job, ("WRITE", "DESCRIBE")))
    return needed


def topics_read(job: JobSpec) -> list[str]:
    """The source, and the labels and tables if the job reads any."""
    labels = labels_of(job)
    tables = [lookup.topic for lookup in topic_lookups(job).values() if lookup.topic]
    return [job.source.topic, *([labels.topic] if labels else []), *tables]


def _output_rights(topic: str) -> Needed:
    return Needed("topic", topic, ("WRITE", "DESCRIBE"))


def _require(settings: ClientSettings, needed: list[Needed]) -> None:
    """Raises WorkError with the commands that give what is missing; of new topics, once they are there."""
    if lines := missing_rights(settings, needed):
        wanted = "\n".join(f"  {line}" for line in lines)
        raise WorkError(f"{settings.who} needs more rights at {settings.brokers}:\n{wanted}")


def _check_outputs(job: JobSpec, settings: ClientSettings, topics: Mapping[str, TopicInfo | None]) -> None:
    written = list(all_topics(job).values())
    missing = [topic for topic in written if topics[topic] is None]
    if missing and not job.kafka.create_topics:
        raise InputError(
            f"kafka.create_topics is false, so all output topics must be there; missing at "
            f"{settings.brokers}: {', '.join(missing)}"
        )
    small = [
        f"{output.name}.topic: max.message.bytes of {topic.name} must be at least {needed}, since {why} "
        f"are written there; got {topic.max_message_bytes}"
        for output in outputs_of(job)
        if (topic := topics[output.topic(job)]) is not None
        for needed, why in _needs(output, job)
        if topic.max_message_bytes is not None and topic.max_message_bytes < needed
    ]
    if small:
        raise InputError("\n".join(small))


def _needs(output: Output, job: JobSpec) -> Iterator[tuple[int, str]]:
    """Bytes of the largest message that the topic of the output must take, and why."""
    if output.whole_records:
        yield largest_message(job.source.max_bytes), "whole records"
    elif not output.is_report:
        yield (
            largest_prediction(job),
            f"predictions of up to {job.predictions.max_bytes} bytes with their keys",
        )


def _check_transactions(job: JobSpec, settings: ClientSettings) -> None:
    """A transaction lives for up to two checkpoint intervals; one that times out before loses records."""
    timeout = transaction_timeout(job)
    allowed = cluster_limits(settings).transaction_max_timeout_ms
    if allowed is not None and timeout > allowed:
        raise InputError(
            f"kafka.properties: {_TIMEOUT} must be at most {allowed}, the transaction.max.timeout.ms of "
            f"the brokers at {settings.brokers}; got {timeout}"
        )
    interval = checkpoint_ms(job)
    if interval * 2 >= timeout:
        raise InputError(
            f"runtime.checkpoint.interval must be less than half of {_TIMEOUT} ({format_duration(timeout)}), "
            f"which transactions live across; got {format_duration(interval)}"
        )


def transaction_timeout(job: JobSpec) -> int:
    """How long, in ms, brokers keep its transactions open. Raises InputError for what is no number."""
    given = job.kafka.properties.get(_TIMEOUT, str(TRANSACTION_TIMEOUT_MS))
    try:
        return int(given)
    except ValueError:
        raise InputError(f"kafka.properties: {_TIMEOUT} must be milliseconds; got {given!r}") from None


def check_cluster(plan: Runnable, found: ClusterState) -> None:
    """Raises InputError when the plan's job cannot run on such a cluster, or runs there already."""
    job, ours = plan.job, metadata.version("apache-flink")
    if found.version.split(".")[:2] != ours.split(".")[:2]:
        raise InputError(f"the cluster at {found.url} must be Flink {ours}, as here; got {found.version}")
    for other in found.running:
        if other.name == job.job:
            raise InputError(
                f"the job {job.job} already runs on {found.url} as {other.id}; two would write to the same "
                f"topics and transactions; stop it first: tailrace stop {other.id}"
            )
    require_allowed(job, found.url, found.settings)
    if found.free_slots < job.runtime.parallelism:
        raise InputError(
            f"runtime.parallelism must be at most the free task slots of {found.url}, "
            f"{found.free_slots}; got {job.runtime.parallelism}"
        )
    if not any(options.get(key) for options in (plan.options, found.settings) for key in CHECKPOINT_DIR):
        raise InputError(
            f"runtime.checkpoint.dir must be given, as {found.url} has no {CHECKPOINT_DIR[0]} of its own: "
            "a folder or URI that all its machines reach"
        )


def _look_at(cluster: Cluster) -> ClusterState:
    running = tuple(job for job in cluster.jobs() if job.state not in ENDED)
    return ClusterState(cluster.url, cluster.version(), cluster.free_slots(), running, cluster.settings())


def _warnings(job: JobSpec, source: TopicInfo) -> list[str]:
    found = []
    idle = job.runtime.parallelism - source.partitions
    if idle > 0:
        found.append(
            f"runtime.parallelism is {job.runtime.parallelism}, but {source.name} has only "
            f"{_count(source.partitions, 'partition')}: {_count(idle, 'source instance')} will be idle"
        )
    largest = largest_message(job.source.max_bytes)
    if source.max_message_bytes is not None and source.max_message_bytes > largest:
        found.append(
            f"{source.name} takes records of up to {source.max_message_bytes} bytes, but of one of more than "
            f"{largest} the dead letter has only the place; raise source.max_bytes"
        )
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
