"""Reads labels, and counts per window how right versions were about the same records.

A label that cannot be used is counted and dropped: nothing here raises for what a record holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from udfs.rollout.events import Role
from udfs.rollout.losses import Quality, RecordLoss, ScoredRow, is_number, measured, quality_of
from udfs.rollout.version_metrics import CountsKey
from udfs.times import window_start

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
LONGEST = 1_000


class LabelCounts(msgspec.Struct, frozen=True, array_like=True):
    """Of a window: labels read, of these rejected, and records that got theirs."""

    read: int = 0
    rejected: int = 0
    joined: int = 0

    def merged(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(self.read + other.read, self.rejected + other.rejected, self.joined + other.joined)


@dataclass
class LabelSums:
    """Qualities by (start of the window in which the label came, version, role, release); counts by start."""

    qualities: dict[CountsKey, Quality] = field(default_factory=dict)
    counts: dict[int, LabelCounts] = field(default_factory=dict)

    def add(self, other: LabelSums) -> None:
        for key, quality in other.qualities.items():
            known = self.qualities.get(key)
            self.qualities[key] = known.merged(quality) if known else quality
        for start, counts in other.counts.items():
            self.counts[start] = self.counts.get(start, LabelCounts()).merged(counts)

    def about(self, roles: Mapping[Role, int], since: int) -> LabelSums:
        """The qualities of the versions in these roles, since this release, whenever they came."""
        found = LabelSums()
        for (_, version, role, release), quality in self.qualities.items():
            if release >= since and roles.get(role) == version:
                found.add(LabelSums({(0, version, role, release): quality}))
        return found


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    start: int
    version: int
    role: Role
    release: int
    quality: Quality


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    entries: list[_Entry]
    counts: dict[int, LabelCounts]


_WIRE = msgspec.json.Decoder(_Wire)
_SCORED = msgspec.json.Decoder(list[ScoredRow])


def encode_labels(labels: LabelSums) -> bytes:
    """The same bytes for the same counts. JSON, as its integers have no end."""
    entries = [_Entry(*key, quality) for key, quality in sorted(labels.qualities.items(), key=_by_key)]
    return msgspec.json.encode(_Wire(entries, dict(sorted(labels.counts.items()))))


def _by_key(item: tuple[CountsKey, Quality]) -> CountsKey:
    return item[0]


def decode_labels(data: bytes) -> LabelSums:
    """What `encode_labels` was given."""
    wire = _WIRE.decode(data)
    return LabelSums({(e.start, e.version, e.role, e.release): e.quality for e in wire.entries}, wire.counts)


@dataclass(frozen=True)
class ReadLabels:
    """Of n records keys as text and labels as JSON, None where one was rejected; and the counts."""

    keys: npt.NDArray[np.object_]
    labels: npt.NDArray[np.object_]
    report: bytes | None


class LabelReader:
    """Reads JSON records with the fields `key` and `label`."""

    def __init__(self, key: str, label: str, window_ms: int) -> None:
        self._key, self._label, self._window_ms = key, label, window_ms

    def read(self, raws: Sequence[bytes | None], event_time: Ints, late: Flags) -> ReadLabels:
        """A record without a usable event time, or one that later operators would drop, is rejected too."""
        keys, labels = (np.full(len(raws), None, dtype=object) for _ in range(2))
        for i in np.flatnonzero((event_time > 0) & ~late).tolist():
            keys[i], labels[i] = self._one(raws[i])
        usable = np.array([label is not None for label in labels], dtype=np.bool_)
        report = LabelSums()
        starts = window_start(event_time, self._window_ms)
        for start in np.unique(starts).tolist():
            of_window = usable[starts == start]
            report.counts[start] = LabelCounts(len(of_window), int((~of_window).sum()))
        return ReadLabels(keys, labels, encode_labels(report) if len(raws) else None)

    def _one(self, raw: bytes | None) -> tuple[str | None, bytes | None]:
        try:
            record = msgspec.json.decode(raw or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, None
        if not isinstance(record, dict):
            return None, None
        key, label = _key_text(record.get(self._key)), record.get(self._label)
        if key is None or not (isinstance(label, str | bool) or is_number(label)):
            return None, None
        text = msgspec.json.encode(label)
        return (key, text) if len(text) <= LONGEST else (None, None)


def _key_text(value: object) -> str | None:
    """As Arrow writes the job's column as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        text = str(value)
        return text if len(text) <= LONGEST else None
    return None


def count_labels(
    scored: Sequence[bytes], labels: Sequence[bytes], first: Flags, event_time: Ints, window_ms: int
) -> bytes | None:
    """The report of n records with their labels, or None if there is nothing to say.

    Rows that are not `first` have the label of their key a second time, and do not count.
    """
    gathered: dict[CountsKey, tuple[list[RecordLoss], list[tuple[int, int]]]] = {}
    report = LabelSums()
    starts = window_start(event_time, window_ms)
    for i in np.flatnonzero(first).tolist():
        start = int(starts[i])
        fits = _count(_SCORED.decode(scored[i]), msgspec.json.decode(labels[i]), start, gathered)
        counts = LabelCounts(joined=1) if fits else LabelCounts(rejected=1)
        report.counts[start] = report.counts.get(start, LabelCounts()).merged(counts)
    report.qualities = {key: quality_of(rows, beside) for key, (rows, beside) in gathered.items()}
    return encode_labels(report) if report.counts else None


def _count(
    scored: Sequence[ScoredRow],
    label: object,
    start: int,
    gathered: dict[CountsKey, tuple[list[RecordLoss], list[tuple[int, int]]]],
) -> bool:
    """Counts one record; the version that scored it comes first, then its shadows."""
    champion: RecordLoss | None = None
    found = False
    for one in scored:
        row = measured(one, label)
        if row is None:
            continue
        found = True
        rows, beside = gathered.setdefault((start, one.version, one.role, one.release), ([], []))
        if rows and rows[0].kind != row.kind:
            continue
        rows.append(row)
        if one.role == "champion":
            champion = row
        elif one.role == "shadow" and champion and champion.kind == row.kind:
            beside.append((row.loss, champion.loss))
    return found
