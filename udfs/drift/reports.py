"""Reports of one column for many windows: all statistics with their nulls, quantiles, words and bins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from udfs.drift import null_distributions as nulls
from udfs.drift import statistics
from udfs.drift.compare import ColumnTest, Tests
from udfs.drift.narrate import NO_CHANGE, TOO_FEW, cell_direction, direction, display, missing_direction
from udfs.drift.params import JudgeSettings
from udfs.drift.records import ColumnReport, Comparison, Statistic, Verdict
from udfs.drift.statistics import Floats
from udfs.profile.counts import CategoricalCounts, ColumnCounts, Ints, NumericCounts, cells
from udfs.profile.params import Role
from udfs.profile.reference import CategoricalReference, ColumnReference, NumericReference

PROBABILITIES = {"0.05": 0.05, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "0.95": 0.95}
_ASKED = np.array(list(PROBABILITIES.values()))


def verdict_of(matters: bool, q: float, visible: float, settings: JudgeSettings) -> Verdict:
    """Drift if it is both sure and large enough; what could not have been seen is no `ok`."""
    if q <= settings.level and matters:
        return "drift"
    return "insufficient_data" if visible > settings.enough else "ok"


def column_reports(
    reference: ColumnReference,
    role: Role,
    outcomes: Sequence[ColumnTest],
    qs: Sequence[float],
    previous: Sequence[Comparison | None],
    settings: JudgeSettings,
    family: int,
) -> list[ColumnReport]:
    """One report for each outcome of one `compare` against the reference, in its order.

    `family` is how many tests share the level: an effect counts as visible if it would show among them.
    """
    tests, before = outcomes[0].tests, outcomes[0].before
    shown = display(reference)
    known = _summary(reference, before)
    visible = tests.visible(settings.level / family).tolist()
    tables = _statistics(reference, before, outcomes, settings.level)
    p_shares = statistics.shares(cells(before))
    q_shares = statistics.shares(np.stack([cells(outcome.counts) for outcome in outcomes]))
    fixed = settings.thresholds.get(outcomes[0].name, {})
    result = []
    for i, outcome in enumerate(outcomes):
        table, q, counts = _fixed(tables[i], fixed), qs[i], outcome.counts
        verdict = verdict_of(outcome.matters(settings), q, visible[i], settings)
        if fixed:
            verdict = _fixed_verdict(table, int(tests.rows[i]))
        now = _summary(reference, counts)
        result.append(
            ColumnReport(
                name=outcome.name,
                role=role,
                kind="numeric" if tests.numeric else "categorical",
                n=int(tests.rows[i]),
                verdict=verdict,
                p=outcome.p,
                q=q,
                effect=outcome.effect,
                min_effect=settings.min_effect,
                visible_effect=visible[i],
                direction=_words(verdict, reference, outcome, settings),
                null_rate=counts.null / max(int(tests.rows[i]), 1),
                reference_null_rate=_null_rate(before),
                **_outside(counts),
                mean=now.mean,
                reference_mean=known.mean,
                std=now.std,
                reference_std=known.std,
                quantiles=now.quantiles,
                reference_quantiles=known.quantiles,
                statistics=table,
                bins=shown.bins(p_shares, q_shares[i]),
                previous=previous[i],
                reference_unseen=_unseen_rate(before),
                n_effective=float(tests.now_n[i]),
                ratio=float(tests.ratio[i]),
                min_ratio=settings.min_ratio,
            )
        )
    return result


class _Summary(msgspec.Struct, frozen=True):
    mean: float | None = None
    std: float | None = None
    quantiles: dict[str, float] = {}


def _summary(reference: ColumnReference, counts: ColumnCounts) -> _Summary:
    if not (isinstance(reference, NumericReference) and isinstance(counts, NumericCounts)) or not counts.n:
        return _Summary()
    point = reference.fixed_point
    moments = statistics.moments(counts, point.exponent, point.center)
    assert counts.low is not None
    assert counts.high is not None
    ends = statistics.boundaries(np.array(reference.edges), counts.low, counts.high)
    single = statistics.single_valued(counts, statistics.fixed(ends[:-1], point.exponent, point.center))
    values = statistics.quantiles(counts, ends, _ASKED, single).tolist()
    mean, std = moments or (None, None)
    return _Summary(mean, std, dict(zip(PROBABILITIES, values, strict=True)))


def _statistics(
    reference: ColumnReference, before: ColumnCounts, outcomes: Sequence[ColumnTest], level: float
) -> list[dict[str, Statistic]]:
    """Per window; without values on one side only `missing` can be told, without rows nothing."""
    tests = outcomes[0].tests
    p, q = cells(before)[None], np.stack([cells(outcome.counts) for outcome in outcomes])
    usable = (tests.m > 0) & (tests.n > 0)
    variance = tests.variance
    tables: list[dict[str, Statistic]] = [{} for _ in outcomes]
    common = _common(tests.numeric, _law(reference, before), (p, q), variance, level)
    for i, outcome in enumerate(outcomes):
        if usable[i]:
            tables[i] = {name: column[i] for name, column in common.items()}
            tables[i] |= _own(reference, before, outcome.counts, float(variance[i]), level)
        if tests.rows[i] and tests.reference_rows[i]:
            tables[i]["missing"] = _missing(tests, i, level)
    return tables


def _law(reference: ColumnReference, before: ColumnCounts) -> tuple[int, ...]:
    """The filled cells by which statistics vary without drift."""
    found = cells(before) if reference.law is None else np.array(reference.law)
    return tuple(sorted(found[found > 0].tolist()))


def _common(
    numeric: bool, filled: tuple[int, ...], sides: tuple[Ints, Ints], variance: Floats, level: float
) -> dict[str, list[Statistic]]:
    p, q = sides
    sizes = q.sum(axis=1)
    few = [i for i, n in enumerate(sizes.tolist()) if nulls.is_small(filled, n)]
    table = {}
    for name, function, null in nulls.CELL_STATISTICS:
        value = function(p, q)
        scaled = null.of(filled or (1,), numeric, np.maximum(sizes, 1))
        limit, chance = scaled.threshold(level), scaled.p(value)
        for i in few:
            drawn = nulls.small_sample_nulls(filled, numeric, nulls.coarse(int(sizes[i])))[name]
            limit[i], chance[i] = drawn.threshold(level, variance[i]), drawn.p(float(value[i]), variance[i])
        table[name] = _column(value, limit, chance)
    value, pooled, chance = statistics.chi2(p, q)
    table["chi2"] = _column(value, nulls.chi2_threshold(np.asarray(level), pooled), chance)
    return table


def _column(value: Floats, threshold: Floats, p: Floats) -> list[Statistic]:
    rows = zip(value.tolist(), threshold.tolist(), p.tolist(), strict=True)
    return [Statistic(value, threshold, p=p) for value, threshold, p in rows]


def _own(
    reference: ColumnReference, before: ColumnCounts, counts: ColumnCounts, variance: float, level: float
) -> dict[str, Statistic]:
    if isinstance(reference, CategoricalReference):
        value = float(statistics.l_infinity(cells(before), cells(counts)))
        filled = _law(reference, before)
        null = nulls.l_infinity_null(filled)
        if nulls.is_small(filled, counts.n):
            null = nulls.small_sample_nulls(filled, False, nulls.coarse(counts.n))["l_infinity"]
        assert isinstance(before, CategoricalCounts)
        assert isinstance(counts, CategoricalCounts)
        return {
            "l_infinity": Statistic(value, null.threshold(level, variance), p=null.p(value, variance)),
            "unseen": _unseen(before, counts, level),
        }
    assert isinstance(before, NumericCounts)
    assert isinstance(counts, NumericCounts)
    lower, upper = statistics.ks(before.counts, counts.counts)
    chance = nulls.kolmogorov_p(lower, np.asarray(variance))
    limit = nulls.kolmogorov_threshold(np.asarray(level), np.asarray(variance))
    return {
        "ks": Statistic(float(lower), float(limit), float(upper), float(chance)),
        **_scaled(reference, before, counts, variance, level),
    }


def _scaled(
    reference: NumericReference, before: NumericCounts, counts: NumericCounts, variance: float, level: float
) -> dict[str, Statistic]:
    """In units of the reference's standard deviation; a constant reference has none."""
    point = reference.fixed_point
    old, new = statistics.moments(before, 0), statistics.moments(counts, 0)
    if old is None or new is None or old[1] <= 0:
        return {}
    low = min(each for each in (before.low, counts.low) if each is not None)
    high = max(each for each in (before.high, counts.high) if each is not None)
    ends = statistics.fixed(
        statistics.boundaries(np.array(reference.edges), low, high), point.exponent, point.center
    )
    lower, upper = statistics.wasserstein(before, counts, ends)
    law = reference.counts if reference.law is None else reference.law
    null = nulls.wasserstein_null(tuple(law), _widths(reference))
    shift = abs(new[0] - old[0]) / old[1]
    error = math.sqrt((new[1] / old[1]) ** 2 / counts.n + 1 / before.n)
    return {
        "wasserstein": Statistic(
            lower / old[1],
            null.threshold(level, variance) / old[1],
            upper / old[1],
            null.p(lower, variance),
        ),
        "mean": Statistic(shift, nulls.normal_threshold(level, error), p=nulls.normal_p(shift, error)),
    }


