"""Sets a job's Kafka clients."""

from __future__ import annotations

from flink_jobs.errors import InputError
from flink_jobs.kafka.settings import ClientSettings
from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import JobSpec


def client_settings(job: JobSpec) -> ClientSettings:
    """How the job reaches its brokers. Raises InputError for files that cannot be read."""
    security = job.kafka.security
    if security is None:
        return ClientSettings(job.kafka.brokers, properties=job.kafka.properties)
    return ClientSettings(
        job.kafka.brokers,
        protocol=security.protocol,
        mechanism=security.mechanism,
        username=security.username,
        password=security.password.get_secret_value() if security.password else None,
        ca_file=security.ca_file,
        properties=job.kafka.properties,
    )


def collect_clients(job: JobSpec, found: Collector) -> None:
    """Adds files of the clients that cannot be read."""
    if found.doubts.below(("kafka", "security")) or found.doubts.below(("kafka", "brokers")):
        return
    try:
        client_settings(job).java()
    except InputError as error:
        found.add(("kafka", "security", "ca_file"), "a readable PEM file", str(error.__cause__ or error))
