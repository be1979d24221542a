"""The `kafka` section of a job file: the brokers, and how they know the job."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flink_jobs.spec.scalars import Brokers, Property, matching, not_owned
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
PropertyName = Annotated[
    str,
    matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Kafka client property"),
    not_owned("a property", _OWNED_PROPERTIES),
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
