"""A stream that is no longer as in training, or has a season: windows beside what the job saw itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy import stats

from flink_jobs.registry import Registry
from tests.helpers.keyed_operator import KeyedOperator
from tests.helpers.registered import write
from udfs.drift.alert_rules import DEFAULT_RULES, AlertRuleParams
from udfs.drift.params import MonitorParams, RecentParams
from udfs.drift.recent import LEARNING
from udfs.drift.records import ColumnReport, DriftRecord
from udfs.flink.drift import MonitorFunction
from udfs.flink.results import ALERT, RECORD
from udfs.profile.collect import Collector
from udfs.profile.params import CollectParams, SegmentParams
from udfs.profile.profile import reference_profile
from udfs.profile.reference import parse_reference
from udfs.profile.wire import encode_partial_profiles

DAY = 86_400_000
T0 = 20_454 * DAY
ROWS = 400
KINDS = np.array(["a", "b", "c"], dtype=object)
RULE = AlertRuleParams("moved", "drift", windows=(1, 1))
TOWNS = SegmentParams("town", ("a", "b"))
TRAILING = RecentParams("trailing", 28 * DAY, DAY)


class Rows(NamedTuple):
    """Of one day: a number, a category and a town each."""

    times: npt.NDArray[np.int64]
    size: npt.NDArray[np.float64]
    kind: npt.NDArray[np.object_]
    town: npt.NDArray[np.object_]


def day(number: int, *, shift: float = 0.0, new: float = 0.0, rows: int = ROWS) -> Rows:
    """Even times; the mean is `shift`, and a part of `new` has a kind that training does not have."""
    random = np.random.default_rng(number)
    times = T0 + number * DAY + np.arange(rows) * (DAY // rows)
    kind = KINDS[random.integers(3, size=rows)]
    kind[random.random(rows) < new] = "d"
    return Rows(times, random.normal(shift, size=rows), kind, KINDS[random.integers(3, size=rows)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    registry = Registry(tmp_path_factory.mktemp("models"))
    random = np.random.default_rng(1)
    table = pa.table({"size": random.normal(size=4_000), "kind": KINDS[random.integers(3, size=4_000)]})
    write(registry, profile=reference_profile(table))
    return registry.location("fraud", 1)


class Told(NamedTuple):
    drift: list[DriftRecord]
    alerts: list[dict[str, Any]]
    bytes: list[bytes]
    kept: int

    def of_all(self) -> list[DriftRecord]:
        return [record for record in self.drift if record.segment is None]


def run(
    folder: str,
    days: Sequence[Rows],
    recent: RecentParams | None = TRAILING,
    *,
    batch: int = ROWS,
    restart: bool = False,
    segments: tuple[SegmentParams, ...] = (),
    rules: Sequence[AlertRuleParams] = (RULE,),
) -> Told:
    """Day by day, in batches of so many rows, which two workers count."""
    reference = parse_reference((Path(folder) / "profile.json").read_bytes())
    collect = CollectParams(DAY, (("size", "size"), ("kind", "kind")), segments)
    params = MonitorParams(
        "j",
        "fraud",
        {1: folder},
        DAY,
        {"size": "input", "kind": "input"},
        tuple(rules),
        segments=segments,
        recent=recent,
    )
    operator = KeyedOperator(MonitorFunction(params, live=False))
    workers = [Collector(collect, reference, 1) for _ in range(2)]
    for rows in days:
        for i in range(0, len(rows.times), batch):
            part = slice(i, i + batch)
            columns = {name: pa.array(getattr(rows, name)[part]) for name in ("size", "kind", "town")}
            counted = workers[i // batch % 2].collect(columns, rows.times[part])
            operator.send(encode_partial_profiles(counted))
        operator.watermark(int(rows.times[0]) + DAY - 1)
        if restart:
            operator.restart(0)
    told = operator.results
    drift = [msgspec.json.decode(row[2], type=DriftRecord) for row in told if row[0] == RECORD]
    alerts = [msgspec.json.decode(row[2]) for row in told if row[0] == ALERT]
    return Told(drift, alerts, [row[2] for row in told], len(operator.maps["recent"]))


def column(record: DriftRecord, name: str) -> ColumnReport:
    return next(column for column in record.columns if column.name == name)


def test_the_reference_are_the_rows_of_the_time_before(folder: str) -> None:
    """By numpy and scipy, on the rows themselves; many lie beyond all that training had."""
    days = [day(i, shift=4.0 + i / 40, new=0.3) for i in range(30)]
    last = run(folder, days).of_all()[-1]
    before, now = days[1:29], days[29]
    assert (last.reference, last.learning) == ("trailing", False)
    size, known = column(last, "size"), np.concatenate([rows.size for rows in before])
    assert size.reference_mean == pytest.approx(known.mean(), abs=1e-6)
    assert size.reference_std == pytest.approx(known.std(), abs=1e-6)
    assert size.mean == pytest.approx(now.size.mean(), abs=1e-6)
    distance = stats.wasserstein_distance(known, now.size) / known.std()
    found = size.statistics["wasserstein"]
    assert found.upper is not None
    assert found.value - 1e-6 <= distance <= found.upper + 1e-6
    kind, kinds = column(last, "kind"), np.concatenate([rows.kind for rows in before])
    assert kind.reference_unseen == np.mean(kinds == "d")
    shares = [[np.mean(side == name) for name in "abcd"] for side in (kinds, now.kind)]
    assert kind.effect == pytest.approx(np.abs(np.array(shares[0]) - shares[1]).sum() / 2, abs=1e-12)
    table = [[np.sum(side == name) for name in "abcd"] for side in (kinds, now.kind)]
    assert kind.statistics["chi2"].p == pytest.approx(stats.chi2_contingency(table).pvalue, abs=1e-9)


def test_what_became_usual_is_no_drift_and_what_is_new_is(folder: str) -> None:
    """Since training all has moved by a deviation, and been so; on the last day it moves by half of one."""
    days = [day(i, shift=1.0, new=0.2) for i in range(30)] + [day(30, shift=1.5, new=0.2)]
    told = run(folder, days, rules=[RULE, *DEFAULT_RULES])
    verdicts = [record.verdict for record in told.of_all()]
    assert verdicts == ["insufficient_data"] * 14 + ["ok"] * 16 + ["drift"]
    assert told.of_all()[-1].drifted == ("size",)
    assert {(alert["rule"], alert["column"], alert["window"]["start"][:10]) for alert in told.alerts} == {
        ("moved", "size", "2026-01-31")
    }
    of_training = run(folder, days[:5], None).of_all()
    assert {record.verdict for record in of_training} == {"drift"}


def test_until_enough_is_known_a_window_is_not_judged_and_says_so(folder: str) -> None:
    """Thousands of rows of a single day say nothing of the other days; nor do a few of many days."""
    told = run(folder, [day(i, shift=1.0, rows=2_000) for i in range(10)]).of_all()
    assert {(record.learning, record.reference, record.verdict) for record in told} == {
        (True, "all", "insufficient_data")
    }
    assert {column.direction for record in told for column in record.columns} == {LEARNING}
    few = run(folder, [day(i, rows=8) for i in range(30)]).of_all()
    assert [record.learning for record in few] == [True] * 25 + [False] * 5
    assert not run(folder, [day(i) for i in range(3)], None).of_all()[0].learning


def test_after_a_long_silence_it_learns_anew(folder: str) -> None:
    days = [day(i) for i in (*range(20), *range(60, 80))]
    learning = [record.learning for record in run(folder, days).of_all()]
    assert learning == [True] * 14 + [False] * 6 + [True] * 14 + [False] * 6


def test_it_is_the_same_bytes_however_split_and_after_restarts(folder: str) -> None:
    days = [day(i, shift=i / 30) for i in range(20)]
    whole = run(folder, days, segments=(TOWNS,)).bytes
    assert run(folder, days, batch=91, restart=True, segments=(TOWNS,)).bytes == whole
    references = {msgspec.json.decode(line).get("reference") for line in whole}
    assert references == {"all", "trailing", None}


def test_segments_have_what_was_seen_of_themselves(folder: str) -> None:
    days = [day(i) for i in range(30)]
    for rows in days:
        rows.size[rows.town == "a"] += 3.0
    told = run(folder, days, segments=(TOWNS,)).drift[-4:]
    assert {record.verdict for record in told} <= {"ok", "insufficient_data"}
    of_town = next(record for record in told if record.segment and record.segment.value == "a")
    known = np.concatenate([rows.size[rows.town == "a"] for rows in days[1:29]])
    assert column(of_town, "size").reference_mean == pytest.approx(known.mean(), abs=1e-6)


def test_state_has_an_end(folder: str) -> None:
    """Of forty days as many stretches are kept as the reference is long."""
    days = [day(i, rows=40) for i in range(40)]
    assert run(folder, days).kept == 29
    weekly = RecentParams("trailing", 28 * DAY, 7 * DAY)
    assert run(folder, days, weekly).kept <= 5


def test_a_season_is_beside_that_of_a_year_ago(folder: str) -> None:
    """What swings by the year is drift to training, and to the weeks before; not to the year before."""
    ago = RecentParams("year_ago", 28 * DAY, DAY, 350 * DAY)

    def seasonal(number: int) -> Rows:
        return day(number, shift=2 * np.sin(2 * np.pi * number / 364) + (number == 399), rows=100)

    # In between, which no judged day is beside, a day in three weeks will do.
    numbers = [*range(50), *range(50, 340, 21), *range(340, 400)]
    told = run(folder, [seasonal(number) for number in numbers], ago)
    verdicts = [record.verdict for record in told.of_all()]
    assert verdicts == ["insufficient_data"] * (len(numbers) - 36) + ["ok"] * 35 + ["drift"]
    assert {record.reference for record in told.of_all()[-36:]} == {"year_ago"}
    assert told.kept == sum(number > 399 - 379 for number in numbers)
    trailing = run(folder, [seasonal(number) for number in range(340, 379)]).of_all()[-25:]
    assert sum(record.verdict == "drift" for record in trailing) > 17


def test_days_of_the_week_are_beside_the_same_days(folder: str) -> None:
    """Sundays are unlike all other days, each week."""
    same = RecentParams("trailing", 28 * DAY, DAY, same_hours=True)
    days = [day(i, shift=2.0 * (i % 7 == 3) + (i == 45)) for i in range(46)]
    told = run(folder, days, same).of_all()
    assert [record.verdict for record in told[14:]] == ["ok"] * 31 + ["drift"]
    mean = np.concatenate([days[45 - 7 * i].size for i in range(1, 5)]).mean()
    assert column(told[-1], "size").reference_mean == pytest.approx(mean, abs=1e-6)
    every = run(folder, days).of_all()
    sundays = {record.verdict for i, record in enumerate(every) if i >= 14 and i % 7 == 3}
    assert sundays == {"drift"}


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.long)])
def test_without_drift_alarms_are_as_rare_as_was_set(folder: str, count: int) -> None:
    days = [day(1_000 + i, shift=0.7, rows=200) for i in range(count)]
    drifted = sum(record.verdict == "drift" for record in run(folder, days).of_all())
    assert stats.binomtest(drifted, count - 14, 0.01, "greater").pvalue > 0.001
