"""Says what can be wrong with a record: the stage that found it, a stable reason, and a message for a person.

Stages and reasons are written to dead-letter headers; they are part of the interface.

>>> Problem("contract", "wrong_type", "$.amount: expected double, got string").stage
'contract'
"""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb
from typing import Literal

import msgspec

Stage = Literal["decode", "contract", "feature", "inference"]

UNEXPECTED = "unexpected"

DECODE_REASONS = (
    "tombstone",
    "empty",
    "too_large",
    "invalid_utf8",
    "not_json",
    "not_an_object",
    "too_deep",
    "duplicate_key",
    "not_an_envelope",
    "deleted",
    "not_framed",
    "schema_unknown",
    "schema_incompatible",
    "not_avro",
    "not_protobuf",
    "not_messagepack",
    "not_csv",
    UNEXPECTED,
)
CONTRACT_REASONS = (
    "missing",
    "null",
    "wrong_type",
    "not_finite",
    "out_of_range",
    "wrong_length",
    "no_match",
    "not_in_values",
    "schema",
    "rule",
    "event_time_missing",
    "event_time_unparsable",
    "event_time_ahead",
)
FEATURE_REASONS = ("not_finite", "feature_error", "overflow", UNEXPECTED)
INFERENCE_REASONS = ("model_error", "model_crash", "too_large", UNEXPECTED)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one record became a dead letter.

    The message never contains values of the record, but for what a model says when it raises; `model` is its
    name and version, where it was the cause.
    """

    stage: Stage
    reason: str
    message: str
    model: str | None = None


class RejectedError(Exception):
    """Raised by a decoder for one record; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def beyond_type(result: str) -> Problem:
    """What is wrong with a record whose windows have a result that its type cannot hold."""
    return Problem("feature", "overflow", f"{result} is beyond the range of its type")


def unexpected(stage: Stage, error: Exception) -> Problem:
    """The problem of a record on which Tailrace itself failed: the error's type and line, never its text."""
    frames = extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Problem(stage, UNEXPECTED, f"Tailrace failed on this record: {type(error).__name__}{where}")
