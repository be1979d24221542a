"""Releases and comparisons for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from flink_jobs.reports.running import running_steps, running_table
from flink_jobs.system.terminal import plain
from udfs.errors import ModelError
from udfs.releases.log import ReleaseLog, ReleaseRecord
from udfs.rollout.records import (
    ComparisonRecord,
    ExpectedLoss,
    LabelTotals,
    PairReport,
    QualityPair,
    QualityReport,
    VersionReport,
)

RUNNING_ROWS = 12


def describe_release(record: ReleaseRecord) -> str:
    """Says which version is what, such as: champion 1, canary 2 (10% of tailnum), from … on."""
    parts = [f"approves {record.approves}"] if record.action == "approve" else []
    parts.append(f"champion {record.champion}")
    if record.canary:
        parts.append(
            f"canary {record.canary.version} ({record.canary.share:.3g} of {plain(record.canary.key)})"
        )
    parts += [f"shadow {version}" for version in record.shadows]
    if record.withdraw is not None:
        parts.append(f"version {record.withdraw} withdrawn at once")
    parts.append(f"from {record.at} on" if record.at else "for all records")
    return ", ".join(parts)


def history_table(log: ReleaseLog, now_ms: int) -> Table:
    """The newest release first; the one in force now is marked. Fits 80 columns."""
    table = Table(box=None, pad_edge=False)
    for column in ("release", "what", "from"):
        table.add_column(column, no_wrap=True)
    for column in ("versions", "by", "why"):
        table.add_column(column, overflow="fold")
    current = log.place_at(now_ms)
    for place in range(len(log.records) - 1, -1, -1):
        record = log.records[place]
        cells = (f"{record.number}{_mark(log, place, current, now_ms)}", record.action, record.at or "always")
        told = (_who(log, place), record.by, record.reason)
        table.add_row(*(Text(plain(cell)) for cell in (*cells, *told)))
    return table


def _mark(log: ReleaseLog, place: int, current: int, now_ms: int) -> str:
    record = log.records[place]
    if record.number in log.waiting:
        return "" if record.action == "approve" else " waits"
    return " now" if place == current else " to come" if record.at_ms > now_ms else ""


def _who(log: ReleaseLog, place: int) -> str:
    record = log.records[place]
    try:
        champion = log.state(place).champion
    except ModelError:
        champion = record.champion
    who = [str(record.champion) if champion == record.champion else f"{champion} for {record.champion}"]
    if record.canary:
        who.append(f"canary {record.canary.version}: {record.canary.share:.3g} of {record.canary.key}")
    who += [f"shadow {version}" for version in record.shadows]
    return ", ".join(who)


def comparison_tables(
    total: ComparisonRecord,
    records: Sequence[ComparisonRecord],
    history: Sequence[ComparisonRecord] | None = None,
) -> Iterator[Table | Text]:
    """The versions, each against the champion, how sure the gate became, and what it said last."""
    span = total.window
    yield Text(f"{total.job}, model {total.model}: {len(records)} windows, {span.start} to {span.end}")
    versions = _table("version", "role", "records", "share", "errors", "missed", "µs", "mean", "p10 p50 p90")
    for report in total.versions:
        versions.add_row(*_version_row(report))
    yield versions
    if total.pairs:
        pairs = _table(
            "beside champion", "records", "same", "apart", "farthest", "drift (p)", "errors", "time"
        )
        for pair in total.pairs:
            pairs.add_row(*_pair_row(pair))
        yield pairs
    if total.labels:
        yield from _label_tables(total, total.labels)
    if steps := running_steps(history or records):
        gate = steps[-1].gate
        yield Text(
            f"Loss of {gate.role} {gate.version} beside champion {gate.champion}, by all labels until then; "
            "the bounds hold at all windows together"
        )
        yield running_table(steps, RUNNING_ROWS)
    last = records[-1]
    if last.gate:
        why = f" ({'; '.join(last.gate.reasons)})" if last.gate.reasons else ""
        yield Text(f"Gate, version {last.gate.version}, last window: {last.gate.outcome}{why}")
    for record in records:
        if record.action:
            yield Text(f"{record.window.start}: {record.action}")


def _label_tables(total: ComparisonRecord, labels: LabelTotals) -> Iterator[Table | Text]:
    """How right each version was, and the difference from the champion with two standard errors."""
    found = f"{labels.joined:,} joined to their records, {labels.rejected:,} rejected"
    yield Text(f"Labels: {labels.read:,} read, {found}")
    regression = any(report.labels and report.labels.rmse is not None for report in total.versions)
    names = ("RMSE", "MAE") if regression else ("log loss", "AUC", "accuracy")
    versions = _table("by labels", "role", "labels", *names, "worse by", "p")
    pairs = {(pair.role, pair.version): pair.labels for pair in total.pairs}
    for report in total.versions:
        if report.labels:
            pair = pairs.get((report.role, report.version))
            versions.add_row(
                str(report.version),
                report.role,
                f"{report.labels.n:,}",
                *_measures(report.labels, regression=regression),
                *_worse_by(pair),
            )
    yield versions
    for report in total.versions:
        if report.labels and report.labels.usual:
            yield Text(beside_training(report, report.labels.usual))


def beside_training(report: VersionReport, usual: ExpectedLoss) -> str:
    """Whether a version is as far off as it was in training, of such records."""
    who = f"{report.role.capitalize()} {report.version}"
    part = usual.realized / usual.expected - 1 if usual.expected else 0.0
    means = f"MAE {usual.realized:.4g}, expected {usual.expected:.4g} ± {2 * usual.error:.2g} by training"
    if not usual.changed:
        known = "" if usual.changed is not None else "; too few windows to say whether that is chance"
        return f"{who}: {means}{known}"
    side = "further off" if part > 0 else "nearer"
    what = f"{who} is {abs(part):.0%} {side} than in training: {means}"
    return f"{what}. Labels do not follow from its inputs as they did"


def _measures(labels: QualityReport, *, regression: bool) -> list[str]:
    if regression:
        return [_number(labels.rmse, ".4g"), _number(labels.mae, ".4g")]
    return [
        _number(labels.log_loss, ".4f"),
        _number(labels.auc, ".3f"),
        _share(labels.accuracy),
    ]


def _worse_by(pair: QualityPair | None) -> tuple[str, str]:
    if pair is None:
        return "", ""
    error = "" if pair.error is None else f" ±{2 * pair.error:.2g}"
    return f"{pair.difference:+.4f}{error}", _number(pair.p, ".1g")


def _table(first: str, *columns: str) -> Table:
    """Fits 80 columns."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="left" if column == "role" else "right")
    return table


def _version_row(report: VersionReport) -> list[str]:
    quantiles = [report.p10, report.p50, report.p90]
    return [
        str(report.version),
        report.role,
        f"{report.records:,}",
        _share(report.share),
        f"{report.errors:,}",
        f"{report.missed:,}",
        _number(report.us_per_record, ".1f"),
        _number(report.mean_score, ".3f"),
        " ".join(_number(q, ".2f") for q in quantiles) if report.scores else "",
    ]


def _pair_row(pair: PairReport) -> list[str]:
    drift = _number(pair.score_drift, ".3f")
    p = f" ({pair.score_drift_p:.1g})" if pair.score_drift_p is not None else ""
    return [
        f"{pair.role} {pair.version} to {pair.champion}",
        f"{pair.n:,}" if pair.n else "other",
        _share(pair.agreement),
        _number(pair.mean_difference, "+.3f"),
        _number(pair.farthest, ".3f"),
        drift + p,
        f"{pair.error_rise:+.1%}",
        f"{pair.latency_ratio:.2f}x" if pair.latency_ratio is not None else "",
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
