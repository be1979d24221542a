"""What is counted of a batch, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec


class SegmentParams(msgspec.Struct, frozen=True):
    """A column whose `values` are segments of their own; the others, and null, are OTHER."""

    column: str
    values: tuple[str, ...]


class VectorParams(msgspec.Struct, frozen=True):
    """The reference's vector `name`: the job's `columns` of its elements, and the `measures` to count."""

    name: str
    columns: tuple[str, ...]
    measures: tuple[str, ...]


class CollectParams(msgspec.Struct, frozen=True):
    """`columns` maps the reference's names to the job's columns; its outputs are always counted.

    `step_columns` are names of the reference that the sequential detector watches, in steps of `step_ms`.
    `vectors` are counted by their measures, see `udfs.profile.vectors`.
    `keys` is the job's column whose repeated values are counted.
    """

    window_ms: int
    columns: tuple[tuple[str, str], ...]
    segments: tuple[SegmentParams, ...] = ()
    step_ms: int = 0
    step_columns: tuple[str, ...] = ()
    keys: str | None = None
    vectors: tuple[VectorParams, ...] = ()


Role = Literal["input", "feature", "prediction", "score"]

Compared = Literal["all", "segment", "hour_of_week", "trailing", "year_ago"]
