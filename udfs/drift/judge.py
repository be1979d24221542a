"""Decides, for all segments and versions of a window together, what drifted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from udfs.drift import null_distributions as laws
from udfs.drift.compare import Alike, ColumnTest, compare
from udfs.drift.correlations import judge_joint
from udfs.drift.dependence import judge_pairs
from udfs.drift.params import JudgeSettings
from udfs.drift.records import ColumnReport, Comparison, JointReport, Verdict
from udfs.drift.reports import column_reports, verdict_of
from udfs.profile.blocks import correlation_in, correlation_of_all
from udfs.profile.counts import WindowCounts
from udfs.profile.params import Role
from udfs.profile.reference import ColumnReference, Reference

WindowKey = tuple[str | None, str | None, int]


@dataclass(frozen=True)
class SegmentVerdict:
    """One segment and version. `drifted` names the columns; the joint test adds to the verdict only.

    The verdict is drift if anything drifted, ok if at least half of the columns could be judged, else
    insufficient_data; so it is without columns or rows.
    """

    columns: tuple[ColumnReport, ...]
    joint: JointReport | None
    verdict: Verdict
    drifted: tuple[str, ...]


ColumnTests = dict[WindowKey, dict[str, ColumnTest]]
References = Mapping[WindowKey, Reference]


def judge_window(
    references: References,
    roles: Mapping[str, Role],
    windows: Mapping[WindowKey, WindowCounts],
    previous: Mapping[WindowKey, WindowCounts],
    settings: JudgeSettings,
    window_ms: int = 0,
) -> dict[WindowKey, SegmentVerdict]:
    """Compare each (segment column, segment value, version) with the reference of that key.

    Where that is the reference of all rows, what always differs between segments shows as drift, so see also
    each column's `previous`, against the same segment's previous window. A segment's own column is left out,
    as are columns that the reference or the window lacks.
    A column's p is that of its distribution (numbers: Kolmogorov-Smirnov, and χ² on the bins; categories: χ²)
    and of its missing rate, Bonferroni-corrected, as are the tests of how columns go together; q is over all
    columns and joint tests of all keys.
    Rows of `window_ms` are as alike as the reference's `blocks` say; 0: they are independent.
    """
    outcomes = _outcomes(references, windows, None, window_ms)
    against = _outcomes(references, windows, previous, window_ms)
    joints = {
        key: _joint(references.get(key), counts, settings, window_ms) for key, counts in windows.items()
    }
    ordered = [(key, name) for key in windows for name in outcomes[key]]
    # Too few rows for a joint test is known from the counts alone, so those need no correction.
    tested = [key for key, joint in joints.items() if joint and joint.verdict != "insufficient_data"]
    p = [outcomes[key][name].p for key, name in ordered]
    q = laws.benjamini_hochberg([*p, *(joints[key].p for key in tested)]).tolist()  # type: ignore[union-attr]
    q_of = dict(zip(chain(ordered, tested), q, strict=True))
    compared = _comparisons(against, settings)
    family = max(len(q), 1)
    reports: dict[WindowKey, list[ColumnReport]] = {key: [] for key in windows}
    grouped: dict[tuple[int, str], list[tuple[WindowKey, ColumnTest]]] = {}
    for key, name in ordered:
        grouped.setdefault((id(references[key]), name), []).append((key, outcomes[key][name]))
    for (_, name), members in grouped.items():
        qs = [q_of[key, name] for key, _ in members]
        made = column_reports(
            _column(references[members[0][0]], name),
            roles.get(name, "input"),
            [outcome for _, outcome in members],
            qs,
            [compared.get((key, name)) for key, _ in members],
            settings.of(name),
            family,
        )
        for (key, _), report in zip(members, made, strict=True):
            reports[key].append(report)
    return {key: _judged(reports[key], joints[key], q_of.get(key), settings) for key in windows}


def _outcomes(
    references: References,
    windows: Mapping[WindowKey, WindowCounts],
    previous: Mapping[WindowKey, WindowCounts] | None,
    window_ms: int,
) -> ColumnTests:
    """Against the references, or against `previous` where the same key and column are in it."""
    found: ColumnTests = {key: {} for key in windows}
    for same, reference in _grouped(references, windows):
        for name, column in (reference.columns | reference.outputs).items():
            sources = windows.items() if previous is None else previous.items()
            keys = [
                key
                for key, counts in sources
                if key in same
                and key[0] != name
                and name in counts.columns
                and key in windows
                and name in windows[key].columns
            ]
            if not keys:
                continue
            before = [column.as_counts()] if previous is None else [previous[k].columns[name] for k in keys]
            current = [windows[key].columns[name] for key in keys]
            now = correlation_in(column.blocks, window_ms)
            known = correlation_of_all(column.blocks) if previous is None else now
            tests = compare(before, current, Alike(known, now), column.as_counts())
            for i, key in enumerate(keys):
                found[key][name] = ColumnTest(name, tests, i, before[min(i, len(before) - 1)], current[i])
    return found


def _grouped(
    references: References, windows: Mapping[WindowKey, WindowCounts]
) -> list[tuple[set[WindowKey], Reference]]:
    """The keys that share a reference, to be compared together."""
    groups: dict[int, tuple[set[WindowKey], Reference]] = {}
    for key in windows:
        if key in references:
            groups.setdefault(id(references[key]), (set(), references[key]))[0].add(key)
    return list(groups.values())


def _comparisons(against: ColumnTests, settings: JudgeSettings) -> dict[tuple[WindowKey, str], Comparison]:
    pairs = [(key, name) for key, outcomes in against.items() for name in outcomes]
    all_q = laws.benjamini_hochberg([against[key][name].p for key, name in pairs]).tolist()
    result = {}
    for (key, name), q in zip(pairs, all_q, strict=True):
        outcome = against[key][name]
        visible = float(outcome.tests.visible(settings.level / len(pairs))[outcome.index])
        n = int(outcome.tests.rows[outcome.index])
        verdict = verdict_of(outcome.matters(settings.of(name)), q, visible, settings)
        result[key, name] = Comparison(n, outcome.effect, outcome.p, q, verdict)
    return result


def _judged(
    reports: Sequence[ColumnReport], joint: JointReport | None, q: float | None, settings: JudgeSettings
) -> SegmentVerdict:
    if joint and q is not None:
        moved = q <= settings.level and joint.value >= settings.min_effect
        joint = msgspec.structs.replace(joint, q=q, verdict="drift" if moved else "ok")
    drifted = tuple(report.name for report in reports if report.verdict == "drift")
    known = sum(report.verdict != "insufficient_data" for report in reports)
    verdict: Verdict = "ok" if reports and 2 * known >= len(reports) else "insufficient_data"
    if drifted or (joint and joint.verdict == "drift"):
        verdict = "drift"
    return SegmentVerdict(tuple(reports), joint, verdict, drifted)


def _joint(
    reference: Reference | None, counts: WindowCounts, settings: JudgeSettings, window_ms: int
) -> JointReport | None:
    """The surer of the tests that can be made, whose p counts for each of them."""
    found: list[JointReport | None] = []
    if reference and reference.joint and counts.joint:
        found.append(judge_joint(reference.joint, counts.joint, settings.level, window_ms))
    if reference and reference.pairs and counts.pairs is not None:
        found.append(judge_pairs(reference, counts.pairs, settings.level, window_ms))
    made = [report for report in found if report and report.verdict != "insufficient_data"]
    if not made:
        return next((report for report in found if report), None)
    surest = min(made, key=lambda report: (report.value < settings.min_effect, report.p))
    p = min(len(made) * surest.p, 1.0)
    return msgspec.structs.replace(surest, p=p, q=p)


def _column(reference: Reference, name: str) -> ColumnReference:
    return reference.columns[name] if name in reference.columns else reference.outputs[name]
