"""Compares the versions of a window, and windows with each other added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from udfs.alerts.records import WindowSpan
from udfs.rollout.chance import score_drift
from udfs.rollout.clusters import design_effect
from udfs.rollout.events import Role
from udfs.rollout.label_tests import as_quality, quality_pair, quality_report
from udfs.rollout.labels import LabelCounts, LabelSums
from udfs.rollout.losses import Quality
from udfs.rollout.records import ComparisonRecord, GateReport, LabelTotals, PairReport, VersionReport
from udfs.rollout.usual import of_windows
from udfs.rollout.version_metrics import FIXED, SCORE_BINS, CountsKey, VersionCounts

Totals = dict[tuple[Role, int], tuple[int, VersionCounts]]
Qualities = dict[tuple[Role, int], Quality]
ROLES: tuple[Role, ...] = ("champion", "canary", "shadow")


def compare_window(
    job: str,
    model: str,
    span: WindowSpan,
    counts: Mapping[CountsKey, VersionCounts],
    labels: LabelSums | None = None,
) -> ComparisonRecord:
    """`counts` by (start, version, role, release), all of one window; `labels` are those that came in it."""
    totals: Totals = {}
    for (_, version, role, release), found in counts.items():
        newest, before = totals.get((role, version), (release, VersionCounts()))
        totals[role, version] = (max(newest, release), before.merged(found))
    qualities = _qualities(labels or LabelSums(), totals)
    ordered = sorted(totals.items(), key=lambda item: (ROLES.index(item[0][0]), item[0][1]))
    routed = sum(_all(c) for (role, _), (_, c) in ordered if role != "shadow")
    versions = tuple(
        _version(role, v, release, c, routed, qualities.get((role, v))) for (role, v), (release, c) in ordered
    )
    champion = _champion(versions)
    pairs = tuple(
        _pair(
            report,
            totals[report.role, report.version][1],
            champion,
            _beside(champion, report, counts),
            qualities,
        )
        for report in versions
        if champion and report.role != "champion"
    )
    record = ComparisonRecord(job=job, model=model, window=span, versions=versions, pairs=pairs)
    return msgspec.structs.replace(record, labels=_label_totals(labels)) if labels else record


def _qualities(labels: LabelSums, totals: Totals) -> Qualities:
    """By role and version; one that scored nothing in the window gets a place among the totals."""
    found: Qualities = {}
    for (_, version, role, release), quality in sorted(labels.qualities.items(), key=lambda item: item[0]):
        who = (role, version)
        found[who] = found[who].merged(quality) if who in found else quality
        if who not in totals or not _all(totals[who][1]):
            totals[who] = (release, totals[who][1] if who in totals else VersionCounts())
    return found


def _label_totals(labels: LabelSums) -> LabelTotals | None:
    total = LabelCounts()
    for counts in labels.counts.values():
        total = total.merged(counts)
    return LabelTotals(total.read, total.rejected, total.joined) if labels.counts else None


def _champion(versions: Sequence[VersionReport]) -> VersionReport | None:
    """Where a window has two, the one with more records, or else with more labels."""
    champions = [report for report in versions if report.role == "champion"]
    return max(champions, key=_weight, default=None)


def _weight(report: VersionReport) -> tuple[int, int, int]:
    return report.records, report.labels.n if report.labels else 0, report.version


def _all(counts: VersionCounts) -> int:
    return counts.rows + counts.errors


def _version(
    role: Role, version: int, release: int, counts: VersionCounts, routed: int, quality: Quality | None
) -> VersionReport:
    scores = np.zeros(SCORE_BINS, dtype=np.int64)
    for score_bin, count in counts.histogram.items():
        scores[score_bin] = count
    known = counts.rows > 0 and int(scores.sum()) == counts.rows
    p10, p50, p90 = _quantiles(scores) if known else (None, None, None)
    return VersionReport(
        version=version,
        role=role,
        release=release,
        records=counts.rows,
        errors=counts.errors,
        error_rate=_ratio(counts.errors, _all(counts)) or 0.0,
        missed=counts.missed,
        share=None if role == "shadow" else _ratio(_all(counts), routed),
        us_per_record=_ratio(counts.took_ns / 1000, counts.rows),
        mean_score=_ratio(counts.total / FIXED, counts.rows),
        p10=p10,
        p50=p50,
        p90=p90,
        scores=tuple(scores.tolist()) if known else (),
        labels=quality_report(quality) if quality else None,
    )


def _beside(
    champion: VersionReport, report: VersionReport, counts: Mapping[CountsKey, VersionCounts]
) -> VersionCounts:
    """The champion in the windows in which the other version scored too: other records prove nothing."""
    starts = {
        key[0] for key, found in counts.items() if key[1:3] == (report.version, report.role) and _all(found)
    }
    total = VersionCounts()
    for (start, version, role, _), found in counts.items():
        if start in starts and (role, version) == ("champion", champion.version):
            total = total.merged(found)
    return total


def _pair(
    report: VersionReport,
    counts: VersionCounts,
    known: VersionReport,
    beside: VersionCounts,
    qualities: Qualities,
) -> PairReport:
    champion = _version("champion", known.version, known.release, beside, 0, None)
    error_design, score_design = _designs((beside, counts)) if report.role == "canary" else (1.0, 1.0)
    drift, p = score_drift(champion.scores, report.scores, score_design)
    own, other = qualities.get((report.role, report.version)), qualities.get(("champion", champion.version))
    ratio = None
    if report.us_per_record is not None and champion.us_per_record:
        ratio = report.us_per_record / champion.us_per_record
    return PairReport(
        version=report.version,
        role=report.role,
        champion=champion.version,
        n=counts.paired,
        agreement=_ratio(counts.agreed, counts.paired),
        mean_difference=_ratio(counts.difference / FIXED, counts.paired),
        mean_distance=_ratio(counts.distance / FIXED, counts.paired),
        farthest=counts.farthest if counts.paired else None,
        score_drift=drift,
        score_drift_p=p,
        error_rise=report.error_rate - champion.error_rate,
        latency_ratio=ratio,
        labels=quality_pair(own, other) if own and other else None,
        error_design=error_design,
        score_design=score_design,
    )


def _designs(sides: Sequence[VersionCounts]) -> tuple[float, float]:
    """How many records count as one, for errors and for scores: of the side where they are the most alike."""
    found = [(1.0, 1.0)]
    for side in sides:
        errors = {b: (n + bad, bad) for b, (n, bad, _) in side.clusters.items()}
        scores = {b: (n, total) for b, (n, _, total) in side.clusters.items() if n}
        rate = side.errors / max(_all(side), 1)
        found.append(
            (design_effect(errors, rate * (1 - rate)), design_effect(scores, _spread(side.histogram)))
        )
    return max(e for e, _ in found), max(s for _, s in found)


def _spread(histogram: Mapping[int, int]) -> float:
    """The variance of the scores' bins."""
    n = sum(histogram.values())
    if not n:
        return 0.0
    mean = sum(score_bin * count for score_bin, count in histogram.items()) / n
    return sum((score_bin - mean) ** 2 * count for score_bin, count in histogram.items()) / n


