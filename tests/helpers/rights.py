"""Gives rights at a broker that has an authorizer."""

from __future__ import annotations

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from flink_jobs.kafka import ClientSettings


def allow(
    admin: ClientSettings, principal: str, kind: ResourceType, name: str, *operations: AclOperation
) -> None:
    """Rights on all resources whose name begins so."""
    prefixed, given = ResourcePatternType.PREFIXED, AclPermissionType.ALLOW
    wanted = [AclBinding(kind, name, prefixed, principal, "*", each, given) for each in operations]
    client = AdminClient(admin.librdkafka())  # kept: its futures end only while it is there
    for future in client.create_acls(wanted).values():
        future.result()
