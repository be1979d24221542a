"""Asks brokers with ACLs which rights the user lacks, before a job fails for want of one.

    missing_rights(settings, [Needed("topic", "flights", ("READ", "DESCRIBE"))])      # kafka-acls lines

Brokers without ACLs say that all is allowed. Transactional ids have no such question: one is begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from flink_jobs.kafka.admin import connect
from flink_jobs.kafka.settings import ClientSettings

_TIMEOUT = 8.0
_DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


@dataclass(frozen=True)
class Needed:
    """Rights on a topic, a consumer group, or on all transactional ids that begin with a name."""

    kind: Literal["topic", "group", "transactional-id"]
    name: str
    operations: tuple[str, ...]


def missing_rights(settings: ClientSettings, needed: Iterable[Needed]) -> list[str]:
    """A kafka-acls line for each resource on which rights are missing, but for topics that are not there."""
    admin = connect(settings)
    lines = []
    for each in needed:
        allowed = _allowed(admin, settings, each)
        lacking = [name for name in each.operations if allowed is not None and name not in allowed]
        if lacking:
            lines.append(_line(settings, each, lacking))
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


def _line(settings: ClientSettings, needed: Needed, lacking: Sequence[str]) -> str:
    operations = " ".join(f"--operation {name.title()}" for name in lacking)
    prefixed = " --resource-pattern-type prefixed" if needed.kind == "transactional-id" else ""
    return (
        f"kafka-acls --bootstrap-server {settings.brokers} --add --allow-principal {_principal(settings)} "
        f"{operations} --{needed.kind} {needed.name}{prefixed}"
    )


def _principal(settings: ClientSettings) -> str:
    """As brokers name the user unless they map names; of a certificate only they know."""
    name = settings.username or (settings.kerberos and settings.kerberos.principal.split("@")[0])
    if settings.oauth and settings.mechanism == "OAUTHBEARER":
        name = settings.oauth.client_id
    return f"User:{name or 'NAME'}"
