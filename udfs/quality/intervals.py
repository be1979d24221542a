"""Intervals that hold the true value with 95%.

>>> [round(limit, 4) for limit in wilson(8, 10)]
[0.4902, 0.9433]
"""

from __future__ import annotations

import math

import msgspec

from udfs.quality.records import Metric

#: The normal distribution's, for 95%.
Z = 1.959963984540054


def wilson(count: float, n: float) -> tuple[float, float]:
    """Of a share (Wilson 1927, "Probable inference"); n above 0."""
    share, spread = count / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def of_share(count: float, n: float) -> Metric:
    """A share with its interval; nothing without records."""
    if not n:
        return Metric()
    low, high = wilson(count, n)
    return Metric(value=count / n, low=low, high=high)


def of_mean(mean: float, error: float | None) -> Metric:
    """A mean with its standard error."""
    if error is None:
        return Metric(value=mean)
    return Metric(value=mean, low=mean - Z * error, high=mean + Z * error)


def within(metric: Metric, least: float, most: float = math.inf) -> Metric:
    """The metric with its interval cut to what it can be."""
    if metric.value is None or metric.low is None or metric.high is None:
        return metric
    low, high = min(max(metric.low, least), most), min(max(metric.high, least), most)
    return Metric(value=metric.value, low=low, high=high, binned=metric.binned)


def beside_storms(metric: Metric, between: float, most: float) -> Metric:
    """The metric of records that are alike: their blocks differ by `between` beyond what chance makes."""
    if metric.value is None or metric.low is None or metric.high is None or not between:
        return metric
    low, high = (math.hypot(limit - metric.value, Z * between) for limit in (metric.low, metric.high))
    alone = (metric.high - metric.low) / (2 * Z)
    wide = within(Metric(value=metric.value, low=metric.value - low, high=metric.value + high), 0.0, most)
    alike = 1 + (between / alone) ** 2 if alone else None
    return msgspec.structs.replace(wide, binned=metric.binned, alike=alike)


def error_alone(metric: Metric) -> float:
    """The standard error that independent records would have; 0: not known."""
    if metric.value is None or metric.low is None or metric.high is None:
        return 0.0
    if metric.alike is None:
        return (metric.high - metric.low) / (2 * Z)
    # A wide interval may be cut at one end.
    return max(metric.high - metric.value, metric.value - metric.low) / Z / math.sqrt(metric.alike)


def logit_interval(share: float, n: float) -> Metric:
    """Of an area between 0 and 1 from n positives (Boyd, Eng and Page 2013, for precision and recall)."""
    if not n or not 0 < share < 1:
        return Metric(value=share)
    odds, error = math.log(share / (1 - share)), 1 / math.sqrt(n * share * (1 - share))
    low, high = (1 / (1 + math.exp(-(odds + side * Z * error))) for side in (-1, 1))
    return Metric(value=share, low=low, high=high)
