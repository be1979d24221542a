"""The `kafka.security` section of a job file: how the brokers know the job, and it them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flink_jobs.errors import Location
from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath, Secret
from flink_jobs.spec.scalars import matching
from flink_jobs.spec.section import Section

Name = Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,1000}", "a name on one line")]
Url = Annotated[str, matching(r"https?://[^\s@]{1,2000}", "a URL, https://host/path, without a password")]
_PASSWORD = ("username", "password")
_LOGINS = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "OAUTHBEARER": ("oauth",),
    "AWS_MSK_IAM": ("region",),
    "GSSAPI": ("kerberos",),
}
_TLS = ("ca_file", "certificate_file", "key_file", "key_password", "keystore_file", "keystore_password")
# What is of no use without what.
_TOGETHER = {
    "key_file": "certificate_file",
    "key_password": "certificate_file",
    "keystore_password": "keystore_file",
}


Scope = Annotated[str, matching(r"[!-~]{1,200}", "a scope")]


class OAuthLogin(Section):
    """Tokens by OIDC client credentials."""

    token_url: Url = Field(description="The token endpoint of the identity provider.")
    client_id: Name = Field(description="Id of the client.")
    client_secret: Secret = Field(description="Secret of the client: ${VARIABLE} or {file: path}.")
    scopes: Annotated[tuple[Scope, ...], Field(strict=False)] = Field(
        default=(), description="Scopes to ask for."
    )
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the authority that signed the token server's certificate."
    )


class KerberosLogin(Section):
    """A Kerberos principal."""

    principal: Name = Field(description="Principal of the client, such as scorer@EXAMPLE.ORG.")
    keytab: AbsolutePath = Field(description="Keytab of the principal, at this path on all machines.")
    service: Name = Field(default="kafka", description="Service name of the brokers' principal.")


class Security(Section):
    """How the brokers know the job. SASL needs a mechanism and what that logs in with."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        description="Security protocol."
    )
    mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] | None
    ) = Field(default=None, description="SASL mechanism.")
    username: Annotated[str, matching(r"[^\x00-\x1f\x7f]{1,1000}", "a user name")] | None = Field(
        default=None, description="User name, for PLAIN and SCRAM."
    )
    password: Secret | None = Field(
        default=None, description="Password, for PLAIN and SCRAM: ${VARIABLE} or {file: path}."
    )
    oauth: OAuthLogin | None = Field(default=None, description="Where tokens come from, for OAUTHBEARER.")
    region: Annotated[str, matching(r"[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region")] | None = Field(
        default=None, description="AWS region of the brokers, for AWS_MSK_IAM."
    )
    kerberos: KerberosLogin | None = Field(default=None, description="The principal, for GSSAPI.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the authority that signed the brokers."
    )
    certificate_file: AbsolutePath | None = Field(
        default=None, description="PEM file of the job's own certificate, and of its key without key_file."
    )
    key_file: AbsolutePath | None = Field(default=None, description="PEM file of the certificate's key.")
    key_password: Secret | None = Field(default=None, description="Password of an encrypted key.")
    keystore_file: AbsolutePath | None = Field(
        default=None, description="PKCS #12 file of certificate and key, instead of PEM files."
    )
    keystore_password: Secret | None = Field(default=None, description="Password of the PKCS #12 file.")

    @model_validator(mode="after")
    def _check_protocol(self) -> Security:
        errors = dict(self._contradictions())
        if errors:
            raise wrong_at(errors)
        return self

    def _contradictions(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        sasl, tls = self.protocol.startswith("SASL"), self.protocol.endswith("SSL")
        needed = _LOGINS[self.mechanism] if self.mechanism else _PASSWORD
        why = self.mechanism if sasl and self.mechanism and needed != _PASSWORD else self.protocol
        for key in ("mechanism", *dict.fromkeys(key for keys in _LOGINS.values() for key in keys)):
            wanted = sasl and key in ("mechanism", *needed)
            given = getattr(self, key) is not None
            if wanted and not given:
                yield (key,), wrong(f"given, as {why} needs it", "nothing")
            elif given and not wanted:
                yield (key,), wrong(f"left out, as {why} has no use for it", "a value")
        for key in _TLS:
            if not tls and getattr(self, key) is not None:
                yield (key,), wrong(f"left out, as {self.protocol} has no use for it", "a value")
        if tls:
            yield from self._certificate_contradictions()

    def _certificate_contradictions(self) -> Iterator[tuple[Location, PydanticCustomError]]:
        for key, needed in _TOGETHER.items():
            if getattr(self, key) is not None and getattr(self, needed) is None:
                yield (needed,), wrong(f"given, as {key} needs it", "nothing")
        if self.certificate_file and self.keystore_file:
            yield ("keystore_file",), wrong("left out, as certificate_file is given", "a value")
