"""A prediction beside what its record and its version say once more.

receipt = compare(recorded, now)
receipt.same                      # to the last byte
receipt.differences               # else field by field
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from flink_jobs.reports.predictions import Fields


class Difference(msgspec.Struct, frozen=True):
    """A field of the prediction: what was recorded, and what is said now; None where it is not there."""

    field: str
    recorded: Any
    now: Any


class Receipt(msgspec.Struct, frozen=True):
    """`sha256` is that of the recorded bytes; `same` if the others are the same bytes."""

    sha256: str
    size: int
    same: bool
    differences: tuple[Difference, ...] = ()


def compare(recorded: bytes, now: bytes, fields: Fields | None = None) -> Receipt:
    """Two predictions, as JSON objects unless `fields` reads them; numbers differ if one bit of them does."""
    digest = hashlib.sha256(recorded).hexdigest()
    if recorded == now:
        return Receipt(digest, len(recorded), same=True)
    before, after = ((fields or _raw)(each) for each in (recorded, now))
    found = tuple(
        Difference(name, _value(before.get(name)), _value(after.get(name)))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
    return Receipt(digest, len(recorded), same=False, differences=found)


def _raw(text: bytes) -> Mapping[str, Any]:
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def _value(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
