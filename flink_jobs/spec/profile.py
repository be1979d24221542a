"""A profile: where a person, a team or a cluster has its brokers, models and Flink, for jobs and commands."""

from __future__ import annotations

from pydantic import Field

from flink_jobs.spec.http_access import HttpAccess, WebUrl
from flink_jobs.spec.paths import AbsolutePath, RegistryPlace
from flink_jobs.spec.scalars import Brokers
from flink_jobs.spec.section import Section
from flink_jobs.spec.security import Security


class ProfileKafka(Section):
    """The brokers, and how they know who comes."""

    brokers: Brokers | None = Field(default=None, description="host:port, or several with commas between.")
    security: Security | None = Field(default=None, description="Encryption and authentication.")


class FlinkCluster(HttpAccess):
    """Flink's REST interface, or the gateway before it."""

    url: WebUrl = Field(description="Address of Flink's REST interface.")
    ca_file: AbsolutePath | None = Field(default=None, description="PEM file of the gateway's authority.")


class Profile(Section):
    """One of the profiles in conf/profiles.yaml."""

    kafka: ProfileKafka = Field(default_factory=ProfileKafka, description="Brokers.")
    models: RegistryPlace | None = Field(default=None, description="Folder or URI of all models.")
    cluster: FlinkCluster | None = Field(default=None, description="The Flink cluster.")
