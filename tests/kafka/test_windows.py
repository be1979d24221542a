"""Windows over events, several of several keys in one job, compared with plain Python row by row."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyflink.java_gateway import get_gateway
from sklearn.linear_model import LinearRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.plan.window_stages import SHARD_KEYS, SHARDS_OF_WINDOWS
from flink_jobs.run.program import execution_plan
from flink_jobs.testing import Broker, JobHarness, Outcome, Results, record
from tests.helpers import models
from tests.helpers.window_reference import aggregated, ewma, percentile, rate, same, select

START = 1_767_225_600_000
USERS, ROWS_PER_USER, GRID_MS, PARTITIONS = 12, 250, 250, 3
OVER_CITY, OVER_USER, LAST_ROWS = 30_000, 60_000, 5


class Row(NamedTuple):
    """Several rows of a city have the same time, no two of a user."""

    id: int
    time: int
    city: str | None
    user: int
    amount: float | None
    items: int | None
    kind: str | None
    flag: bool | None


def sample() -> list[Row]:
    draw = random.Random(7)
    rows: list[Row] = []
    for user in range(USERS):
        for step in draw.sample(range(2_400), ROWS_PER_USER):
            amount = 0.1 if user == 0 else round(draw.uniform(-50, 100), draw.choice([1, 6, 14]))
            values = (amount, draw.randrange(-9, 10**6), draw.choice("abcdé"), draw.random() < 0.5)
            fields: list[Any] = [None if draw.random() < 0.2 else value for value in values]
            city = draw.choice(["north", "south", "east", "", None])
            rows.append(Row(len(rows), START + step * GRID_MS, city, user, *fields))
    return rows


NUMERIC = ("count", "sum", "avg", "min", "max", "stddev", "distinct")
OF_CITY = [f"{f}_{c}" for f in NUMERIC for c in ("amount", "items")]
OF_CITY += ["count_kind", "distinct_kind", "min_kind", "max_kind", "min_flag", "max_flag"]
OF_USER = [f"{f}_{c}" for f in ("first", "last") for c in ("amount", "items", "kind", "flag")]
CITY, CITY_NAMES = select("city", *OF_CITY)
USER, USER_NAMES = select("user", *OF_USER, "sum_amount")
LAST, LAST_NAMES = select("last", *OF_CITY, *OF_USER)
LAGS = {
    "lag_amount": ("amount", 1),
    "lag_kind": ("kind", 3),
    "lag_flag": ("flag", 2),
    "lag_items": ("items", 1),
}
LAG = ", ".join(f'{name}: "lag({column}, {steps})"' for name, (column, steps) in LAGS.items())
OF_TIME = {
    "city_p90": "percentile(amount, 0.9)",
    "city_ewma": "ewma(amount, 10s)",
    "city_dear": "count(* where amount > 50)",
    "city_flagged": "sum(items) where flag or kind = 'a'",
}
CHANGES = {
    "user_rate": "rate(amount)",
    "user_delta": "delta(items)",
    "user_median": "percentile(items, 0.5 where flag)",
    "user_quiet": "time_since_last()",
    "user_flagged": "time_since_last(where flag)",
    "user_before": "lag(amount, 2 where amount > 50)",
}
FEATURES = [*CITY_NAMES, *USER_NAMES, *LAST_NAMES, *LAGS, *OF_TIME, *CHANGES, "city_rows", "pair_rows"]

JOB = f"""
job: windows
source:
  topic: sales
  event_time: {{out_of_order: 10s}}
  schema:
    id: {{type: long, required: true}}
    city: string
    user: {{type: long, required: true}}
    amount: double
    items: long
    kind: string
    flag: boolean
features:
  windows:
    city_time: {{by: city, over: {OVER_CITY}ms, select: {CITY}}}
    city_count: {{by: city, over: {OVER_CITY}ms, select: {{city_rows: count(*)}}}}
    city_more: {{by: city, over: {OVER_CITY}ms, select: {json.dumps(OF_TIME)}}}
    user_more: {{by: user, rows: {LAST_ROWS}, select: {json.dumps(CHANGES)}}}
    user_time: {{by: user, over: {OVER_USER}ms, select: {USER}}}
    user_last: {{by: user, rows: {LAST_ROWS}, select: {LAST}}}
    user_lag: {{by: user, rows: 1, select: {{{LAG}}}}}
    pair_time: {{by: [city, user], over: 1h, select: {{pair_rows: count(*)}}}}
