"""All mistakes of a job file at once, whichever step finds them: none hides another, none is told twice."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.errors import JobFileError
from flink_jobs.plan.validate import validated_plan
from tests.helpers.examples import examples
from tests.helpers.job_files import ENVIRON, GOOD, PLACES, TREES, WRONG_FILES, WrongFile, parsed
from tests.helpers.samples import write_model
from udfs.profile.profile import reference_profile

WITHOUT_PASSWORD = parsed(GOOD.replace("${KAFKA_PASSWORD}", "none"))
JOB = """\
job: rides
kafka:
  brokers: localhost:9092
  create_topics: true
  security:
    protocol: SSL
    ca_file: ca.pem
source:
  topic: rides
  event_time:
    field: left_at
    unit: iso8601
  schema:
    left_at: {type: string, required: true}
    city: {type: string, required: true}
    km: {type: double, required: true}
    minutes: {type: double, required: true}
features:
  windows:
    hour:
      by: city
      over: 1h
      select:
        rides: count(*)
        mean_km: avg(km)
        far_rides: count(* where km > 30)
        slow_km: sum(km where minutes > 60)
  lookups:
    cities:
      file: cities.csv
      by: city
      select: [people]
  derive:
    speed: km / minutes
    crowd: rides / people
model:
  name: sums
  inputs:
    first: km
    second: minutes
predictions:
  include:
    - city
    - speed
drift:
  window: 6h
  columns:
    - first
    - second
  sequential:
    step: 30m
alerts:
  rules:
    far:
      on: drift
      columns: [first]
comparisons:
  labels:
    topic: landed
    on: city
    field: late
    wait: 6h
runtime:
  parallelism: 2
"""

# What is changed, into what, and the text that the line of the error holds.
MISTAKES = {
    "kafka.security.ca_file": ("ca_file: ca.pem", "ca_file: cb.pem"),
    "kafka.create_topics": ("create_topics: true", "create_topics: yes"),
    "source.event_time.unit": ("unit: iso8601", "unit: iso8602"),
    "source.schema.minutes.type": ("minutes: {type: double", "minutes: {type: duble"),
    "features.windows.hour.select.mean_km": ("mean_km: avg(km)", "mean_km: avg(kilometres)"),
    "features.windows.hour.select.far_rides": (
        "far_rides: count(* where km > 30)",
        "far_rides: count(* where kn > 30)",
    ),
    "features.lookups.cities.file": ("file: cities.csv", "file: towns.csv"),
    "features.derive.speed": ("speed: km / minutes", "speed: km // minutes"),
    "model.inputs.first": ("    first: km", "    first: left_at"),
    "predictions.include[1]": ("    - speed", "    - sped"),
    "drift.columns[1]": ("    - second", "    - seccond"),
    "drift.sequential.step": ("step: 30m", "step: 7m"),
    "alerts.rules.far.columns[0]": ("columns: [first]", "columns: [fist]"),
    "comparisons.labels.on": ("on: city", "on: km"),
    "runtime.parallelism": ("parallelism: 2", "parallelism: two"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rides")
    numbers = np.arange(200.0)
    rows = pa.table({"first": numbers, "second": numbers / 2})
    profile = reference_profile(rows, pa.table({"score": numbers / 200}))
    write_model(root / "models", "sums", "first", "second", profile=profile)
    delays = reference_profile(pa.table({"delay": numbers}), pa.table({"score": numbers / 200}))
    write_model(root / "models", "flight_delay", "delay", profile=delays)
    (root / "cities.csv").write_text("city,people\nBern,130000\n")
    (root / "ca.pem").write_text("certificate")
    pq.write_table(
        pa.table({"tailnum": ["N1"], "origin": ["EWR"], "year_built": [2001]}), root / "planes.parquet"
    )
    return root


def mistakes(folder: Path, text: str) -> JobFileError | None:
    (folder / "job.yaml").write_text(text)
    try:
        validated_plan(folder / "job.yaml")
    except JobFileError as error:
        return error
    return None


def changed(*names: str) -> str:
    text = JOB
    for name in names:
        old, new = MISTAKES[name]
        assert text.count(old) == 1, name
        text = text.replace(old, new)
    return text


def line_and_column(text: str, written: str, key_path: str) -> tuple[int, int]:
    """Where a key, or an item of a list, stands, by a search in the text."""
    number = next(n for n, line in enumerate(text.splitlines(), 1) if written.strip() in line)
    line = text.splitlines()[number - 1]
    name = re.split(r"[.\[]", key_path.rstrip("]"))[-1]
    if not name.isdigit():
        return number, line.index(f"{name}:") + 1
    return number, max(line.find("- ") + 2, line.find("[") + 1) + 1


def test_the_job_is_right_without_the_mistakes(folder: Path) -> None:
    assert mistakes(folder, JOB) is None


def test_many_mistakes_in_as_many_sections_are_all_found_at_their_lines(folder: Path) -> None:
    text = changed(*MISTAKES)
    error = mistakes(folder, text)
    assert error is not None
    found = {diagnostic.key_path: (diagnostic.line, diagnostic.column) for diagnostic in error.diagnostics}
    expected = {name: line_and_column(text, new, name) for name, (_, new) in MISTAKES.items()}
    assert found == expected
    assert len(error.diagnostics) == len(MISTAKES)
    lines = [diagnostic.line or 0 for diagnostic in error.diagnostics]
    assert lines == sorted(lines)
    assert str(error).splitlines()[0].startswith(f"{folder}/job.yaml:4:3: kafka.create_topics: must be true")


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.sampled_from(sorted(MISTAKES)), min_size=1))
def test_any_of_the_mistakes_are_found_and_nothing_else(folder: Path, names: set[str]) -> None:
    error = mistakes(folder, changed(*sorted(names)))
    assert error is not None
    assert {diagnostic.key_path for diagnostic in error.diagnostics} == names


@pytest.mark.parametrize("case", WRONG_FILES, ids=lambda case: case.name)
def test_planning_adds_nothing_to_a_mistake_of_the_file(
    case: WrongFile, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only follows from a reported mistake is not one. (`dep_delay` may be null, as the model sees.)"""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    error = mistakes(tmp_path, case.text())
    assert error is not None
    known = (
        str(error).replace(f"{tmp_path}/job.yaml", "job.yaml").replace(f"{tmp_path}", "/jobs").splitlines()
    )
    assert [line for line in known if "source.schema: must be without null" not in line] == [case.message]


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), TREES)
def test_any_value_in_any_place_is_planned_or_explained(
    folder: Path, place: tuple[Any, ...], value: object
) -> None:
    data = copy.deepcopy(WITHOUT_PASSWORD)
    node = data
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    error = mistakes(folder, json.dumps(data))
    assert error is not None
    assert all(diagnostic.line == 1 and diagnostic.column for diagnostic in error.diagnostics)


def test_null_for_a_model_that_never_wants_it_is_one_mistake_with_what_to_write(folder: Path) -> None:
    text = JOB
    for name in ("km", "minutes"):
        text = text.replace(f"{name}: {{type: double, required: true}}", f"{name}: double")
    error = mistakes(folder, text)
    assert error is not None
    (only,) = error.diagnostics
    assert (only.key_path, only.line) == ("source.schema", text.splitlines().index("  schema:") + 1)
    assert only.expected.endswith(
        "km: {type: double, required: true}, minutes: {type: double, required: true}"
    )
