"""Counts what each version did in a batch, per window of event time, and gathers events for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.rollout.clusters import merged_clusters
from udfs.rollout.events import Event, Role
from udfs.times import window_start

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
SCORE_BINS = 100
# Sums in millionths, clipped so that those of many rows stay within 64 bits.
FIXED = 1_000_000
LARGEST = 10_000_000


class VersionCounts(msgspec.Struct, array_like=True):
    """One version in one role. `histogram` counts scores on 100 bins of [0, 1], where they are probabilities.

    `total` is the sum of scores in millionths. `missed` rows were not asked of a shadow, or not answered in
    time. Beside the champion: on how many rows both predicted (`paired`), said the same (`agreed`), and how
    far scores were apart (`difference`, `distance` in millionths; `farthest`). By bucket of the key, where a
    canary is chosen by key, `clusters` are rows, errors and the sum of the scores' bins.
    """

    rows: int = 0
    errors: int = 0
    missed: int = 0
    took_ns: int = 0
    total: int = 0
    histogram: dict[int, int] = {}
    paired: int = 0
    agreed: int = 0
    difference: int = 0
    distance: int = 0
    farthest: float = 0.0
    clusters: dict[int, tuple[int, int, int]] = {}

    def merged(self, other: VersionCounts) -> VersionCounts:
        histogram = dict(self.histogram)
        for score_bin, count in other.histogram.items():
            histogram[score_bin] = histogram.get(score_bin, 0) + count
        return VersionCounts(
            self.rows + other.rows,
            self.errors + other.errors,
            self.missed + other.missed,
            self.took_ns + other.took_ns,
            self.total + other.total,
            dict(sorted(histogram.items())),
            self.paired + other.paired,
            self.agreed + other.agreed,
            self.difference + other.difference,
            self.distance + other.distance,
            max(self.farthest, other.farthest),
            merged_clusters(self.clusters, other.clusters),
        )


CountsKey = tuple[int, int, Role, int]


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    start: int
    version: int
    role: Role
    release: int
    counts: VersionCounts


class _Report(msgspec.Struct, frozen=True, array_like=True):
    entries: list[_Entry]
    events: list[Event]


@dataclass
class MetricsReport:
    """Counts by (window start, version, role, release), and events."""

    counts: dict[CountsKey, VersionCounts] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def add(self, key: CountsKey, counts: VersionCounts) -> None:
        self.counts[key] = self.counts[key].merged(counts) if key in self.counts else counts

    def add_all(self, other: MetricsReport) -> None:
        for key, counts in other.counts.items():
            self.add(key, counts)
        self.events += [event for event in other.events if event not in self.events]


def encode(report: MetricsReport) -> bytes:
    """The same bytes for the same counts."""
    entries = [
        _Entry(*key, counts) for key, counts in sorted(report.counts.items(), key=lambda item: item[0])
    ]
    return msgspec.msgpack.encode(_Report(entries, report.events))


_decoder = msgspec.msgpack.Decoder(_Report)


def decode(data: bytes) -> MetricsReport:
    """What `encode` was given."""
    decoded = _decoder.decode(data)
    counts = {(e.start, e.version, e.role, e.release): e.counts for e in decoded.entries}
    return MetricsReport(counts, list(decoded.events))


class VersionMetrics:
    """Gathers one batch after the other."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._report = MetricsReport()

    def scored(
        self,
        version: int,
        role: Role,
        release: int,
        event_time: Ints,
        scores: Mapping[str, pa.Array],
        took_ns: int,
        buckets: Ints | None = None,
    ) -> None:
        """Counts n rows that the version predicted, and the time that it took for all of them."""
        values = score_values(scores)
        for start, chosen in self._windows(event_time):
            of_window = values[chosen]
            share = len(of_window) * took_ns // max(len(values), 1)
            found = counted(of_window, share)
            found.clusters = _clusters(buckets, chosen, _score_bins(of_window) if found.histogram else None)
            self._report.add((start, version, role, release), found)

    def failed(
        self, version: int, role: Role, release: int, event_time: Ints, buckets: Ints | None = None
    ) -> None:
        """Counts n rows on which the version raised."""
        for start, chosen in self._windows(event_time):
            clusters = {b: (0, n, 0) for b, (n, _, _) in _clusters(buckets, chosen, None).items()}
            found = VersionCounts(errors=len(chosen), clusters=clusters)
            self._report.add((start, version, role, release), found)

    def missed(self, version: int, release: int, event_time: Ints) -> None:
        """Counts n rows that a shadow did not score."""
        for start, chosen in self._windows(event_time):
            self._report.add((start, version, "shadow", release), VersionCounts(missed=len(chosen)))

    def paired(
        self,
        version: int,
        release: int,
        event_time: Ints,
        champion: Mapping[str, pa.Array],
        shadow: Mapping[str, pa.Array],
    ) -> None:
        """Counts n rows that both the champion and a shadow predicted."""
        agreed = pc.equal(
            champion["prediction"].cast(pa.string()), shadow["prediction"].cast(pa.string())
        ).to_numpy(zero_copy_only=False)
        apart = score_values(shadow) - score_values(champion)
        for start, chosen in self._windows(event_time):
            self._report.add(
                (start, version, "shadow", release),
                VersionCounts(
                    paired=len(chosen),
                    agreed=int(agreed[chosen].sum()),
                    difference=int(_fixed(apart[chosen]).sum()),
                    distance=int(_fixed(np.abs(apart[chosen])).sum()),
                    farthest=float(np.abs(apart[chosen]).max(initial=0.0)),
                ),
            )

    def take(self, events: Iterable[Event]) -> bytes | None:
        """All since the last call, or None if there was nothing."""
        self._report.events += events
        report, self._report = self._report, MetricsReport()
        return encode(report) if report.counts or report.events else None

    def _windows(self, event_time: Ints) -> Iterable[tuple[int, npt.NDArray[np.intp]]]:
        starts = window_start(event_time, self._window_ms)
        for start in np.unique(starts).tolist():
            yield start, np.flatnonzero(starts == start)


