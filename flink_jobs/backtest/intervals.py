"""Confidence intervals of metrics, and of their difference, by a paired bootstrap over blocks of time.

    blocks = time_blocks(event_time_ms, 21_600_000)
    compare_metrics(truth, said_a, said_b, blocks)[0].difference      # Estimate(value, low, high)

Rows of one time err together (a storm delays all flights), so whole blocks are drawn with replacement, the
same ones for both versions (Künsch 1989; the percentile interval of Efron and Tibshirani 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flink_jobs.backtest.metrics import LOWER_IS_BETTER, METRICS, NEITHER_IS_BETTER, from_sums, measure, sums
from flink_jobs.backtest.outputs import Floats, Integers, Predictions
from flink_jobs.backtest.records import Estimate, MetricComparison, Side

LEVEL = 0.95
RESAMPLES = 1000
LEAST_BLOCKS = 8
_LEAST_DEFINED = 0.95


@dataclass(frozen=True)
class Draws:
    """How to draw: `seed` for the same intervals each time."""

    resamples: int = RESAMPLES
    level: float = LEVEL
    seed: int = 0


def time_blocks(times: Integers, length_ms: int) -> Integers:
    """(n,) the block of each row, from 0 without gaps: rows within the same `length_ms` share one."""
    blocks: Integers = np.unique(times // length_ms, return_inverse=True)[1].astype(np.int64)
    return blocks


def compare_metrics(
    truth: Floats, a: Predictions, b: Predictions, blocks: Integers, draws: Draws | None = None
) -> tuple[MetricComparison, ...]:
    """Each metric of both versions on the same n rows, with intervals where there are enough blocks."""
    draws = draws or Draws()
    first, second = measure(truth, a), measure(truth, b)
    resampled = _resampled(truth, a, b, blocks, draws) if len(truth) else None
    return tuple(
        _measured(name, first[name], second[name], resampled, draws.level) for name in METRICS[a.kind]
    )


Resampled = tuple[dict[str, Floats], dict[str, Floats]]


def _resampled(
    truth: Floats, a: Predictions, b: Predictions, blocks: Integers, draws: Draws
) -> Resampled | None:
    """Deviations of each metric from its value on all rows, over the resamples; None with too few blocks."""
    present, dense = np.unique(blocks, return_inverse=True)
    count = len(present)
    if count < LEAST_BLOCKS:
        return None
    chosen = np.random.default_rng([draws.seed, count, len(truth)])
    weights = chosen.multinomial(count, np.full(count, 1 / count), draws.resamples).astype(np.float64)
    first, second = (_deviations(sums(truth, said, dense, count), weights, said) for said in (a, b))
    return first, second


def _deviations(parts: Floats, weights: Floats, said: Predictions) -> dict[str, Floats]:
    whole = from_sums(said.kind, parts.sum(axis=0, keepdims=True))
    return {name: values - whole[name] for name, values in from_sums(said.kind, weights @ parts).items()}


def _measured(
    name: str, a: float | None, b: float | None, resampled: Resampled | None, level: float
) -> MetricComparison:
    if a is None or b is None or resampled is None:
        difference = None if a is None or b is None else b - a
        return MetricComparison(name, Estimate(a), Estimate(b), Estimate(difference))
    first, second = resampled[0][name], resampled[1][name]
    apart = _interval(b - a, second - first, level)
    return MetricComparison(
        name, _interval(a, first, level), _interval(b, second, level), apart, better_side(name, apart)
    )


def _interval(value: float, deviations: Floats, level: float) -> Estimate:
    defined = deviations[np.isfinite(deviations)]
    if len(defined) < _LEAST_DEFINED * len(deviations):
        return Estimate(value)
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value, value + float(low), value + float(high))


def better_side(name: str, difference: Estimate) -> Side | None:
    """Which version the metric is for; None where the interval of B - A has 0 in it."""
    if difference.low is None or difference.high is None or name in NEITHER_IS_BETTER:
        return None
    if difference.low <= 0 <= difference.high:
        return None
    return "b" if (difference.low > 0) != (name in LOWER_IS_BETTER) else "a"
