"""Text and SQL of a plan for each kind of job, as in golden/; TAILRACE_UPDATE_GOLDEN=1 rewrites them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from flink_jobs.plan import Plan, describe
from flink_jobs.plan.validate import validated_plan
from tests.helpers.samples import write_model
from udfs.model.manifest import digest
from udfs.profile.profile import reference_profile

HERE = Path(__file__).parent
SECRET = "correct-horse-battery-staple"
KINDS = ("stateless", "windowed", "per_window", "all_outputs", "avro", "tables")


@pytest.fixture(params=KINDS)
def plan(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    rows = pa.table({name: np.arange(100.0) for name in ("first", "second", "third")})
    profile = reference_profile(rows, pa.table({"score": rows["first"]}))
    write_model(tmp_path, "sums", *rows.column_names, profile=profile)
    monkeypatch.setenv("MODELS", str(tmp_path))
    monkeypatch.setenv("PASSWORD", SECRET)
    return validated_plan(HERE / "jobs" / f"{request.param}.yaml")


def compare(file: str, text: str) -> None:
    path = HERE / "golden" / file
    if os.environ.get("TAILRACE_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def name(plan: Plan) -> str:
    return {
        "score-payments": "stateless",
        "score-trips": "windowed",
        "score-sensors": "per_window",
        "score-orders": "all_outputs",
        "score-rides": "avro",
        "score-cards": "tables",
    }[plan.job.job]


def masked(plan: Plan, text: str) -> str:
    """Without what differs from one run or machine to the next."""
    full = digest(plan.manifest)
    places = {full: "DIGEST", full[:12]: "DIGEST", str(plan.job.model.registry): "MODELS", str(HERE): "HERE"}
    for found, mask in places.items():
        text = text.replace(found, mask)
    return text


def test_text(plan: Plan) -> None:
    compare(f"{name(plan)}.txt", masked(plan, describe.as_text(plan)))


def test_sql(plan: Plan) -> None:
    compare(f"{name(plan)}.sql", describe.as_sql(plan))


def test_data_holds_all_that_text_says_and_no_secret(plan: Plan) -> None:
    data = describe.as_data(plan)
    shown = json.dumps(data)
    assert data["schema"] == "tailrace.plan/1"
    assert SECRET not in shown + describe.as_text(plan) + describe.as_sql(plan) + repr(plan)
    words = re.findall(r"[\w.-]+", masked(plan, describe.as_text(plan)))
    columns = {column["name"] for column in data["columns"]}
    assert columns >= {i["column"] for i in data["model"]["inputs"]} | set(data["include"])
    assert {i["name"] for i in data["model"]["inputs"]} <= set(words)
    assert {output["topic"] for output in data["outputs"].values()} <= set(words)
