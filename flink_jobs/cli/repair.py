"""Repairs a record before it is replayed, and tells what a corrected job file would still refuse.

repaired(expression, b'{"amount": "12"}')       # expression: merge(@, {amount: to_number(amount)})
"""

from __future__ import annotations

import json
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from flink_jobs.errors import InputError
from flink_jobs.plan.params import source_params
from flink_jobs.spec import JobSpec
from udfs.records.decode import decode_batch
from udfs.records.formats import make_decoder
from udfs.records.personal import PrivacyParams


class Unrepairable(Exception):  # noqa: N818  (it says what the record is)
    """The record is left where it is; the text says why, and holds no value of it."""


class Mapping:
    """A JMESPath expression from the record's JSON to what it should be."""

    def __init__(self, expression: str) -> None:
        """Raises InputError for text that is no expression."""
        try:
            self._compiled = jmespath.compile(expression)
        except JMESPathError as error:
            told = str(error).splitlines()[0]
            raise InputError(f"--map must be a JMESPath expression; got {expression!r}: {told}") from None

    def of(self, value: bytes | None) -> bytes:
        """The value, written anew. Raises Unrepairable."""
        try:
            before = json.loads(value or b"")
        except (ValueError, RecursionError):
            raise Unrepairable("its value is not JSON") from None
        try:
            after = self._compiled.search(before)
        except JMESPathError as error:
            raise Unrepairable(f"--map fails: {type(error).__name__}") from None
        if not isinstance(after, dict):
            raise Unrepairable("--map does not make an object of it")
        return _written(after)


def _written(after: dict[str, Any]) -> bytes:
    try:
        return json.dumps(after, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:  # infinite, or half of a surrogate pair
        raise Unrepairable("what --map makes of it is not JSON") from None


class Checker:
    """What a job file says of records: its format and its contract, but for event time and rules."""

    def __init__(self, job: JobSpec) -> None:
        params = source_params(job, PrivacyParams())
        self._decoder = make_decoder(params.contract, params.max_bytes, params.written)

    def problem(self, value: bytes | None) -> str | None:
        """The reason that the record would be refused for; None if it is valid."""
        problems = decode_batch(self._decoder, [value]).problems
        return f"{problems[0].stage} {problems[0].reason}" if problems else None
