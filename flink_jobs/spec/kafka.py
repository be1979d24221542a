"""The `kafka` section of a job file: the brokers, and how they know the job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath, Secret
from flink_jobs.spec.scalars import Brokers, Property, matching
from flink_jobs.spec.secrets import HIDDEN_IN_JSON, NoLiterals
from flink_jobs.spec.section import Section

_OWNED_PROPERTIES = {
    "bootstrap.servers": "kafka.brokers",
    "group.id": "job",
    "transactional.id": "job",
}


def _not_owned(name: str) -> str:
    if name in _OWNED_PROPERTIES:
        raise wrong(f"a property other than {name}, which comes from {_OWNED_PROPERTIES[name]}", repr(name))
    return name


PropertyName = Annotated[
    str, matching(r"[A-Za-z0-9._-]{1,200}", "the name of a Kafka client property"), AfterValidator(_not_owned)
]


class Security(Section):
    """How the brokers know the job. SASL needs mechanism, username and password."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        description="Security protocol."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="SASL mechanism."
    )
    username: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,1000}", "a user name")] | None = Field(
        default=None, description="SASL user name."
    )
    password: Secret | None = Field(default=None, description="SASL password: ${VARIABLE} or {file: path}.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the authority that signed the brokers."
    )

    @model_validator(mode="after")
    def _check_protocol(self) -> Security:
        errors: dict[Location, PydanticCustomError] = {}
        sasl = self.protocol.startswith("SASL")
        for key in ("mechanism", "username", "password"):
            if sasl and getattr(self, key) is None:
                errors[key,] = wrong(f"given, as {self.protocol} needs it", "nothing")
            elif not sasl and getattr(self, key) is not None:
                errors[key,] = wrong(f"left out, as {self.protocol} has no use for it", "a value")
        if self.ca_file and not self.protocol.endswith("SSL"):
            errors["ca_file",] = wrong(f"left out, as {self.protocol} has no use for it", "a value")
        if errors:
            raise wrong_at(errors)
        return self


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
