"""Measures how much CPU a job's Python takes for its records: in this process, without Flink or Kafka.

    spent = measured_speed(plan, made_up(plan.job.source, 10_000))
    spent.cpu_s_per_million

What Flink adds is not in it. Windows are not computed; rows get values in place of their results.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.plan import Plan
from flink_jobs.plan.flink_options import PROFILES
from flink_jobs.plan.window_stages import OUTCOMES, WindowStages
from flink_jobs.spec.contract import ContractField
from flink_jobs.spec.source import Source
from udfs.records.raws import Raws
from udfs.scoring.batch import Batch, WindowedBatch
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import DEAD, Outcomes
from udfs.scoring.params import PackParams, ScoreParams
from udfs.scoring.scorer import Scorer
from udfs.times import Milliseconds, iso, now_ms, parse_time
from udfs.types import ARROW

# So much CPU is enough for a median of batches, in seconds.
LONG_ENOUGH = 2.0
FEWEST_BATCHES = 5
MOST_DEAD = 0.5
_TEXTS = 50


@dataclass(frozen=True)
class Spent:
    """CPU seconds for a million records, in batches of so many, of which this share became dead letters."""

    cpu_s_per_million: float
    batch: int
    dead: float


def made_up(source: Source, count: int, seed: int = 1) -> list[bytes]:
    """Records of JSON that keep the job's contract, and say nothing. Raises InputError for other formats."""
    nested = any(field.type in ("list", "vector", "map") for field in source.declared.values())
    if nested or source.format != "json" or source.envelope.kind != "none" or source.key or source.headers:
        raise InputError(
            "records can be made up only for single values of plain JSON: give --records, or "
            "--records-per-second"
        )
    draw = np.random.default_rng(seed)
    when = source.event_time
    now = iso(now_ms()) if when.type == "string" else now_ms()
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, declared in source.fields.items():
        path = (declared.field or name).split(".")
        values = [now] * count if name == when.field else _values(name, declared, count, draw)
        for row, value in zip(rows, values, strict=True):
            for part in path[:-1]:
                row = row.setdefault(part, {})
            row[path[-1]] = value
    if when.field and when.field not in source.fields:
        for row in rows:
            row[when.field] = now
    return [msgspec.json.encode(row) for row in rows]


def _values(name: str, declared: ContractField, count: int, draw: np.random.Generator) -> list[Any]:
    if declared.values:
        return [declared.values[i] for i in draw.integers(len(declared.values), size=count).tolist()]
    low = 0.0 if declared.low is None else float(declared.low)
    high = max(low, 100.0) if declared.high is None else float(declared.high)
    if declared.type == "double":
        found: list[Any] = draw.uniform(low, high, count).tolist()
    elif declared.type == "long":
        found = draw.integers(round(low), round(high) + 1, count).tolist()
    elif declared.type == "boolean":
        found = (draw.uniform(size=count) < 0.5).tolist()
    else:
        found = [f"{name}-{i}" for i in draw.integers(_TEXTS, size=count).tolist()]
    return found


def measured_speed(
    plan: Plan,
    records: Sequence[bytes],
    clock: Callable[[], float] = time.process_time,
    long_enough: float = LONG_ENOUGH,
) -> Spent:
    """What decoding, features, the model and writing take; the first batch does not count.

    Raises InputError where more than half of the records become dead letters.
    """
    score, scorer = _scoring(plan)
    try:
        return _measured(plan, records, score, clock, long_enough)
    finally:
        if scorer:
            scorer.close()


