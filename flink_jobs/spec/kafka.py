"""The `kafka` section of a job file: the brokers, and how they know the job."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from flink_jobs.spec.diagnostics import wrong
from flink_jobs.spec.scalars import Brokers, Property, matching
from flink_jobs.spec.secrets import HIDDEN_IN_JSON, NoLiterals
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Security

_OWNED_PROPERTIES = {
    "bootstrap.servers": "kafka.brokers",
    "group.id": "job",
    "transactional.id": "job",
    "security.protocol": "kafka.security.protocol",
    "isolation.level": "source.isolation",
    "acks": "runtime.delivery",
    "enable.idempotence": "runtime.delivery",
    # Empty, it would take any host's certificate for the broker's.
    "ssl.endpoint.identification.algorithm": "kafka.security",
    "sasl.mechanism": "kafka.security.mechanism",
}


def _not_owned(name: str) -> str:
    if name in _OWNED_PROPERTIES:
        raise wrong(f"a property other than {name}, which comes from {_OWNED_PROPERTIES[name]}", repr(name))
    return name


PropertyName = Annotated[
    str, matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Kafka client property"), AfterValidator(_not_owned)
]


class Kafka(Section):
    """The brokers that hold all topics of the job."""

    brokers: Brokers = Field(
        default="localhost:9092", description="host:port, or several with commas between."
    )
    create_topics: bool = Field(default=True, description="Create missing output topics.")
    security: Security | None = Field(default=None, description="Encryption and authentication.")
    properties: Annotated[dict[PropertyName, Property], HIDDEN_IN_JSON, NoLiterals()] = Field(
        default_factory=dict, repr=False, description="Further properties of the Java Kafka clients."
    )
