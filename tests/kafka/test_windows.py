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
from tests.helpers.window_reference import aggregated, same, select

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
FEATURES = [*CITY_NAMES, *USER_NAMES, *LAST_NAMES, *LAGS, "city_rows", "pair_rows"]

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
        "city_rows": len(city),
        "pair_rows": len([other for other in before if other.city == row.city]),
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
