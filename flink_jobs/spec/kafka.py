"""The `kafka` section of a job file: the brokers, and how they know the job."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flink_jobs.spec.scalars import Brokers, Property, as_text, matching, not_owned, overridable
from flink_jobs.spec.secrets import HIDDEN_IN_JSON, NoLiterals
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Security
from flink_jobs.spec.unsafe import Unsafe

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


# What may be set all the same, with a reason; the others name topics, group and transactions.
_OVERRIDABLE = (
    *("security.protocol", "isolation.level", "acks", "enable.idempotence"),
    *("ssl.endpoint.identification.algorithm", "sasl.mechanism"),
)
UnsafeName = Annotated[str, overridable(_OVERRIDABLE)]


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
    overrides: dict[UnsafeName, Unsafe] = Field(
        default_factory=dict, description="Properties against what other keys say, each with a reason."
    )

    @property
    def all_properties(self) -> dict[str, str]:
        """With those that are set against other keys."""
        return {**self.properties, **{name: as_text(each.value) for name, each in self.overrides.items()}}
