"""The `privacy` section of a job file: the key to encrypt with, and columns that are no personal data."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, WithJsonSchema, model_validator

from flink_jobs.spec.diagnostics import describe, wrong, wrong_at
from flink_jobs.spec.paths import SECRET_FILE, read_secret
from flink_jobs.spec.scalars import matching
from flink_jobs.spec.secrets import VALUE
from flink_jobs.spec.section import Reference, Section
from udfs.errors import EnvelopeError
from udfs.records.personal import EncryptionKey, parse_key

_COMMAND_SCHEMA = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "description": "A command that prints the key, on each worker: of a key management service.",
        }
    },
    "required": ["command"],
    "additionalProperties": False,
}


def _read_key(value: object, info: ValidationInfo) -> KeySource:
    if isinstance(value, dict) and set(value) == {"command"}:
        command = value["command"]
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise wrong_at({("command",): wrong("a list of a program and its arguments", describe(command))})
        return KeySource(command=tuple(command))
    secret = read_secret(value, info)
    try:
        parse_key(secret.get_secret_value())
    except EnvelopeError:
        raise wrong("a key of 32 bytes, as base64 or hex digits", "another one (not shown)") from None
    return KeySource(text=secret)


class KeySource(Section):
    """Where the key is from: a text, or the command that prints it."""

    text: SecretStr | None = None
    command: tuple[str, ...] = ()

    @property
    def params(self) -> EncryptionKey:
        """What workers are told."""
        return EncryptionKey(self.text.get_secret_value() if self.text else "", self.command)


EncryptKey = Annotated[
    KeySource,
    BeforeValidator(_read_key),
    WithJsonSchema({"anyOf": [VALUE.schema, SECRET_FILE, _COMMAND_SCHEMA]}),
]


class Declassified(Section):
    """A column that is made of personal data, and is none."""

    column: Reference = Field(description="A window's result, a looked-up or a derived column.")
    reason: Annotated[str, matching(r"(?=.*\S).{1,500}", "a reason, in a line")] = Field(
        description="Why it is none; tailrace plan shows it."
    )


class Privacy(Section):
    """How personal data is kept private."""

    encrypt_key: EncryptKey | None = Field(
        default=None,
        description="Key for pii: encrypt, of 32 bytes: ${VARIABLE}, {file: path} or {command: [...]}.",
    )
    declassify: Annotated[tuple[Declassified, ...], Field(strict=False)] = Field(
        default=(), description="Columns made of personal data that are none, each with the reason."
    )

    @model_validator(mode="after")
    def _check_once(self) -> Privacy:
        names = [each.column for each in self.declassify]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise wrong_at(
                    {("declassify", index, "column"): wrong("a column listed once", f"{name!r} again")}
                )
        return self
