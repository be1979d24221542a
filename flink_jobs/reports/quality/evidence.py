"""What quality records say about an alarm beside its own number: what else is worse, and what is as before.

facts(group, alert)     # ["Ranking is worse; log loss 0.376 ±0.027 is as before.", …]
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from flink_jobs.reports.quality.summary import (
    SHOWN,
    VersionQuality,
    label,
    number,
    since_alert,
    spread,
)
from flink_jobs.reports.text import percent
from udfs.alerts.records import AlertRecord
from udfs.quality.records import QualityRecord

# Better than chance at telling who is positive; the others say how often, or how surely, it is right.
_RANKS = ("auc",)


def facts(group: VersionQuality, alert: AlertRecord) -> list[str]:
    """In sentences, the most telling first."""
    before, since = since_alert(group, alert)
    if not since:
        return []
    found = (_others(group, alert), _base_rate(before, since[-1]), _estimate(since[-1], alert))
    return [text for text in found if text]


def as_before(group: VersionQuality, since: str) -> bool:
    """Whether labels of windows before the alert are known, so that it is known that these were not bad."""
    main = SHOWN[group.kind][0]
    return any(main in r.realized for r in group.total if r.window.start < since)


def base_rate(record: QualityRecord) -> float | None:
    """The share of positive labels."""
    labels = sum(point.n for point in record.curve)
    return sum(point.n * point.positive for point in record.curve) / labels if labels else None


def agrees(record: QualityRecord) -> bool:
    """Whether outcomes are known to follow the scores as they should."""
    return record.gap is not None and not record.gap.changed


def _others(group: VersionQuality, alert: AlertRecord) -> str:
    """The other metrics of the table, beside the median of what they were."""
    before, since = since_alert(group, alert)
    last, same, changed = since[-1], list[str](), list[str]()
    for name in SHOWN[group.kind]:
        now = last.realized.get(name)
        known = [r.realized[name].value for r in before if name in r.realized]
        usual = [value for value in known if value is not None]
        if name == alert.statistic or now is None or now.low is None or now.high is None or not usual:
            continue
        if now.low <= median(usual) <= now.high:
            same.append(f"{_named(name)} {spread(now)}")
        else:
            changed.append(f"{_named(name)} {spread(now)} (before: {number(median(usual))})")
    if changed:
        return f"Changed with it: {' and '.join(changed)}."
    if not same:
        return ""
    ranks = "Ranking is worse; " if alert.statistic in _RANKS else ""
    return f"{ranks}{' and '.join(same)} {'is' if len(same) == 1 else 'are'} as before."


def _named(name: str) -> str:
    return "accuracy at the threshold" if name == "accuracy" else label(name)


def _base_rate(before: Sequence[QualityRecord], last: QualityRecord) -> str:
    now = base_rate(last)
    usual = [rate for r in before if (rate := base_rate(r)) is not None]
    if now is None:
        return ""
    was = median(usual) if usual else None
    rate_before = "" if was is None else f" ({percent(was)} before)"
    accuracy_before = "" if was is None else f" ({number(max(was, 1 - was))} before)"
    return (
        f"Base rate: {percent(now)} of the labels are positive{rate_before}; predicting always the more"
        f" frequent one would have accuracy {number(max(now, 1 - now))}{accuracy_before}."
    )


def _estimate(last: QualityRecord, alert: AlertRecord) -> str:
    """What the other of the two says, labels or estimate."""
    name, realized = label(alert.statistic), spread(last.realized.get(alert.statistic))
    if alert.damage == "estimated":
        return (
            f"By the labels that came, {name} is {realized}."
            if realized
            else "No labels of it have come yet."
        )
    estimated = last.estimated.get(alert.statistic)
    if estimated is None or estimated.value is None:
        return ""
    text = f"Estimated from the scores alone, without labels, {name} is {spread(estimated)}"
    return f"{text}: {_AGREE if agrees(last) else _PART}." if last.gap else f"{text}."


_AGREE = "scores and outcomes agree as before (calibration)"
_PART = "scores and outcomes no longer agree"
