"""Picks what a window is compared with: all reference rows, its segment's, or its hours' of the week.

A part of the reference has the bins of the whole, so that the same counts of a window compare with either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from udfs.errors import ModelError
from udfs.profile.collect import OTHER, Collector, PartialProfile
from udfs.profile.counts import CategoricalCounts, ColumnCounts, Ints, NumericCounts, WindowCounts
from udfs.profile.params import CollectParams, Compared, SegmentParams
from udfs.profile.reference import (
    CategoricalReference,
    ColumnReference,
    NumericReference,
    Outside,
    Reference,
)
from udfs.profile.tails import tested_half, with_new
from udfs.profile.wire import Columns, pack_columns, unpack_columns

HOUR_MS = 3_600_000
HOURS_A_WEEK = 168
# A part of fewer rows would see less than all rows together do.
MIN_ROWS = 200
MAX_VALUES = 100
_ALL_TIME = 2**62
Value = TypeVar("Value")


class _Counted(msgspec.Struct, frozen=True):
    rows: int
    columns: Columns


def reference_parts(
    reference: Reference,
    columns: dict[str, pa.Array],
    segments: Mapping[str, pa.Array],
    event_time: Ints | None,
) -> dict[str, Any]:
    """`segments` and `hour_of_week` of a profile, from n rows; `event_time` in ms, (n,).

    Of a segment column the 100 most frequent values have a part. Hours of the week are in UTC, 0 to 167.
    """
    rows = len(next(iter(columns.values())))
    params = [_segment(name, column) for name, column in segments.items()]
    found: dict[str, Any] = {"segments": {name: {} for name in segments}}
    texts = {name: column.cast(pa.string()) for name, column in segments.items()}
    whole = np.zeros(rows, dtype=np.int64)
    for part in _tested(reference, columns, texts, whole, _ALL_TIME, params):
        if part.column is not None and part.value != OTHER:
            found["segments"][part.column][part.value] = _packed(part.counts)
    if event_time is not None:
        hours = event_time % (HOURS_A_WEEK * HOUR_MS)
        parts = _tested(reference, columns, {}, hours, HOUR_MS, ())
        found["hour_of_week"] = {str((part.start or 0) // HOUR_MS): _packed(part.counts) for part in parts}
    return found


def _tested(
    reference: Reference,
    columns: dict[str, pa.Array],
    texts: dict[str, pa.Array],
    times: Ints,
    window_ms: int,
    segments: Sequence[SegmentParams],
) -> list[PartialProfile]:
    """Columns with a tail by the rows that their values were not chosen by, as in the whole."""
    every = _collect(reference, columns | texts, times, window_ms, segments)
    tails = [
        name
        for name, column in (reference.columns | reference.outputs).items()
        if isinstance(column, CategoricalReference) and column.tested
    ]
    if not tails:
        return every
    half = pa.array(tested_half(len(times)))
    own = {name: with_new(columns[name].cast(pa.string())) for name in tails}
    filtered = {name: column.filter(half) for name, column in (texts | own).items()}
    # A segment's own column is not compared within its segments.
    filtered |= {name: text.filter(half) for name, text in texts.items()}
    counted = _collect(reference, filtered, times[half.to_numpy(zero_copy_only=False)], window_ms, segments)
    of_part = {(part.start, part.column, part.value): part.counts.columns for part in counted}
    for part in every:
        known = of_part.get((part.start, part.column, part.value), {})
        for name in tails:
            size = len(part.counts.columns[name].counts)
            found = known.get(name, CategoricalCounts(np.zeros(size, dtype=np.int64)))
            assert isinstance(found, CategoricalCounts)
            part.counts.columns[name] = replace(found, examples=())
    return every


def _segment(name: str, column: pa.Array) -> SegmentParams:
    counted = pc.value_counts(column.cast(pa.string()).drop_null()).to_pylist()
    counted.sort(key=lambda item: (-item["counts"], item["values"]))
    return SegmentParams(name, tuple(item["values"] for item in counted[:MAX_VALUES]))


def _collect(
    reference: Reference,
    columns: Mapping[str, pa.Array],
    times: Ints,
    window_ms: int,
    segments: Sequence[SegmentParams],
) -> list[PartialProfile]:
    # How columns go together in a part would need a law of its own.
    plain = msgspec.structs.replace(reference, joint=None, pairs=None)
    params = CollectParams(window_ms, tuple((name, name) for name in reference.columns), tuple(segments))
    return Collector(params, plain, 0).collect(columns, times)


def _packed(counts: WindowCounts) -> Any:
    return msgspec.to_builtins(_Counted(counts.predicted, pack_columns(counts.columns)))


class ReferenceParts:
    """The references of one model version. Raises ModelError for parts that do not fit the whole.

    `segments` are those of the job: what it does not watch one by one is OTHER.
    """

    def __init__(self, whole: Reference, segments: Sequence[SegmentParams]) -> None:
        self._whole = whole
        self._hours = {int(hour): _Part(part) for hour, part in _read(whole.hour_of_week, _hours).items()}
        stored = {
            column: {value: _Part(part) for value, part in values.items()}
            for column, values in _read(whole.segments, _segments).items()
        }
        self._check(
            [*self._hours.values(), *(part for values in stored.values() for part in values.values())]
        )
        self._segments: dict[tuple[str, str | None], Reference] = {}
        for segment in segments:
            self._add(segment, stored.get(segment.column, {}))
        self._mixtures: dict[tuple[int, int], Reference | None] = {}

    @property
    def seasonal(self) -> bool:
        """Whether there are hours to compare with."""
        return bool(self._hours)

    def pick(
        self, column: str | None, value: str | None, start: int, end: int, *, seasonal: bool
    ) -> tuple[Reference, Compared]:
        """What a window of all records (`column` null) or of a segment is compared with, and its name."""
        if column is not None and (column, value) in self._segments:
            return self._segments[column, value], "segment"
        mixture = self._mixture(start, end) if seasonal else None
        return (mixture, "hour_of_week") if mixture else (self._whole, "all")

    def _mixture(self, start: int, end: int) -> Reference | None:
        """All hours that the window touches, with as many rows as the reference has of each."""
        first, hours = start // HOUR_MS, -(-end // HOUR_MS) - start // HOUR_MS
        key = (first % HOURS_A_WEEK, hours)
        if hours >= HOURS_A_WEEK:
            return None
        if key not in self._mixtures:
            there = [(first + i) % HOURS_A_WEEK for i in range(hours)]
            mixture = self._made([self._hours[hour] for hour in there if hour in self._hours])
            # Most of what is alike in an hour is its own, and in its reference.
            self._mixtures[key] = mixture and _without_blocks(mixture)
        return self._mixtures[key]

    def _add(self, segment: SegmentParams, stored: Mapping[str, _Part]) -> None:
        watched = {value: stored[value] for value in segment.values if value in stored}
        for value, part in watched.items():
            if made := self._made([part]):
                self._segments[segment.column, value] = made
        if watched and (rest := self._made([self._rest(watched)])):
            self._segments[segment.column, OTHER] = rest

    def _rest(self, watched: Mapping[str, _Part]) -> _Part:
        """The reference rows that are in none of the segments."""
        rows = self._whole.rows - sum(part.rows for part in watched.values())
        columns = self._whole.counts()
        for part in watched.values():
            columns = {name: _without(counts, part.columns[name]) for name, counts in columns.items()}
        return _Part.of(rows, columns)

    def _made(self, parts: Sequence[_Part]) -> Reference | None:
        rows = sum(part.rows for part in parts)
        if rows < MIN_ROWS:
            return None
        merged = dict(parts[0].columns)
        for part in parts[1:]:
            merged = {n: counts.merged(part.columns[n]) for n, counts in merged.items()}  # type: ignore[arg-type]
        return with_rows(self._whole, rows, merged)

    def _check(self, parts: Sequence[_Part]) -> None:
        sizes = {name: len(counts.counts) for name, counts in self._whole.counts().items()}
        for part in parts:
            if {name: len(counts.counts) for name, counts in part.columns.items()} != sizes:
                raise ModelError("the parts of a reference profile must have its columns and bins")


class _Part:
    """Rows and counts of a part."""

    def __init__(self, part: _Counted) -> None:
        self.rows = part.rows
        self.columns = unpack_columns(part.columns)

    @classmethod
    def of(cls, rows: int, columns: Mapping[str, ColumnCounts]) -> _Part:
        part = cls(_Counted(rows, {}))
        part.columns = dict(columns)
        return part


def with_rows(whole: Reference, rows: int, counted: Mapping[str, ColumnCounts]) -> Reference:
    """The reference of so many other rows, on the same bins: of those columns of which there are counts.

    How alike rows near in time are stays as it was; the law of the correlations was of the rows before.
    """
    columns, outputs = (
        {name: _on_bins(column, counted[name]) for name, column in each.items() if name in counted}
        for each in (whole.columns, whole.outputs)
    )
    return msgspec.structs.replace(whole, rows=rows, columns=columns, outputs=outputs, joint=None, pairs=None)


_hours = msgspec.json.Decoder(dict[str, _Counted])
_segments = msgspec.json.Decoder(dict[str, dict[str, _Counted]])


def _read(raw: msgspec.Raw, decoder: msgspec.json.Decoder[dict[str, Value]]) -> dict[str, Value]:
    try:
        return decoder.decode(raw) if bytes(raw) else {}
    except msgspec.DecodeError as error:
        raise ModelError(f"the parts of a reference profile must be counts: {error}") from None


def _without_blocks(reference: Reference) -> Reference:
    columns, outputs = (
        {name: msgspec.structs.replace(column, blocks=[]) for name, column in each.items()}
        for each in (reference.columns, reference.outputs)
    )
    return msgspec.structs.replace(reference, columns=columns, outputs=outputs)


def _on_bins(column: ColumnReference, counts: ColumnCounts) -> ColumnReference:
    if isinstance(column, CategoricalReference):
        assert isinstance(counts, CategoricalCounts)
        return column.with_counts(counts)
    assert isinstance(counts, NumericCounts)
    inner = slice(1, -1)
    fixed = msgspec.structs.replace(
        column.fixed_point, sum_squares=counts.squares, sums=counts.sums[inner].tolist()
    )
    return NumericReference(
        column.edges,
        counts.counts[inner].tolist(),
        fixed,
        counts.null,
        counts.invalid,
        counts.low,
        counts.high,
        column.blocks,
        Outside((int(counts.counts[0]), int(counts.counts[-1])), (int(counts.sums[0]), int(counts.sums[-1]))),
    )


def _without(whole: ColumnCounts, part: ColumnCounts) -> ColumnCounts:
    """The smallest and largest value stay those of the whole."""
    if isinstance(whole, CategoricalCounts):
        assert isinstance(part, CategoricalCounts)
        return CategoricalCounts(
            whole.counts - part.counts,
            whole.other - part.other,
            whole.unseen - part.unseen,
            whole.null - part.null,
        )
    assert isinstance(part, NumericCounts)
    return NumericCounts(
        whole.counts - part.counts,
        whole.sums - part.sums,
        whole.squares - part.squares,
        whole.low,
        whole.high,
        whole.null - part.null,
        whole.invalid - part.invalid,
    )
