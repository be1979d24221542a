"""Asks brokers with ACLs which rights the user lacks, before a job fails for want of one.

    missing_rights(settings, [Needed("topic", "flights", ("READ", "DESCRIBE"))])      # kafka-acls lines

Brokers without ACLs say that all is allowed. Transactional ids have no such question: one is begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from flink_jobs.kafka.acls import Needed, command_for
from flink_jobs.kafka.admin import connect
from flink_jobs.kafka.settings import ClientSettings

_TIMEOUT = 8.0
_DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


def missing_rights(settings: ClientSettings, needed: Iterable[Needed]) -> list[str]:
    """A kafka-acls line for each resource on which rights are missing, but for topics that are not there."""
    admin = connect(settings)
    lines = []
    for each in needed:
        allowed = _allowed(admin, settings, each)
        lacking = tuple(name for name in each.operations if allowed is not None and name not in allowed)
        if lacking:
            lines.append(command_for(settings, replace(each, operations=lacking)))
    return lines


def _allowed(admin: AdminClient, settings: ClientSettings, needed: Needed) -> set[str] | None:
    """What the user may do there; None when that cannot be told."""
    if needed.kind == "transactional-id":
        return set(needed.operations) if _may_begin(settings, needed.name) else set()
    asked: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": _TIMEOUT}
    if needed.kind == "topic":
        [future] = admin.describe_topics(TopicCollection([needed.name]), **asked).values()
    else:
        [future] = admin.describe_consumer_groups([needed.name], **asked).values()
    try:
        operations: Sequence[AclOperation] | None = future.result().authorized_operations
    except KafkaException as raised:
        return set() if raised.args[0].code() in _DENIED else None
    return None if operations is None else {operation.name for operation in operations}


def _may_begin(settings: ClientSettings, prefix: str) -> bool:
    """False where the right is missing; what else may go wrong is the job's to say."""
    options = settings.librdkafka() | {"transactional.id": f"{prefix}-preflight"}
    try:
        Producer(options).init_transactions(_TIMEOUT)
    except KafkaException as raised:
        return raised.args[0].code() not in _DENIED
    return True
