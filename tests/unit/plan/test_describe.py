"""A plan as data: stable keys, durations in milliseconds, masked secrets, and what each input is fed by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, describe, make_plan
from tests.helpers.samples import write_model

JOB = """
job: rides
source:
  topic: rides
  event_time: {header: at, unit: s, out_of_order: 2m}
  schema:
    city: {type: string, required: true}
    km: {type: double, required: true}
features:
  windows: {city_10: {by: city, rows: 10, select: {far: max(km)}}}
  derive: {ratio: km / far}
model: {name: tiny, registry: %s, inputs: {a: km, b: ratio}}
runtime: {flink: {fs.token: "${TOKEN}", web.port: 12, classloader.check-leaked-classloader: false}}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_model(tmp_path, "tiny", "a", "b")
    return make_plan(load_job_text(JOB % tmp_path, "rides.yaml", tmp_path, {"TOKEN": "hush hush"}))


def test_the_keys_are_those_that_programs_know(plan: Plan) -> None:
    data = describe.as_data(plan)
    assert list(data) == [
        "schema", "job", "score", "brokers", "delivery", "source", "outputs", "include", "explain", "windows",
        "lookups", "derived", "columns", "model", "options", "privacy", "sql",
    ]  # fmt: skip
    assert json.loads(json.dumps(data)) == data
    assert data["source"]["event_time"] == {
        "from": "header",
        "name": "at",
        "unit": "s",
        "out_of_order": 120_000,
        "idle": 30_000,
        "max_ahead": 3_600_000,
    }
    assert data["windows"] == {
        "city_10": {"by": ["city"], "kind": "rows", "size": 10, "every": None, "select": {"far": "max(km)"}}
    }
    assert data["outputs"]["dead_letters"] == {"topic": "rides.dead-letters"}


def test_each_model_input_says_where_it_comes_from(plan: Plan) -> None:
    assert describe.as_data(plan)["model"]["inputs"] == [
        {"name": "a", "type": "double", "column": "km", "column_type": "double", "from": "field of rides"},
        {
            "name": "b",
            "type": "double",
            "column": "ratio",
            "column_type": "double",
            "from": "derived: km / far",
        },
    ]


def test_options_show_everything_but_secrets(plan: Plan) -> None:
    options = describe.shown_options(plan)
    assert options["web.port"] == "12"
    assert options["classloader.check-leaked-classloader"] == "false"
    assert options["pipeline.name"] == "rides"
    assert list(options) == sorted(options)
    for shown in (describe.as_text(plan), describe.as_sql(plan), json.dumps(describe.as_data(plan))):
        assert "hush" not in shown


def test_sql_is_in_order_of_dependency(plan: Plan) -> None:
    seen: set[str] = set(describe.sql_data(plan)["tables"])
    for name, query in describe.sql_data(plan)["views"].items():
        assert any(f"FROM {known}" in query or f"TABLE {known}" in query for known in seen), name
        seen.add(name)
    assert describe.as_sql(plan).count(";\n") == len(seen) + len(plan.views.inserts)