def score_values(scores: Mapping[str, pa.Array]) -> Floats:
    """One number a row: the score, the largest probability, or a predicted number; else 0."""
    if "score" in scores:
        values = scores["score"]
    elif "probabilities" in scores:
        columns = scores["probabilities"].flatten()
        values = pa.array(np.max([column.to_numpy(zero_copy_only=False) for column in columns], axis=0))
    elif pa.types.is_floating(scores["prediction"].type):
        values = scores["prediction"]
    else:
        return np.zeros(len(scores["prediction"]))
    found: Floats = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def counted(values: Floats, took_ns: int) -> VersionCounts:
    """The counts of n scores."""
    histogram: dict[int, int] = {}
    if len(values) and values.min() >= 0 and values.max() <= 1:
        counts = np.bincount(_score_bins(values))
        histogram = {int(score_bin): int(counts[score_bin]) for score_bin in np.flatnonzero(counts)}
    return VersionCounts(len(values), took_ns=took_ns, total=int(_fixed(values).sum()), histogram=histogram)


def _score_bins(values: Floats) -> Ints:
    return np.minimum((values * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)


def _clusters(
    buckets: Ints | None, chosen: npt.NDArray[np.intp], score_bins: Ints | None
) -> dict[int, tuple[int, int, int]]:
    """Of the chosen rows, but those of null keys."""
    if buckets is None:
        return {}
    mine = buckets[chosen]
    known = mine >= 0
    rows = np.bincount(mine[known])
    sums = np.zeros(len(rows)) if score_bins is None else np.bincount(mine[known], score_bins[known])
    return {b: (int(rows[b]), 0, int(sums[b])) for b in np.flatnonzero(rows).tolist()}


def _fixed(values: Floats) -> Ints:
    fixed: Ints = np.rint(np.clip(values, -LARGEST, LARGEST) * FIXED).astype(np.int64)
    return fixed
