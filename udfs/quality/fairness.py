"""How far the values of a group are from each other: rates, differences and ratios, with intervals.

The measures are fairlearn's: selection rate (demographic parity), and true and false positive rate (equalized
odds). The difference is that of the largest and the smallest rate, the ratio the smallest to the largest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter

from udfs.quality.alike import BOTH, CALLED, POSITIVE, ROWS, share_of, share_with
from udfs.quality.counts import Labelled, Predicted
from udfs.quality.records import Disparity, GroupReport, GroupsReport, Metric
from udfs.rollout.blocks import in_blocks

Counts = Mapping[str | None, tuple[Predicted, Labelled | None]]
MEASURES = ("selection_rate", "true_positive_rate", "false_positive_rate")


def groups_of(column: str, counts: Counts) -> GroupsReport | None:
    """The counts of one version and window by value; None where there is nothing positive to predict."""
    if any(predicted.kind not in ("binary", "anomaly") for predicted, _ in counts.values()) or not counts:
        return None
    ordered = sorted(counts.items(), key=lambda item: item[0] or "")
    groups = tuple(_group(value, *each) for value, each in ordered)
    found = [disparity for name in MEASURES if (disparity := _disparity(name, groups))]
    return GroupsReport(column, groups, tuple(found))


def _group(value: str | None, predicted: Predicted, labelled: Labelled | None) -> GroupReport:
    labelled = labelled or Labelled(predicted.kind)
    called, rows = predicted.called[0], predicted.rows
    selected = {slot: (positive, n) for slot, (n, positive) in predicted.blocks.items()}
    return GroupReport(
        value=value,
        records=rows,
        labels=labelled.rows,
        selection_rate=share_with(called, rows, in_blocks(selected, called, rows)),
        true_positive_rate=share_of(labelled, itemgetter(BOTH, POSITIVE)),
        false_positive_rate=share_of(
            labelled, lambda row: (row[CALLED] - row[BOTH], row[ROWS] - row[POSITIVE])
        ),
    )


def _disparity(measure: str, groups: Sequence[GroupReport]) -> Disparity | None:
    rates: list[tuple[float, str, GroupReport]] = []
    for group in groups:
        rate: Metric = getattr(group, measure)
        if rate.value is not None:
            rates.append((rate.value, group.value or "", group))
    if len(rates) < 2:
        return None
    lowest, highest = min(rates, key=lambda r: r[:2])[2], max(rates, key=lambda r: r[:2])[2]
    low, high = getattr(lowest, measure), getattr(highest, measure)
    return Disparity(measure, difference(high, low), ratio(low, high), lowest.value, highest.value)


def difference(one: Metric, other: Metric) -> Metric:
    """Of two independent shares, from their own intervals (Newcombe 1998, method 10)."""
    p, low, high = _limits(one)
    q, other_low, other_high = _limits(other)
    apart = p - q
    return Metric(
        value=apart,
        low=apart - math.hypot(p - low, other_high - q),
        high=apart + math.hypot(high - p, q - other_low),
    )


def ratio(one: Metric, other: Metric) -> Metric:
    """Likewise (Donner and Zou 2012); without an end where the other may be 0."""
    p, low, high = _limits(one)
    q, other_low, other_high = _limits(other)
    if q == 0:
        return Metric()
    far, near = other_high * (2 * q - other_high), other_low * (2 * q - other_low)
    product, least = p * q, low * (2 * p - low)
    below = _root(product**2 - least * far)
    above = _root(product**2 - high * (2 * p - high) * near)
    return Metric(
        value=p / q,
        low=least / (product + below) if least > 0 else 0.0,
        high=(product + above) / near if near > 0 else None,
    )


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))


def _limits(metric: Metric) -> tuple[float, float, float]:
    assert metric.value is not None
    assert metric.low is not None
    assert metric.high is not None
    return metric.value, metric.low, metric.high