def _widths(reference: NumericReference) -> tuple[float, ...]:
    point = reference.fixed_point
    ends = statistics.fixed(np.array(reference.edges), point.exponent, point.center)
    return tuple(np.diff(ends).tolist()) if len(ends) > 1 else (0.0,)


def _missing(tests: Tests, i: int, level: float) -> Statistic:
    lost, m, gone, n = (
        int(each[i]) for each in (tests.reference_missing, tests.reference_rows, tests.missing, tests.rows)
    )
    return Statistic(gone / n, nulls.missing_threshold(lost, m, n, level), p=float(tests.missing_p[i]))


def _unseen(before: CategoricalCounts, counts: CategoricalCounts, level: float) -> Statistic:
    known = before.unseen, before.n
    p = statistics.missing_p(*known, counts.unseen, counts.n)
    limit = nulls.missing_threshold(*known, counts.n, level)
    return Statistic(counts.unseen / counts.n, limit, p=p)


def _unseen_rate(counts: ColumnCounts) -> float:
    return counts.unseen / max(counts.n, 1) if isinstance(counts, CategoricalCounts) else 0.0


def _fixed(table: dict[str, Statistic], fixed: Mapping[str, float]) -> dict[str, Statistic]:
    return {
        name: msgspec.structs.replace(each, threshold=fixed[name], fixed=True) if name in fixed else each
        for name, each in table.items()
    }