def with_designs(total: ComparisonRecord, gate: GateReport) -> ComparisonRecord:
    """Windows do not hold their records by key: how many count as one is what the job's gate knew."""
    pairs = []
    for pair in total.pairs:
        known = pair
        if (pair.version, pair.role) == (gate.version, gate.role):
            sides = {(r.role, r.version): r.scores for r in total.versions}
            scores = (sides.get(("champion", pair.champion), ()), sides[pair.role, pair.version])
            known = msgspec.structs.replace(
                pair,
                score_drift_p=score_drift(*scores, gate.score_design)[1],
                error_design=gate.error_design,
                score_design=gate.score_design,
            )
        pairs.append(known)
    return msgspec.structs.replace(total, pairs=tuple(pairs))


def add_up(records: Sequence[ComparisonRecord]) -> ComparisonRecord:
    """Several windows as one, from the first's start to the last's end. Raises ValueError for none."""
    if not records:
        raise ValueError("there must be at least one comparison record; got none")
    counts: dict[CountsKey, VersionCounts] = {}
    labels = LabelSums()
    for i, record in enumerate(records):
        pairs = {(pair.role, pair.version): pair for pair in record.pairs}
        for report in record.versions:
            key: CountsKey = (i, report.version, report.role, report.release)
            pair = pairs.get((report.role, report.version))
            counts[key] = _as_counts(report, pair)
            if report.labels:
                labels.qualities[key] = as_quality(report.labels, pair.labels if pair else None)
        if record.labels:
            labels.counts[i] = LabelCounts(record.labels.read, record.labels.rejected, record.labels.joined)
    span = WindowSpan(records[0].window.start, records[-1].window.end)
    total = compare_window(records[0].job, records[0].model, span, counts, labels)
    return msgspec.structs.replace(
        total, versions=tuple(_beside_training(v, records) for v in total.versions)
    )


def _beside_training(total: VersionReport, records: Sequence[ComparisonRecord]) -> VersionReport:
    if total.labels is None or total.labels.usual is None:
        return total
    windows = [
        report.labels.usual if report.labels else None
        for record in records
        for report in record.versions
        if (report.role, report.version) == (total.role, total.version)
    ]
    usual = of_windows(total.labels.usual, windows)
    return msgspec.structs.replace(total, labels=msgspec.structs.replace(total.labels, usual=usual))


def _as_counts(report: VersionReport, pair: PairReport | None) -> VersionCounts:
    found = VersionCounts(
        rows=report.records,
        errors=report.errors,
        missed=report.missed,
        took_ns=round((report.us_per_record or 0.0) * 1000 * report.records),
        total=round((report.mean_score or 0.0) * FIXED * report.records),
        histogram={i: count for i, count in enumerate(report.scores) if count},
    )
    if pair is None or not pair.n:
        return found
    return msgspec.structs.replace(
        found,
        paired=pair.n,
        agreed=round((pair.agreement or 0.0) * pair.n),
        difference=round((pair.mean_difference or 0.0) * FIXED * pair.n),
        distance=round((pair.mean_distance or 0.0) * FIXED * pair.n),
        farthest=pair.farthest or 0.0,
    )


def _quantiles(scores: np.ndarray) -> tuple[float, float, float]:  # type: ignore[type-arg]
    """The middles of the bins in which the quantiles lie."""
    running = np.cumsum(scores) / scores.sum()
    ten, fifty, ninety = ((int(np.searchsorted(running, q)) + 0.5) / SCORE_BINS for q in (0.1, 0.5, 0.9))
    return ten, fifty, ninety


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
