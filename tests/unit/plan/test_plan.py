"""What the plan refuses: a model that the job cannot feed, and fields that would be written twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_feature_plan, make_plan
from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Output, Signature
from udfs.scoring.params import ScoreParams

JOB = """
job: lines
source:
  topic: points
  schema: {{x: {x}, label: string, score: double}}
model: {{name: line{model}}}
predictions: {{include: [{include}]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    registry = Registry(tmp_path / "models")
    inputs = (Input(name="x", type="double", nullable=False), Input(name="slope", type="long"))
    registry.write_version(
        "line",
        model=LinearRegression().fit([[0.0, 1.0], [1.0, 2.0]], [0.0, 2.0]),
        signature=Signature(inputs=inputs, output=Output(kind="regression")),
        golden_inputs=pa.table({"x": [0.5, 3.0], "slope": [1, 2]}),
        profile={},
        metrics={},
        training={},
    )
    registry.promote("line", 1)
    return tmp_path


def plan(folder: Path, x: str = "{type: double, required: true}", model: str = "", include: str = "") -> Plan:
    text = JOB.format(x=x, model=model, include=include)
    return make_plan(load_job_text(text, "lines.yaml", folder))


def test_all_missing_inputs_are_listed_with_the_reason(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(folder, x="double", model=", inputs: {slope: label, slop: x}")
    assert str(caught.value).splitlines() == [
        "model.inputs.slop: must be an input of line version 1 (x, slope); got 'slop'; did you mean 'slope'?",
        "model.inputs.slope: must be a long column, as line version 1 wants it; "
        "got label, a string (field of points)",
        "source.schema: must be without null in what line version 1 needs: "
        "x: {type: double, required: true}; got x without required: true",
    ]


def test_an_input_without_a_column_is_named(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"inputs.slope: must be a column .* slope \(long\) .* got no column 'slope'"
    ):
        plan(folder)


def test_an_included_column_may_not_hide_a_field_of_the_prediction(folder: Path) -> None:
    with pytest.raises(InputError, match="a field that every prediction has; got 'score'"):
        plan(folder, x="{type: long, required: true}", model=", inputs: {slope: x}", include="score")


def test_inputs_are_matched_by_name_or_renamed(folder: Path) -> None:
    made = plan(folder, x="{type: long, required: true}", model=", inputs: {slope: x}", include="label")
    assert [(item.name, item.type, item.column.name) for item in made.inputs] == [
        ("x", "double", "x"),
        ("slope", "long", "x"),
    ]


def test_features_need_no_model(tmp_path: Path) -> None:
    job = load_job_text(JOB.format(x="double", model="", include=""), "lines.yaml", tmp_path)
    made = make_feature_plan(job, ["x", "event_time"])
    params = made.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    assert (params.model, params.output.include, made.bounded) == (None, ("x", "event_time"), True)
    with pytest.raises(InputError, match=r"features must be columns of the job \(x, label, score, "):
        make_feature_plan(job, ["y"])


def test_windows_over_events_have_so_many_shards_and_no_more(folder: Path) -> None:
    text = JOB.format(x="double", model="", include="") + (
        "features: {windows: {all: {by: label, over: 1h, select: {seen: count(*)}}}}\n"
        "runtime: {parallelism: 33}"
    )
    with pytest.raises(InputError, match=r"runtime.parallelism: must be at most 32 .* got 33"):
        make_plan(load_job_text(text, "lines.yaml", folder))
