"""The one table of what is secret: Tailrace's own keys, and the option names of Flink and Kafka.

The loader refuses literals by it, the JSON Schema says the same, and all that shows a job hides by it.

>>> rule_at(("runtime", "flink", "s3.secret-key")).accepts("${S3_KEY}")
True
>>> rule_at(("runtime", "flink", "s3.secret-key")).accepts("${S3_KEY:-abc}")
False
>>> redact({"sasl.jaas.config": "… password=abc;", "linger.ms": "5"})
{'sasl.jaas.config': '***', 'linger.ms': '5'}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema

from flink_jobs.errors import Location
from udfs.store import is_uri, without_secrets

# Parts of an option's name; a `-` stands for any separator, or none. The first two lines are those of Flink's
# `GlobalConfiguration`, the others come from Kafka's settings of type PASSWORD, file systems and registries.
_SECRET_WORDS = (
    *("password", "secret", "account-key", "api-key", "auth-params", "service-key", "token"),
    *("basic-auth", "http-headers"),
    *("passphrase", "passwd", "access-key", "private-key", "shared-key", "keystore-key", "azure-sas"),
    *("zookeeper-auth", "zookeeper-client-auth"),
)
# Names with such a word whose values are switches, classes, addresses, or names of secrets.
_PUBLIC_ENDINGS = (
    *("enabled", "provider", "class", "endpoint-url", "type", "file", "location", "path", "client-id"),
    *("scope", "ms", "seconds", "backoff", "ratio", "retries", "algorithm"),
)
_PUBLIC_PARTS = (
    *("security-delegation-token", "kubernetes-secrets", "kubernetes-env-secretKeyRef"),
    *("account-keyprovider", "auth-credentials-source"),
)
# Texts of several parts, of which some may be secret.
_COMPOSED_WORDS = ("jaas", "env-java-opts")
# Hidden, although no literal is refused: mostly they name where secrets are.
_HIDDEN_WORDS = (*_SECRET_WORDS, *_COMPOSED_WORDS, "credential")

SCHEMES = ("Basic", "Bearer", "Digest", "Negotiate", "Token", "ApiKey", "GenieKey", "Splunk")
_VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}"
_VARIABLES = f"{_VARIABLE}(:?{_VARIABLE})*"


def _any_case(word: str) -> str:
    """A pattern for the word in any case, also for JSON Schema, whose patterns have no flags."""
    return "".join(
        f"[{char.upper()}{char.lower()}]" if char.isalpha() else "[._-]?" if char == "-" else char
        for char in word
    )


def _one_of(words: tuple[str, ...]) -> str:
    return f"({'|'.join(map(_any_case, words))})"


_COMPOSED_NAME = _one_of(_COMPOSED_WORDS)
_PUBLIC_NAME = rf"{_one_of(_PUBLIC_PARTS)}|[._-]{_one_of(_PUBLIC_ENDINGS)}$"
_SECRET_NAME = rf"^(?!.*({_PUBLIC_NAME}|{_COMPOSED_NAME})).*{_one_of(_SECRET_WORDS)}"
_HIDDEN_NAME = _one_of(_HIDDEN_WORDS)
# `password = "literal"` or `-Dx.password=literal` somewhere in a text.
_LITERAL_PART = (
    rf"({_one_of(_SECRET_WORDS)}|\buser_)[\w.$-]{{0,100}}"
    rf"""\s{{0,9}}=(?!\s{{0,9}}["']?(true|false|{_VARIABLE})(["'\s;]|$))"""
)
_NO_LITERAL_PART = rf"(?![\s\S]*{_LITERAL_PART})"
_JAAS = (
    rf"^({_VARIABLES}|{_NO_LITERAL_PART}\s*[A-Za-z_$][\w.$]*\s+(required|requisite|sufficient|optional)"
    r"""(\s+[A-Za-z_][\w.-]*\s*=\s*("[^"]*"|[^\s";]+))*\s*;\s*)$"""
)


@dataclass(frozen=True)
class Rule:
    """How a secret may be written in a job file: `pattern` matches the text that stands in the file."""

    pattern: str
    expected: str

    def accepts(self, raw: str) -> bool:
        """Whether no secret stands in the text itself."""
        return bool(re.search(self.pattern, raw))

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON Schema; `writeOnly` marks what `json_schema` must not loosen."""
        return {"type": "string", "pattern": self.pattern, "writeOnly": True}


_FROM = "a secret from the environment, ${VARIABLE}"
_OR_FILE = f"{_FROM}, or from a file, {{file: path}}"
VALUE = Rule(f"^{_VARIABLES}$", _OR_FILE)
HEADER = Rule(f"^(({'|'.join(SCHEMES)}) )?{_VARIABLES}$", _OR_FILE)
ADDRESS = Rule(rf"^(https?://([A-Za-z0-9.-]+(:[0-9]{{1,5}})?/)?)?{_VARIABLE}(/?{_VARIABLE})*$", _OR_FILE)
OPTION = Rule(f"^(true|false|{_VARIABLES})?$", _FROM)
_PARTS = ", in each part that is secret, without a default"
JAAS = Rule(_JAAS, f"a login module whose secrets come from the environment, ${{VARIABLE}}{_PARTS}")
JAVA_OPTIONS = Rule(f"^{_NO_LITERAL_PART}", f"{_FROM}{_PARTS}")

OWN_KEYS: Mapping[Location, Rule] = {
    ("kafka", "security", "password"): VALUE,
    ("kafka", "security", "key_password"): VALUE,
    ("kafka", "security", "keystore_password"): VALUE,
    ("kafka", "security", "oauth", "client_secret"): VALUE,
    **{("cluster", key): VALUE for key in ("key_password", "password", "token")},
    **{
        (section, "schema_registry", key): VALUE
        for section in ("source", "predictions")
        for key in ("key_password", "password", "token")
    },
    ("features", "lookups", "*", "database", "password"): VALUE,
    ("predictions", "pii_key"): VALUE,
    ("privacy", "encrypt_key"): VALUE,
    ("alerts", "webhook", "url"): ADDRESS,
    ("alerts", "webhook", "headers", "*"): HEADER,
    ("alerts", "webhook", "routing_key"): VALUE,
}
OPTION_NAMES: Mapping[str, Rule] = {
    _SECRET_NAME: OPTION,
    _any_case("jaas"): JAAS,
    _any_case("env-java-opts"): JAVA_OPTIONS,
}
OPTIONS: tuple[Location, ...] = (("kafka", "properties"), ("runtime", "flink"))

# Values here, and below here, are not shown in errors: a person may have put a secret under a wrong name.
_PRIVATE: tuple[Location, ...] = (
    ("kafka", "security"),
    ("cluster",),
    ("source", "schema_registry"),
    ("predictions", "schema_registry"),
    ("features", "lookups", "*", "database"),
    ("predictions", "pii_key"),
    ("privacy", "encrypt_key"),
    ("alerts", "webhook"),
    *OPTIONS,
)
_PUBLIC_SECURITY = (
    *("protocol", "mechanism", "username", "region"),
    *("ca_file", "certificate_file", "key_file", "keystore_file"),
)
_PUBLIC_ACCESS = ("username", "ca_file", "certificate_file", "key_file")
# Plain to read, although they are below a private key.
_PUBLIC: tuple[Location, ...] = (
    *(("kafka", "security", key) for key in _PUBLIC_SECURITY),
    *(("kafka", "security", "oauth", key) for key in ("client_id", "scopes", "ca_file")),
    ("kafka", "security", "kerberos"),
    *(("cluster", key) for key in _PUBLIC_ACCESS),
    *(
        (section, "schema_registry", key)
        for section in ("source", "predictions")
        for key in (*_PUBLIC_ACCESS, "subject", "wait")
    ),
    *(("features", "lookups", "*", "database", key) for key in ("file", "username", "ca_file")),
    *(("alerts", "webhook", key) for key in ("timeout", "retries", "format", "runbook_url")),
)


def rule_at(location: Location) -> Rule | None:
    """The rule of the secret at `location`; None if none belongs there."""
    if location[:2] in OPTIONS and len(location) == 3:
        name = str(location[2])
        return next((rule for pattern, rule in OPTION_NAMES.items() if re.search(pattern, name)), None)
    if location[:3] == ("alerts", "webhook", "headers"):
        location = (*location[:3], *("*" for _ in location[3:]))
    return OWN_KEYS.get(_of_any_lookup(location))


def _of_any_lookup(location: Location) -> Location:
    """With `*` for the name of a lookup."""
    return (*location[:2], "*", *location[3:]) if location[:2] == ("features", "lookups") else location


def is_private(location: Location) -> bool:
    """Whether the value at `location` may be secret, or hold one by mistake."""
    location = _of_any_lookup(location)
    if any(location[: len(public)] == public for public in _PUBLIC):
        return False
    return any(location[: len(private)] == private for private in _PRIVATE)


def redact(options: Mapping[str, str], mask: str = "***") -> dict[str, str]:
    """Options as they may be shown: without the values of secret ones, and without keys in URIs."""
    return {
        key: mask if re.search(_HIDDEN_NAME, key) else _bare(value) if isinstance(value, str) else value
        for key, value in options.items()
    }


def _bare(value: str) -> str:
    return without_secrets(value) if is_uri(value) and ("@" in value or "?" in value) else value


def _in_json(options: dict[str, Any]) -> dict[str, Any]:
    return redact(options, mask="**********")  # as pydantic shows a SecretStr


HIDDEN_IN_JSON = PlainSerializer(_in_json, when_used="json")


class NoLiterals:
    """Annotates a mapping of options whose JSON Schema refuses literals under secret names."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        rules = {
            pattern: {"anyOf": [rule.schema, {"type": ["boolean", "null"]}]}
            for pattern, rule in OPTION_NAMES.items()
        }
        return {**made, "patternProperties": {**made.get("patternProperties", {}), **rules}}
