"""Streams of ten independent columns that have no drift, what changes in one column, and their references.

known = Known(stream, stream.draw(random, 10_000, WEEK))
known.judged(known.counts(stream.draw(random, 500, window)), {}, window)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.drift import null_distributions as laws
from udfs.drift.compare import compare
from udfs.drift.judge import SegmentVerdict, WindowKey, judge_window
from udfs.drift.params import JudgeSettings
from udfs.profile.collect import Collector
from udfs.profile.counts import Ints, WindowCounts
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import ColumnReference, Reference, parse_reference
from udfs.profile.references import HOUR_MS, HOURS_A_WEEK, ReferenceParts, reference_parts

Values = npt.NDArray[np.generic]
Span = tuple[int, int]
Windows = Mapping[WindowKey, WindowCounts]

COLUMNS = 10
KEY: WindowKey = (None, None, 1)
NAMES = [f"column_{i}" for i in range(COLUMNS)]
CATEGORIES = np.array([f"value_{i:02}" for i in range(30)])
AIRPORTS = np.array(["EWR", "JFK", "LGA", "SWF"])
PLACE = "origin"
WINDOW_MS = 6 * HOUR_MS
WEEK: Span = (0, HOURS_A_WEEK * HOUR_MS)
SHIFTS = (0.1, 0.25, 0.5)
SWAP = 0.05


@dataclass(frozen=True)
class Rows:
    """Ten columns of n values, the times in ms and the places of the rows: (n,)."""

    columns: list[Values]
    times: Ints
    places: Values


@dataclass(frozen=True)
class Stream:
    """`value` draws n values, given the rows' times and places. Changes are of one column, in one segment if
    `segments`: numbers move up by so many standard deviations, or so many rows get the first category."""

    value: Callable[[np.random.Generator, Ints, Values], Values]
    changes: tuple[float, ...] = SHIFTS
    segments: bool = False
    seasonal: bool = False

    def draw(self, random: np.random.Generator, n: int, span: Span) -> Rows:
        """n rows of [start, end) in ms."""
        times = random.integers(*span, size=n)
        places = AIRPORTS[random.integers(0, len(AIRPORTS), size=n)]
        return Rows([self.value(random, times, places) for _ in NAMES], times, places)

    def changed(self, rows: Rows, change: float) -> Rows:
        """The rows with a change of the first column."""
        values, n = rows.columns[0], len(rows.times)
        if values.dtype.kind == "U":
            moved = np.where(np.arange(n) < change * n, CATEGORIES[0], values)
        else:
            there = rows.places == AIRPORTS[0] if self.segments else np.ones(n, dtype=bool)
            moved = values + change * there  # type: ignore[operator]
        return Rows([moved, *rows.columns[1:]], rows.times, rows.places)


def _rhythm(random: np.random.Generator, times: Ints, places: Values) -> Values:
    result: Values = random.normal(2 * np.sin(2 * np.pi * times / (24 * HOUR_MS)))
    return result


def _by_place(random: np.random.Generator, times: Ints, places: Values) -> Values:
    result: Values = random.normal(np.searchsorted(AIRPORTS, places))
    return result


STREAMS: dict[str, Stream] = {
    "normal": Stream(lambda random, times, _: random.normal(size=len(times))),
    "Student t, 2 df": Stream(lambda random, times, _: random.standard_t(2, size=len(times))),
    "30 categories": Stream(lambda random, times, _: random.choice(CATEGORIES, size=len(times)), (SWAP,)),
    "normal, references of 4 segments": Stream(_by_place, segments=True),
    "normal, references by hour of the week": Stream(_rhythm, seasonal=True),
}


class Known:
    """The reference of a stream and all that a job would compare with."""

    def __init__(self, stream: Stream, rows: Rows) -> None:
        self._stream = stream
        reference = reference_of(rows.columns)
        if stream.segments or stream.seasonal:
            reference = _with_parts(stream, reference, rows)
        segments = (SegmentParams(PLACE, tuple(AIRPORTS)),) if stream.segments else ()
        self.reference = reference
        self._parts = ReferenceParts(reference, segments)
        self._collector = collector_of(reference, segments)

    def counts(self, rows: Rows) -> dict[WindowKey, WindowCounts]:
        """One window of all rows, and of each segment."""
        parts = self._collector.collect(_arrays(rows), np.ones(len(rows.times), dtype=np.int64))
        return {(part.column, part.value, part.version): part.counts for part in parts}

    def judged(self, windows: Windows, earlier: Windows, span: Span) -> dict[WindowKey, SegmentVerdict]:
        """As the monitor of a job judges a window."""
        references = {key: self._reference(key, span) for key in windows}
        return judge_window(references, {}, windows, earlier, JudgeSettings())

    def drifted(
        self, windows: Windows, span: Span, earlier: Windows | None = None
    ) -> set[tuple[WindowKey, str]]:
        """The columns that the judge would call drift, in less time; against `earlier` if given."""
        settings, tests = JudgeSettings(), {}
        for key, counts in windows.items():
            known = self._reference(key, span).counts() if earlier is None else earlier[key].columns
            for name, column in counts.columns.items():
                tests[key, name] = compare([known[name]], [column])
        q = laws.benjamini_hochberg([float(each.p[0]) for each in tests.values()])
        sure = dict(zip(tests, (q <= settings.level).tolist(), strict=True))
        return {place for place, each in tests.items() if sure[place] and each.matters(settings)[0]}

    def _reference(self, key: WindowKey, span: Span) -> Reference:
        return self._parts.pick(key[0], key[1], *span, seasonal=self._stream.seasonal)[0]


def reference_of(columns: Sequence[Values]) -> Reference:
    """Column by column, so that no joint law is drawn: it has its own tests."""
    found: dict[str, ColumnReference] = {}
    for name, values in zip(NAMES, columns, strict=False):
        profile = reference_profile(pa.table({name: pa.array(values)}))
        found |= parse_reference(encode_profile(profile)).columns
    return Reference(len(columns[0]), found, {}, None)


def collector_of(reference: Reference, segments: tuple[SegmentParams, ...] = ()) -> Collector:
    """Counts all columns."""
    params = CollectParams(WINDOW_MS, tuple((name, name) for name in NAMES), segments)
    return Collector(params, reference, 1)


def counts_of(collector: Collector, columns: Sequence[Values]) -> WindowCounts:
    """One window of all rows, without segments."""
    arrays = {name: pa.array(values) for name, values in zip(NAMES, columns, strict=True)}
    (part,) = collector.collect(arrays, np.ones(len(columns[0]), dtype=np.int64))
    return part.counts


def _arrays(rows: Rows) -> dict[str, pa.Array]:
    columns = zip([*NAMES, PLACE], [*rows.columns, rows.places], strict=True)
    return {name: pa.array(values) for name, values in columns}


def _with_parts(stream: Stream, reference: Reference, rows: Rows) -> Reference:
    arrays = _arrays(rows)
    segments = {PLACE: arrays[PLACE]} if stream.segments else {}
    parts = reference_parts(reference, arrays, segments, rows.times if stream.seasonal else None)
    packed = {name: msgspec.Raw(msgspec.json.encode(part)) for name, part in parts.items()}
    return msgspec.structs.replace(reference, **packed)
