"""Remembers what is known of the version that may be promoted, from window to window.

Counts are of the newest release, where a canary's share is one. Labels are kept release by release since
the version began beside its champion, so that a larger share does not start anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from udfs.alerts.records import WindowSpan
from udfs.rollout.compare import compare_window
from udfs.rollout.events import Role
from udfs.rollout.gate import Evidence, Gate
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelSums, decode_labels, encode_labels
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import CountsKey, MetricsReport, VersionCounts, decode, encode


class Known(msgspec.Struct, frozen=True):
    """Of one version in one role beside one champion, since the release `since`; all but labels of `release`.

    `looks`, `timed` and `slow` as in `Evidence`; `counts` and `labels` are encoded.
    """

    version: int
    role: Role
    champion: int
    since: int
    release: int
    looks: int = 0
    timed: int = 0
    slow: int = 0
    counts: bytes = b""
    labels: bytes = b""

    @property
    def roles(self) -> dict[Role, int]:
        return {self.role: self.version, "champion": self.champion}


def now_known(
    before: Known | None, counts: Mapping[CountsKey, VersionCounts], labels: LabelSums | None, newest: int
) -> Known | None:
    """Who may be promoted under the newest release: the canary, or else the last shadow.

    As before while nobody else scored under it: it may be still to come, and a few keys come rarely.
    """
    champions = {
        key[1]: found.rows + found.errors
        for key, found in counts.items()
        if (key[2], key[3]) == ("champion", newest)
    }
    there = _under(newest, counts) | _under(newest, labels.qualities if labels else {})
    others = sorted(each for each in there if each[0] != "champion")
    canaries = [each for each in others if each[0] == "canary"]
    if not others or (before and before.release == newest and before.role == "canary" and not canaries):
        return before
    role, version = (canaries or others)[-1]
    champion = max(
        champions or [v for r, v in there if r == "champion"] or [0], key=lambda v: (champions.get(v, 0), v)
    )
    if before and (before.role, before.version) == (role, version) and champion in (before.champion, 0):
        if before.release == newest:
            return before
        return Known(version, role, before.champion, before.since, newest, before.looks, labels=before.labels)
    return Known(version, role, champion, newest, newest) if champion else None


def _under(release: int, keys: Iterable[CountsKey]) -> set[tuple[Role, int]]:
    return {(key[2], key[1]) for key in keys if key[3] == release}


def is_about(known: Known, counts: Iterable[CountsKey], labels: LabelSums | None) -> bool:
    """Whether a window says something of it."""
    told = labels.qualities if labels else {}
    return any(key[1:3] == (known.version, known.role) and key[3] >= known.since for key in (*counts, *told))


def look(
    known: Known, gate: Gate, window: ComparisonRecord, report: MetricsReport, labels: LabelSums | None
) -> tuple[Evidence, Known]:
    """The evidence at the end of a window, and what to remember of it."""
    counts = _with_window(known, report)
    kept = decode_labels(known.labels) if known.labels else LabelSums()
    lately = (labels or LabelSums()).about(known.roles, known.since)
    kept.add(lately)
    so_far = compare_window(
        window.job, window.model, WindowSpan(window.window.start, window.window.end), counts.counts, kept
    )
    ratio = next((pair.latency_ratio for pair in window.pairs if pair.version == known.version), None)
    slow = gate.latency is not None and ratio is not None and ratio > gate.latency
    after = msgspec.structs.replace(
        known,
        looks=known.looks + 1,
        timed=known.timed + (ratio is not None),
        slow=known.slow + slow,
        counts=encode(counts) if counts.counts else b"",
        labels=encode_labels(kept) if kept.qualities else b"",
    )
    who = (known.version, known.role, known.champion, min(gate.labels, 100))
    return (
        Evidence(
            so_far, window, after.looks, after.timed, after.slow, labelled(kept, *who), labelled(lately, *who)
        ),
        after,
    )


def _with_window(known: Known, report: MetricsReport) -> MetricsReport:
    """The champion's records of windows in which the other version had none prove nothing."""
    total = decode(known.counts) if known.counts else MetricsReport()
    new = MetricsReport()
    for (_, version, role, release), found in report.counts.items():
        if release == known.release and known.roles.get(role) == version:
            new.add((0, version, role, release), found)
    own = new.counts.get((0, known.version, known.role, known.release))
    if own and own.rows + own.errors:
        total.add_all(new)
    return total
