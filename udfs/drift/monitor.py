"""Turns one closed window into drift records per segment and version, and the alerts that they change.

A pure function of counts and state: the operator that Flink calls keeps both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from udfs.alerts.records import AlertRecord, Closed, Segment, WindowSpan
from udfs.drift.alert_states import AlertState, advance
from udfs.drift.detect import Charts, Detector
from udfs.drift.judge import SegmentVerdict, WindowKey, judge_window
from udfs.drift.params import MonitorParams
from udfs.drift.partial import is_partial, unjudged
from udfs.drift.recent import LEARNING, Recent, reference_of
from udfs.drift.records import DriftRecord, ProblemCount, Volume
from udfs.errors import ModelError
from udfs.model.loading import verified_file
from udfs.model.manifest import PROFILE_FILE
from udfs.profile.collect import PartialProfile
from udfs.profile.counts import WindowCounts
from udfs.profile.params import Compared, Role
from udfs.profile.reference import Reference, parse_reference
from udfs.profile.references import ReferenceParts
from udfs.profile.steps import StepPart, merged_steps
from udfs.profile.wire import decode_partial_profiles, encode_partial_profiles
from udfs.store import open_store
from udfs.times import iso

log = structlog.get_logger(__name__)
Windows = dict[WindowKey, WindowCounts]
SHOWN_PROBLEMS = 100


class MonitorState(msgspec.Struct, frozen=True):
    """What a window leaves to the next: `previous` are its counts, as `udfs.profile.wire` writes them.

    `charts` are those of the sequential detector, which moves on with each of its steps.
    """

    previous: bytes = b""
    alerts: dict[str, AlertState] = {}
    charts: Charts = {}


@dataclass(frozen=True)
class ClosedWindow:
    """What a window's end brings."""

    drift: list[DriftRecord]
    alerts: list[AlertRecord]
    state: MonitorState


class Monitor:
    """Holds the references of the model versions; all else comes with each call."""

    def __init__(self, params: MonitorParams) -> None:
        self._params = params
        self._references: dict[int, Reference] = {}
        self._parts: dict[int, ReferenceParts] = {}
        self._unusable: set[int] = set()
        for version, folder in params.versions.items():
            self._add_reference(version, folder)
        self._detector = Detector(params) if params.sequential else None
        self._importance = _importance(self._references[max(self._references)].importance, params.roles)

    def step(
        self, start: int, parts: Sequence[StepPart], state: MonitorState
    ) -> tuple[list[AlertRecord], MonitorState]:
        """What the sequential detector makes of one of its steps; steps must come in the order of time."""
        assert self._detector
        charts, alerts = self._detector.advance(
            start, merged_steps(parts), state.charts, self._references, self._importance
        )
        return alerts, msgspec.structs.replace(state, charts=charts)

    def close(
        self,
        start: int,
        windows: Windows,
        state: MonitorState,
        *,
        closed: Closed,
        now_ms: int | None,
        repeats: Mapping[int, tuple[int, int]] | None = None,
        ended: bool = False,
        recent: Recent | None = None,
    ) -> ClosedWindow:
        """Judges a window; an early one changes nothing that is remembered.

        The first window, and the last one where the input has `ended`, are not judged if they are a part.

        `repeats` are those of keys, by version, as `Keys.duplicates` has them; None if they are not counted.
        With `recent` it is compared with that, if enough is known, else not judged; then it counts there.
        """
        end = start + self._params.window_ms
        windows = attributed(windows, max(self._references))
        self._find_references(windows)
        previous = unpack(state.previous)
        picked = {key: self._pick(key, start, end) for key in windows if key[2] in self._references}
        lately = recent.known(start) if recent else {}
        if recent:
            picked |= {
                key: (reference_of(self._references[key[2]], lately[key]), recent.name)
                for key in picked.keys() & lately.keys()
            }
        references = {key: reference for key, (reference, _) in picked.items()}
        compared = {key: name for key, (_, name) in picked.items()}
        learning = picked.keys() - lately.keys() if recent else set()
        judged = judge_window(
            references, self._params.roles, windows, previous, self._params.settings, self._params.window_ms
        )
        partial = closed != "early" and is_partial(windows, start, end, first=not state.previous, last=ended)
        if partial:
            judged = {key: unjudged(verdict) for key, verdict in judged.items()}
        judged |= {key: unjudged(judged[key], LEARNING) for key in learning}
        span = WindowSpan(iso(start), iso(end), closed)
        freshness = float(max(now_ms - end, 0)) if now_ms is not None else None
        drift = [
            self._record(
                key,
                windows[key],
                judged[key],
                span,
                freshness,
                state.charts,
                compared.get(key, "all"),
                repeats,
                partial=partial,
                learning=key in learning,
            )
            for key in sorted(windows, key=str)
        ]
        if closed == "early":
            return ClosedWindow(drift, [], state)
        if recent:
            recent.add(start, windows)
        states, alerts = advance(state.alerts, self._params.rules, drift, self._importance, end)
        return ClosedWindow(drift, alerts, MonitorState(pack(windows), states, state.charts))

    def _pick(self, key: WindowKey, start: int, end: int) -> tuple[Reference, Compared]:
        column, value, version = key
        return self._parts[version].pick(column, value, start, end, seasonal=self._params.seasonal)

    def _find_references(self, windows: Windows) -> None:
        """Reads the references of versions that were released since the job began."""
        folder = self._params.model_folder
        if folder is None:
            return
        for version in {key[2] for key in windows} - self._references.keys() - self._unusable:
            try:
                self._add_reference(version, open_store(folder).location(f"versions/{version}"))
            except (OSError, ModelError) as error:
                self._unusable.add(version)
                log.warning("no_reference", version=version, error=str(error))

    def _add_reference(self, version: int, folder: str) -> None:
        digest = self._params.digests.get(version)
        profile = verified_file(folder, PROFILE_FILE, digest=digest, trust=self._params.trust)
        reference = parse_reference(profile)
        self._references[version] = reference
        self._parts[version] = ReferenceParts(reference, self._params.segments)

    def _record(
        self,
        key: WindowKey,
        counts: WindowCounts,
        judged: SegmentVerdict,
        span: WindowSpan,
        freshness: float | None,
        charts: Charts,
        reference: Compared,
        repeats: Mapping[int, tuple[int, int]] | None,
        *,
        partial: bool,
        learning: bool,
    ) -> DriftRecord:
        column, value, version = key
        detector = self._detector if column is None else None
        # Of all records only: those of a segment would need its keys.
        repeated = repeats.get(version, (0, 1)) if repeats is not None and column is None else (None, None)
        return DriftRecord(
            job=self._params.job,
            model=self._params.model,
            version=version,
            window=span,
            segment=Segment(column, value) if column is not None else None,
            records=Volume(counts.predicted, counts.dead, counts.late, *repeated),
            problems=_problems(counts),
            freshness_ms=freshness,
            level=self._params.settings.level,
            verdict=judged.verdict,
            drifted=judged.drifted,
            columns=judged.columns,
            joint=judged.joint,
            reference=reference,
            partial=partial,
            learning=learning,
            sequential=detector.reports(charts, version) if detector else None,
        )


