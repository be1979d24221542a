"""The `model` section of a job file: the model that scores, and what it is fed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import RegistryPlace
from flink_jobs.spec.public_keys import PublicKey
from flink_jobs.spec.scalars import Parsed, PositiveDuration, matching, number, whole
from flink_jobs.spec.section import Reference, Section


def _parse_use(value: object) -> str | int:
    if value in ("champion", "latest") or (
        isinstance(value, int) and not isinstance(value, bool) and value > 0
    ):
        return value
    raise wrong("champion, latest or a version number from 1", choices=("champion", "latest"))


_USE_SCHEMA = {"anyOf": [{"enum": ["champion", "latest"]}, {"type": "integer", "minimum": 1}]}


class Model(Section):
    """The model that scores, and what it is fed."""

    name: Annotated[
        str, matching(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,199}", "a model name of letters, digits, _ and -")
    ] = Field(description="Folder of the model in the registry.")
    registry: RegistryPlace = Field(
        default="models",
        validate_default=True,
        description="Folder of all models, relative to the job file, or a URI such as s3://bucket/models.",
    )
    use: Annotated[str | int, Parsed(_parse_use, _USE_SCHEMA)] = Field(
        default="champion", description="The released version, the latest one, or a version number."
    )
    refresh: PositiveDuration = Field(
        default="10s",
        validate_default=True,
        description="How old a worker's view of the release log may be, with use: champion.",
    )
    inputs: dict[Annotated[str, matching(r"[\s\S]{1,200}", "the name of a model input")], Reference] = Field(
        default_factory=dict, description="Model input: column, where the names differ."
    )
    threshold: Annotated[float, number(0, 1)] = Field(
        default=0.5, description="Score from which a binary model says yes."
    )
    require_signature: bool = Field(
        default=False, description="Use only versions that one of the trusted keys has signed."
    )
    trusted_keys: Annotated[tuple[PublicKey, ...], Field(strict=False)] = Field(
        default=(), description="Ed25519 public keys: paths of PEM files, PEM text, or base64 of 32 bytes."
    )
    trusted_releasers: Annotated[tuple[PublicKey, ...], Field(strict=False)] = Field(
        default=(),
        description="Public keys that must have signed releases (use: champion); default: trusted_keys.",
    )
    approvals: Annotated[int, whole(1, 10)] = Field(
        default=1, description="How many releasers must have signed before another version scores."
    )
    max_release_age: PositiveDuration | None = Field(
        default=None,
        description="How old the newest signed release may be when the job begins; left out: any age.",
    )
    pickle: Literal["allow", "refuse"] = Field(
        default="allow", description="Whether formats may be used whose loading runs code: joblib."
    )

    @model_validator(mode="after")
    def _check_keys(self) -> Model:
        if self.require_signature and not self.trusted_keys:
            raise wrong_at({("trusted_keys",): wrong("given, as require_signature needs them", "none")})
        if self.trusted_keys and not self.require_signature:
            raise wrong_at({("require_signature",): wrong("true, as trusted_keys are given", "false")})
        for key in ("trusted_releasers", "approvals", "max_release_age"):
            if key in self.model_fields_set and not self.require_signature:
                raise wrong_at({("require_signature",): wrong(f"true, as {key} is given", "false")})
        if self.approvals > (there := len(set(self.releasers))) and self.require_signature:
            expected = f"at most {there}, as so many releasers are trusted"
            raise wrong_at({("approvals",): wrong(expected, str(self.approvals))})
        return self

    @property
    def releasers(self) -> tuple[str, ...]:
        """The keys that may sign releases."""
        return self.trusted_releasers or self.trusted_keys