def _measured(
    plan: Plan,
    records: Sequence[bytes],
    score: Callable[[Batch], Outcomes],
    clock: Callable[[], float],
    long_enough: float,
) -> Spent:
    size = min(PROFILES[plan.job.runtime.latency].arrow_rows, len(records))
    spent: list[float] = []
    dead = seen = 0
    while len(spent) <= FEWEST_BATCHES or sum(spent) < long_enough:
        start = len(spent) * size % max(1, len(records) - size + 1)
        batch = _batch(records[start : start + size], plan.job.source)
        began = clock()
        outcomes = score(batch)
        spent.append(clock() - began)
        seen += size
        dead += int((outcomes.kind == DEAD).sum())
        if dead > MOST_DEAD * seen:
            raise _dead_error(outcomes, dead / seen)
    return Spent(float(np.median(spent[1:])) / size * 1e6, size, dead / seen)


def _dead_error(outcomes: Outcomes, share: float) -> InputError:
    first = next(problem for problem in outcomes.problem if problem is not None)
    why = json.loads(first)
    return InputError(
        f"{share:.0%} of the records become dead letters ({why['stage']}, {why['reason']}: "
        f"{why['message']}); nothing is measured: give --records with real ones, or "
        "--records-per-second"
    )


def _batch(values: Sequence[bytes], source: Source) -> Batch:
    count = len(values)
    times = np.array([_time(value, source) for value in values], dtype=np.int64)
    numbers = np.arange(count)
    late = np.zeros(count, dtype=np.bool_)
    return Batch(Raws(pa.array(values, pa.binary())), times, late, np.zeros_like(numbers), numbers, times)


def _time(value: bytes, source: Source) -> int:
    """What Flink reads beforehand: the event time, where its text is compared with it."""
    when = source.event_time
    if when.field is None or when.unit != "iso8601":
        return now_ms()
    declared = source.fields.get(when.field)
    try:
        found: Any = msgspec.json.decode(value)
        for part in ((declared.field if declared else None) or when.field).split("."):
            found = found[part]
        return parse_time(found)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return now_ms()


def _scoring(plan: Plan) -> tuple[Callable[[Batch], Outcomes], Scorer | None]:
    stages = plan.views.views.get(OUTCOMES)
    if not isinstance(stages, WindowStages):
        params = plan.views.functions["score_record"].params
        assert isinstance(params, ScoreParams)
        scorer = Scorer(params)
        return scorer.score, scorer
    windowed = _Windowed(plan, stages.pack, stages.score)
    return windowed, windowed.scorer


class _Windowed:
    """Decodes records, then scores them with made-up results of windows; scores no windows."""

    def __init__(self, plan: Plan, pack: PackParams, score: ScoreParams) -> None:
        self._checker = RecordChecker(pack.source, pack.conditions)
        self.scorer = Scorer(score) if plan.job.score == "per_event" else None
        names = [name for window in plan.job.features.windows.values() for name in window.select]
        self._results = {name: ARROW[plan.columns[name].type] for name in names}

    def __call__(self, batch: Batch) -> Outcomes:
        raws = batch.raws
        assert isinstance(raws, Raws)
        outcomes, table = self._checker.extract(raws, batch.event_time, batch.late, [])
        valid = outcomes.kind != DEAD
        if self.scorer is None or not valid.any():
            return outcomes
        table = table.filter(pa.array(valid))
        rows = table.num_rows
        for name, kind in self._results.items():
            values = [str(i) for i in range(rows)] if pa.types.is_string(kind) else np.arange(rows)
            table = table.append_column(name, pa.array(values).cast(kind))
        times: Milliseconds = batch.event_time[valid]
        table = table.append_column("event_time", pa.array(times).cast(ARROW["timestamp"]))
        table = table.append_column("_partition", pa.array(np.zeros(rows, dtype=np.int64)))
        table = table.append_column("_offset", pa.array(batch.offset[valid]))
        scored = self.scorer.score_windowed(WindowedBatch(table, times, times))
        return replace(outcomes, kind=_with(outcomes.kind, valid, scored.kind))


def _with(kind: npt.NDArray[np.int8], at: npt.NDArray[np.bool_], given: Any) -> npt.NDArray[np.int8]:
    found = kind.copy()
    found[at] = given
    return found