model: {{name: sales, registry: models, inputs: {{n: city_rows}}}}
predictions: {{include: [id, {", ".join(FEATURES)}]}}
runtime: {{parallelism: 2, checkpoint: {{interval: 1s}}}}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("windows")
    inputs = pa.table({"n": [1.0, 2.0, 3.0]})
    models.write(base / "models", "sales", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression")
    return base


@pytest.fixture(scope="module")
def results(broker: Broker, base: Path) -> Results:
    draw = random.Random(8)
    arriving = sorted(sample(), key=lambda row: row.time + draw.randrange(5_000))
    fed = [
        record(row._asdict(), key=row.city, timestamp=row.time, partition=draw.randrange(PARTITIONS))
        for row in arriving
    ]
    return JobHarness(broker, partitions=PARTITIONS).run(JOB, fed, base=base)


@pytest.fixture(scope="module")
def predictions(results: Results) -> dict[int, Outcome]:
    return {outcome.json["id"]: outcome for outcome in results.predictions}


def dicts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [row._asdict() for row in rows]


def expected(row: Row, of_city: Sequence[Row], of_user: Sequence[Row]) -> dict[str, Any]:
    """Peers, rows of the same time, count in windows of time; rows of a user are in the order of time."""
    city = [other for other in of_city if row.time - OVER_CITY <= other.time <= row.time]
    before = [other for other in of_user if other.time <= row.time]
    recent = [other for other in before if other.time >= row.time - OVER_USER]
    lags = {name: getattr(before[-1 - n], c) if len(before) > n else None for name, (c, n) in LAGS.items()}
    return {
        **aggregated(dicts(city), CITY_NAMES),
        **aggregated(dicts(recent), USER_NAMES),
        **aggregated(dicts(before[-LAST_ROWS:]), LAST_NAMES),
        **lags,
        **of_time(city),
        **changes(row, before),
        "city_rows": len(city),
        "pair_rows": len([other for other in before if other.city == row.city]),
    }


def timed(rows: Sequence[Row], column: str) -> list[tuple[int, Any]]:
    return [(row.time, value) for row in rows if (value := getattr(row, column)) is not None]


def dear(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.amount is not None and row.amount > 50]


def of_time(rows: Sequence[Row]) -> dict[str, Any]:
    flagged = [row.items for row in rows if (row.flag or row.kind == "a") and row.items is not None]
    return {
        "city_p90": percentile([value for _, value in timed(rows, "amount")], 0.9),
        "city_ewma": ewma(timed(rows, "amount"), 10_000),
        "city_dear": len(dear(rows)),
        "city_flagged": sum(flagged) if flagged else None,
    }


def changes(row: Row, before: Sequence[Row]) -> dict[str, Any]:
    """`before` are the user's rows up to this one."""
    last, items = before[-LAST_ROWS:], timed(before[-LAST_ROWS:], "items")
    flagged = [other for other in before[:-1] if other.flag]
    amounts = [other.amount for other in dear(before[:-1])]
    return {
        "user_rate": rate(timed(last, "amount")),
        "user_delta": items[-1][1] - items[0][1] if items else None,
        "user_median": percentile(
            [other.items for other in last if other.flag and other.items is not None], 0.5
        ),
        "user_quiet": row.time - before[-2].time if len(before) > 1 else None,
        "user_flagged": row.time - flagged[-1].time if flagged else None,
        "user_before": amounts[-2] if len(amounts) > 1 else None,
    }


def test_each_row_is_predicted(results: Results) -> None:
    rows = USERS * ROWS_PER_USER
    assert results.accounts() == {"read": rows, "predicted": rows, "dead": 0, "late": 0}


def test_windows_equal_plain_python(predictions: dict[int, Outcome]) -> None:
    rows = sorted(sample(), key=lambda row: row.time)
    wrong = []
    for row in rows:
        of_city = [other for other in rows if other.city == row.city]
        of_user = [other for other in rows if other.user == row.user]
        made = predictions[row.id].json
        for name, value in expected(row, of_city, of_user).items():
            if not same(made[name], value):
                wrong.append((row.id, name, made[name], value))
    assert wrong == [], f"{len(wrong)} differ"


def test_conditions_are_not_written(predictions: dict[int, Outcome]) -> None:
    assert not [name for name in predictions[0].json if name.startswith(("where", "_"))]


def test_the_model_sees_the_windows(predictions: dict[int, Outcome]) -> None:
    assert all(p.json["prediction"] == pytest.approx(2 * p.json["city_rows"]) for p in predictions.values())


def test_the_source_is_read_once_and_each_udf_runs_once(base: Path) -> None:
    plan = json.loads(execution_plan(make_plan(load_job_text(JOB, "job.yaml", base))))
    operators = [node["type"] for node in plan["nodes"]]
    assert len([name for name in operators if name.startswith("Source: ")]) == 1
    assert len([name for name in operators if "pack_records(" in name or "PythonCalc" in name]) == 1
    stages = [name for name in operators if name.startswith("windows by ")]
    assert stages == ["windows by city", "windows by user", "windows by city, user"]


def test_each_shard_has_a_key_group_of_flink_of_its_own() -> None:
    java = get_gateway().jvm.org.apache.flink
    groups = []
    for key in SHARD_KEYS:
        row = java.types.Row(1)
        row.setField(0, key)
        groups.append(java.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup(row, SHARDS_OF_WINDOWS))
    assert groups == list(range(SHARDS_OF_WINDOWS))