def _fixed_verdict(table: Mapping[str, Statistic], rows: int) -> Verdict:
    decisive = [each for each in table.values() if each.fixed]
    if not rows or not decisive:
        return "insufficient_data"
    return "drift" if any(each.value >= each.threshold for each in decisive) else "ok"


def _words(verdict: Verdict, reference: ColumnReference, outcome: ColumnTest, settings: JudgeSettings) -> str:
    if verdict != "drift":
        return TOO_FEW if verdict == "insufficient_data" else NO_CHANGE
    i, tests = outcome.index, outcome.tests
    cell = int(tests.cell[i])
    if outcome.effect < settings.min_effect and cell >= 0:
        return cell_direction(reference, cell, outcome.before, outcome.counts)
    if tests.missing_p[i] < tests.values_p[i]:
        return missing_direction(outcome.before, outcome.counts)
    return direction(outcome.name, reference, outcome.before, outcome.counts)


def _outside(counts: ColumnCounts) -> dict[str, Any]:
    """What no value of the reference is like."""
    if isinstance(counts, NumericCounts):
        below, above = int(counts.counts[0]), int(counts.counts[-1])
        return {
            "invalid": counts.invalid,
            "below": below,
            "above": above,
            "other": 0,
            "unseen": 0,
            "unseen_examples": (),
        }
    seen = {"other": counts.other, "unseen": counts.unseen, "unseen_examples": counts.examples}
    return {"invalid": 0, "below": 0, "above": 0, **seen}


def _null_rate(counts: ColumnCounts) -> float:
    invalid = counts.invalid if isinstance(counts, NumericCounts) else 0
    return counts.null / max(counts.n + counts.null + invalid, 1)
