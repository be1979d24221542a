"""Sets a job's Kafka clients."""

from __future__ import annotations

from pydantic import SecretStr

from flink_jobs.errors import InputError
from flink_jobs.kafka.credentials import Kerberos, OAuth
from flink_jobs.kafka.settings import ClientSettings
from flink_jobs.plan.diagnose import Collector
from flink_jobs.spec import JobSpec, Kafka
from flink_jobs.spec.security import KerberosLogin, OAuthLogin
from flink_jobs.system.certificates import read_pem


def client_settings(job: JobSpec) -> ClientSettings:
    """How the job reaches its brokers. Raises InputError for files that cannot be read."""
    return settings_of(job.kafka)


def settings_of(kafka: Kafka) -> ClientSettings:
    """The same, of the section alone."""
    security = kafka.security
    if security is None:
        return ClientSettings(kafka.brokers, properties=kafka.all_properties)
    return ClientSettings(
        kafka.brokers,
        protocol=security.protocol,
        mechanism=security.mechanism,
        username=security.username,
        password=_revealed(security.password),
        ca_file=security.ca_file,
        certificate_file=security.certificate_file,
        key_file=security.key_file,
        key_password=_revealed(security.key_password),
        keystore_file=security.keystore_file,
        keystore_password=_revealed(security.keystore_password),
        oauth=_oauth(security.oauth) if security.oauth else None,
        kerberos=_kerberos(security.kerberos) if security.kerberos else None,
        region=security.region,
        properties=kafka.all_properties,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _oauth(login: OAuthLogin) -> OAuth:
    secret = login.client_secret.get_secret_value()
    return OAuth(login.token_url, login.client_id, secret, login.scopes, login.ca_file)


def _kerberos(login: KerberosLogin) -> Kerberos:
    return Kerberos(login.principal, login.keytab, login.service)


def collect_clients(job: JobSpec, found: Collector) -> None:
    """Adds files of the clients that cannot be read."""
    if found.doubts.below(("kafka", "security")) or found.doubts.below(("kafka", "brokers")):
        return
    security = job.kafka.security
    if security is None:
        return
    authorities = {"ca_file": security.ca_file, "oauth.ca_file": security.oauth and security.oauth.ca_file}
    for key, path in authorities.items():
        try:
            _ = path and read_pem(path)
        except InputError as error:
            location = ("kafka", "security", *key.split("."))
            found.add(location, "a readable PEM file", str(error.__cause__ or error))
    try:
        client_settings(job).certificate()
    except InputError as error:
        key = "keystore_file" if security.keystore_file else "certificate_file"
        found.add(("kafka", "security", key), "a certificate with its key", str(error))
