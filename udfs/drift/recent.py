"""Keeps what a job saw, to compare windows with: the same counts as theirs, added up by stretches of time.

Counts add up exactly, and a window is compared with those before it alone, so that the references are the
same however the work is split. `state` maps the starts of the stretches to bytes; it holds at most as many as
`RecentParams` has room for.

recent = Recent(params, state)
recent.known(start)        # {(None, None, 3): WindowCounts(…)}, or {} while too little is known
recent.add(start, windows)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from msgspec.structs import replace as replace_struct

from udfs.drift.judge import WindowKey
from udfs.drift.params import RecentParams
from udfs.profile.collect import PartialProfile
from udfs.profile.counts import CategoricalCounts, WindowCounts, cells
from udfs.profile.params import Compared
from udfs.profile.reference import NumericReference, Reference
from udfs.profile.references import HOUR_MS, HOURS_A_WEEK, MIN_ROWS, with_rows
from udfs.profile.wire import decode_partial_profiles, encode_partial_profiles

WEEK_MS = HOURS_A_WEEK * HOUR_MS
LEARNING = "not judged: too little is known of the time that it is to be compared with"


class BytesByStart(Protocol):
    """Flink's map state."""

    def keys(self) -> Iterable[int]: ...

    def get(self, start: int, /) -> bytes | None: ...

    def put(self, start: int, data: bytes, /) -> None: ...

    def remove(self, start: int, /) -> None: ...


class Recent:
    """Windows come in the order of time, each once."""

    def __init__(self, params: RecentParams, state: BytesByStart) -> None:
        self.name: Compared = params.name
        self._params = params
        self._state = state

    def add(self, start: int, windows: Mapping[WindowKey, WindowCounts]) -> None:
        """Keeps a window's counts, and forgets what no later window is compared with."""
        seen = {key: _columns_of(counts) for key, counts in windows.items() if counts.columns}
        bucket = start // self._params.bucket_ms * self._params.bucket_ms
        if seen:
            self._state.put(bucket, _pack(_merged([*self._read(bucket), *seen.items()])))
        first = start - self._params.ago_ms - self._params.length_ms
        for kept in list(self._state.keys()):
            if kept < first:
                self._state.remove(kept)

    def known(self, start: int) -> dict[WindowKey, WindowCounts]:
        """What the window that begins at `start` is compared with; none of less than half of the time."""
        params = self._params
        end = start - params.ago_ms
        inside = [kept for kept in sorted(self._state.keys()) if end - params.length_ms <= kept < end]
        pairs = [(kept, pair) for kept in inside for pair in self._read(kept)]
        first: dict[WindowKey, int] = {}
        for kept, (key, _) in pairs:
            first.setdefault(key, kept)
        chosen = [
            pair
            for kept, pair in pairs
            if first[pair[0]] <= end - params.length_ms // 2
            and not (params.same_hours and (start - kept) % WEEK_MS)
        ]
        return {key: counts for key, counts in _merged(chosen).items() if counts.predicted >= MIN_ROWS}

    def _read(self, bucket: int) -> list[tuple[WindowKey, WindowCounts]]:
        data = self._state.get(bucket)
        parts = decode_partial_profiles(bytes(data)) if data is not None else []
        return [((part.column, part.value, part.version), part.counts) for part in parts]


def reference_of(whole: Reference, counts: WindowCounts) -> Reference:
    """The version's bins with these records."""
    made = with_rows(whole, counts.predicted, counts.columns)
    columns, outputs = (
        {name: replace_struct(column, law=_law(whole, name)) for name, column in each.items()}
        for each in (made.columns, made.outputs)
    )
    return replace_struct(made, columns=columns, outputs=outputs)


def _law(whole: Reference, name: str) -> list[int]:
    column = whole.columns[name] if name in whole.columns else whole.outputs[name]
    return column.counts if isinstance(column, NumericReference) else cells(column.as_counts()).tolist()


def _columns_of(counts: WindowCounts) -> WindowCounts:
    """Without what no window is compared with, and without values of records."""
    columns = {
        name: replace(column, examples=()) if isinstance(column, CategoricalCounts) else column
        for name, column in sorted(counts.columns.items())
    }
    return WindowCounts(predicted=counts.predicted, columns=columns)


def _merged(pairs: Iterable[tuple[WindowKey, WindowCounts]]) -> dict[WindowKey, WindowCounts]:
    merged: dict[WindowKey, WindowCounts] = {}
    for key, counts in pairs:
        merged[key] = merged[key].merged(counts) if key in merged else counts
    return merged


def _pack(windows: Mapping[WindowKey, WindowCounts]) -> bytes:
    return encode_partial_profiles(
        PartialProfile(None, *key, windows[key]) for key in sorted(windows, key=str)
    )
