"""Drift and alert records as a job writes them over half a year: seeded, with drift from November on.

>>> records = drift_records()
>>> sorted({alert.state for alert in alert_records(records)})
['firing', 'resolved']
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from udfs.alerts.records import AlertRecord, Segment, WindowSpan
from udfs.drift.records import (
    Bins,
    ColumnReport,
    Comparison,
    DriftRecord,
    JointReport,
    PairChange,
    ProblemCount,
    Statistic,
    Verdict,
    Volume,
)
from udfs.profile.params import Role

START = datetime(2013, 7, 1, tzinfo=UTC)
DRIFT_FROM = 18
COLUMNS: dict[str, Role] = {
    "dep_delay": "input",
    "distance": "input",
    "mean_delay": "feature",
    "carrier": "input",
    "score": "score",
}
MOVING = ("dep_delay", "score", "carrier")
_CARRIERS = ("UA", "B6", "EV", "DL", "AA")
_REFERENCE = np.random.default_rng(0).normal(size=4000)
_EDGES = np.quantile(_REFERENCE, np.linspace(0, 1, 9))
_CELLS = (-math.inf, *_EDGES, math.inf)
_SHARES = np.histogram(_REFERENCE, bins=_CELLS)[0] / len(_REFERENCE)
_TAILS = {"p05": 0.05, "p50": 0.5, "p95": 0.95}


def drift_records(
    windows: int = 26,
    columns: dict[str, Role] | None = None,
    segments: Sequence[str | None] = (),
    seed: int = 7,
    rows: int = 500,
) -> list[DriftRecord]:
    """Weekly windows of all records and each segment of `origin`; every ninth has too few records."""
    random = np.random.default_rng(seed)
    places = [None, *(Segment("origin", value) for value in segments)]
    return [
        _record(random, week, segment, columns or COLUMNS, rows)
        for week in range(windows)
        for segment in places
    ]


def alert_records(records: Sequence[DriftRecord]) -> list[AlertRecord]:
    """One that was resolved in between, and one firing for each column that drifts in the last window."""
    last = [record for record in records if record.segment is None][-1]
    drifting = [column for column in last.columns if column.verdict == "drift"]
    early = records[0]
    fired = [
        _alert(last, column, since=_iso(START + timedelta(weeks=DRIFT_FROM + 1)), rank=rank)
        for rank, column in enumerate(sorted(drifting, key=lambda column: -column.effect), start=1)
    ]
    past = _alert(early, early.columns[1], since=early.window.start, rank=1)
    return [past, *fired, _alert(early, early.columns[1], since=early.window.start, rank=1, state="resolved")]


def _record(
    random: np.random.Generator, week: int, segment: Segment | None, columns: dict[str, Role], rows: int
) -> DriftRecord:
    n = 20 if week % 9 == 5 else rows
    shift = max(0, week - DRIFT_FROM + 1) * 0.12
    reports = tuple(
        _categorical(random, name, role, n, shift)
        if name == "carrier"
        else _numeric(random, name, role, n, shift if name in MOVING else 0.0)
        for name, role in columns.items()
    )
    verdicts = [report.verdict for report in reports]
    verdict: Verdict = "drift" if "drift" in verdicts else "insufficient_data" if n < 100 else "ok"
    start = START + timedelta(weeks=week)
    return DriftRecord(
        job="flight-delay",
        model="flight_delay",
        version=1,
        window=WindowSpan(_iso(start), _iso(start + timedelta(weeks=1)), "watermark"),
        segment=segment,
        records=Volume(n, dead=week % 3, late=week % 2, duplicates=None),
        problems=(ProblemCount("decode", "not_json", None, week % 3),) if week % 3 else (),
        freshness_ms=1500.0,
        level=0.01,
        verdict=verdict,
        drifted=tuple(report.name for report in reports if report.verdict == "drift"),
        columns=reports,
        joint=_joint(n, shift),
    )


def _numeric(random: np.random.Generator, name: str, role: Role, n: int, shift: float) -> ColumnReport:
    values = random.normal(shift, 1.0, n)
    distance = float(np.abs(_cumulative(values) - _CUMULATIVE).max())
    words = f"moved up; {np.mean(values > _EDGES[-2]):.0%} of rows now above the reference's 88th percentile"
    current = np.histogram(values, bins=_CELLS)[0]
    labels = (
        "below",
        *(f"{low:.1f} to {high:.1f}" for low, high in pairwise(_EDGES)),
        "above",
    )
    return _report(
        name,
        role,
        n,
        distance,
        words,
        Bins(labels, tuple(_SHARES.tolist()), tuple((current / n).tolist())),
        mean=float(values.mean()),
        values=values,
        outside=(int(current[0]), int(current[-1])),
    )


def _categorical(random: np.random.Generator, name: str, role: Role, n: int, shift: float) -> ColumnReport:
    reference = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
    moved = np.array([1, 0, 0, -0.5, -0.5]) * min(0.2, shift / 6)
    current = random.multinomial(n, reference + moved) / n
    distance = float(np.abs(current - reference).sum() / 2)
    words = f"UA rose from 30% to {current[0]:.0%}"
    bins = Bins((*_CARRIERS, "unseen"), (*reference.tolist(), 0.0), (*current.tolist(), 0.0))
    return _report(name, role, n, distance, words, bins, examples=("ZZ",) if shift else ())


def _report(
    name: str,
    role: Role,
    n: int,
    effect: float,
    words: str,
    bins: Bins,
    *,
    mean: float | None = None,
    values: npt.NDArray[np.float64] | None = None,
    outside: tuple[int, int] = (0, 0),
    examples: tuple[str, ...] = (),
) -> ColumnReport:
    visible = 1.63 * math.sqrt(1 / n + 1 / 4000)
    p = min(1.0, 2 * math.exp(-2 * effect**2 / (1 / n + 1 / 4000)))
    few = visible > 0.2
    verdict: Verdict = "insufficient_data" if few else "drift" if effect > visible else "ok"
    return ColumnReport(
        name=name,
        role=role,
        kind="categorical" if values is None else "numeric",
        n=n,
        verdict=verdict,
        p=p,
        q=min(1.0, p * 2),
        effect=effect,
        min_effect=0.02,
        visible_effect=visible,
        direction=words if verdict == "drift" else "no change that matters",
        null_rate=0.01,
        reference_null_rate=0.01,
        invalid=0,
        below=outside[0],
        above=outside[1],
        other=0,
        unseen=len(examples),
        unseen_examples=examples,
        mean=mean,
        reference_mean=None if mean is None else float(_REFERENCE.mean()),
        std=None if values is None else float(values.std()),
        reference_std=None if values is None else float(_REFERENCE.std()),
        quantiles=_quantiles(values),
        reference_quantiles=_quantiles(None if values is None else _REFERENCE),
        statistics={
            "ks": Statistic(effect, visible, upper=effect + 0.01, p=p),
            "psi": Statistic(effect**2, 0.1, fixed=True),
        },
        bins=bins,
        previous=Comparison(n, effect / 2, 0.5, 0.7, "ok"),
    )


def _joint(n: int, shift: float) -> JointReport:
    changed = shift > 0.5
    return JointReport(
        n=n,
        value=0.2 if changed else 0.02,
        threshold=0.08,
        p=0.001 if changed else 0.6,
        q=0.002 if changed else 0.7,
        verdict="drift" if changed else "ok",
        pairs=(PairChange("dep_delay", "distance", 0.1, 0.4 if changed else 0.11),),
    )


def _alert(
    record: DriftRecord, column: ColumnReport, *, since: str, rank: int, state: str = "firing"
) -> AlertRecord:
    output = column.role in ("score", "prediction")
    return AlertRecord(
        job=record.job,
        id=f"drift/1//{column.name}",
        rule="output-drift" if output else "input-drift",
        state="resolved" if state == "resolved" else "firing",
        severity="warning" if output else "info",
        model=record.model,
        version=record.version,
        segment=record.segment,
        column=column.name,
        statistic="effect",
        value=column.effect,
        threshold=column.min_effect,
        message=f"{column.name}: {column.direction}",
        window=record.window,
        since=since,
        windows_bad=2,
        windows_seen=3,
        impact=column.effect * (1.0 if output else 0.25),
        rank=rank,
        examples=column.unseen_examples,
    )


def _quantiles(values: npt.NDArray[np.float64] | None) -> dict[str, float]:
    if values is None:
        return {}
    return dict(zip(_TAILS, np.quantile(values, list(_TAILS.values())).tolist(), strict=True))


def _cumulative(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.searchsorted(np.sort(values), _EDGES, side="right") / len(values)


_CUMULATIVE = _cumulative(_REFERENCE)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