class Kept:
    """The counts of an open window as Flink's state holds them.

    They become bytes when Flink writes them, once per bundle, not with each part that is added.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __reduce__(self) -> tuple[Callable[[bytes], Kept], tuple[bytes]]:
        return _restored, (pack(self.windows),)


def _restored(data: bytes) -> Kept:
    return Kept(unpack(data))


def merge(parts: Iterable[PartialProfile], before: Mapping[WindowKey, WindowCounts] | None = None) -> Windows:
    """The counts per segment and version, whatever window the parts are of, and those before."""
    merged: Windows = dict(before or {})
    for profile in parts:
        key = (profile.column, profile.value, profile.version)
        merged[key] = merged[key].merged(profile.counts) if key in merged else profile.counts
    return merged


def attributed(windows: Windows, otherwise: int) -> Windows:
    """What no version has seen counts with the version that predicted most of the window, or `otherwise`."""
    seen = {key[2]: counts.predicted for key, counts in windows.items() if key[0] is None and key[2]}
    version = max(seen, key=lambda v: (seen[v], v), default=otherwise)
    parts = [PartialProfile(None, c, v, n or version, counts) for (c, v, n), counts in windows.items()]
    return merge(parts)


def pack(windows: Mapping[WindowKey, WindowCounts]) -> bytes:
    """The same bytes for the same counts."""
    parts = [PartialProfile(None, key[0], key[1], key[2], windows[key]) for key in sorted(windows, key=str)]
    return encode_partial_profiles(parts)


def unpack(data: bytes) -> Windows:
    """What `pack` was given."""
    return merge(decode_partial_profiles(data)) if data else {}


def _importance(known: Mapping[str, float], roles: Mapping[str, Role]) -> dict[str, float]:
    """Shares of the inputs; equal ones where the profile has none."""
    inputs = [name for name, role in roles.items() if role in ("input", "feature")]
    return {name: known.get(name, 0.0) if known else 1 / len(inputs) for name in inputs}


def _problems(counts: WindowCounts) -> tuple[ProblemCount, ...]:
    """The most frequent first."""
    ranked = sorted(counts.problems.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(ProblemCount(*key, count) for key, count in ranked[:SHOWN_PROBLEMS])
