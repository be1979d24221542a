"""An option that contradicts what the job file promises: with its value, and with the reason."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from flink_jobs.spec.diagnostics import wrong
from flink_jobs.spec.scalars import Scalar, matching
from flink_jobs.spec.section import Section


def _meant(value: bool) -> bool:
    if not value:
        raise wrong("true")
    return value


class Unsafe(Section):
    """A value that its author answers for."""

    value: Scalar = Field(description="The value.")
    unsafe: Annotated[bool, AfterValidator(_meant)] = Field(
        description="true: what Tailrace promises of it does not hold any more."
    )
    reason: Annotated[str, matching(r"(?=.*\S).{1,500}", "a reason, in a line")] = Field(
        description="Why; tailrace plan shows it."
    )
