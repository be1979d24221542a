"""Mistakes of a job file do not hide each other, whichever step finds them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from flink_jobs import reference_profile
from flink_jobs.errors import JobFileError
from flink_jobs.plan.validate import validated_plan
from tests.helpers.samples import write_model

# Each wrong word stands once in the text, so that its line can be found without a parser.
TEN = """
job: Ten
kafka:
  brokers: nowhere
source:
  topic: ten
  event_time: {field: att, unit: iso8601}
  schema:
    at: {type: string, required: true}
    k: {type: strin}
    x: double
features:
  windows:
    w: {by: kk, over: 1h, select: {m: avg(x)}}
  lookups:
    cities: {file: gone.csv, by: at, select: [n]}
  derive:
    d: "x +"
model: {name: tiny, registry: models, use: 99}
predictions: {include: [nope]}
runtime: {parallelism: -7}
"""
WRONG = ("Ten", "nowhere", "att", "strin}", "kk", "gone.csv", '"x +"', "99", "nope", "-7")
PLANNED = """
job: watched
source: {topic: in, schema: {x: {type: double, required: true}, y: double}}
model: {name: tiny, registry: models}
drift:
  columns: [ghost]
  thresholds:
    spook: {psi: 0.3}
alerts:
  rules:
    first: {on: drift, columns: [wraith]}
    second: {on: missing, columns: [phantom]}
"""
UNKNOWN = ("ghost", "spook", "wraith", "phantom")


def lines(text: str, words: tuple[str, ...]) -> list[int]:
    rows = text.splitlines()
    return [next(number for number, row in enumerate(rows, 1) if word in row) for word in words]


def mistakes(text: str, folder: Path) -> JobFileError:
    profile = reference_profile(pa.table({"x": [float(n) for n in range(100)]}))
    write_model(folder / "models", "tiny", "x", profile=profile)
    file = folder / "job.yaml"
    file.write_text(text)
    with pytest.raises(JobFileError) as raised:
        validated_plan(file)
    return raised.value


def test_ten_mistakes_in_ten_sections_are_told_at_once(tmp_path: Path) -> None:
    error = mistakes(TEN, tmp_path)
    assert [diagnostic.line for diagnostic in error.diagnostics] == lines(TEN, WRONG)
    assert all(diagnostic.column for diagnostic in error.diagnostics)


def test_wrong_names_of_drift_and_alerts_are_told_where_they_stand(tmp_path: Path) -> None:
    error = mistakes(PLANNED, tmp_path)
    assert [diagnostic.line for diagnostic in error.diagnostics] == lines(PLANNED, UNKNOWN)
