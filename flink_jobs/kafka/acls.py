"""Rights at brokers with ACLs, and the command by which whoever may gives them.

command_for(settings, Needed("topic", "flights", ("READ", "DESCRIBE")))      # kafka-acls …
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flink_jobs.kafka.settings import ClientSettings

Kind = Literal["topic", "group", "transactional-id"]


@dataclass(frozen=True)
class Needed:
    """Rights on a topic, a consumer group, or on all transactional ids that begin with a name."""

    kind: Kind
    name: str
    operations: tuple[str, ...]


def command_for(settings: ClientSettings, needed: Needed) -> str:
    """A line for a shell."""
    operations = " ".join(f"--operation {name.title()}" for name in needed.operations)
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
