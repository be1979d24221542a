"""What a job's quality section becomes, which labels it reads, and where it does not fit the job."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.describe import as_text
from flink_jobs.plan.state import judge, state_of
from tests.helpers import models
from udfs.profile.params import SegmentParams
from udfs.quality.params import LabelWait, QualityCount

HOUR = 3_600_000
JOB = """
job: homes
source:
  topic: homes
  schema:
    size: {{type: double, required: true}}
    id: string
    rooms: {{type: long, pii: hash}}
    garden: {{type: boolean, pii: drop}}
    town: {{type: string, values: [bonn, rome]}}
    street: string
model: {{name: {model}}}
{sections}
"""
LABELS = "labels: {topic: sold, on: id, field: price, wait: 30d}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plan")
    inputs = pa.table({"size": [1.0, 2.0, 3.0, 4.0]})
    numbers, flags = [1.0, 2.0, 3.0, 4.0], [False, True, False, True]
    models.write(root / "models", "prices", LinearRegression(), inputs, numbers, "regression")
    models.write(root / "models", "sells", LogisticRegression(), inputs, flags, "binary")
    return root


def plan(folder: Path, sections: str, model: str = "sells") -> Plan:
    return make_plan(load_job_text(JOB.format(model=model, sections=sections), "homes.yaml", folder))


def mistakes(folder: Path, sections: str, model: str = "sells") -> list[str]:
    with pytest.raises(JobFileError) as raised:
        plan(folder, sections, model)
    return [str(found) for found in raised.value.diagnostics]


def test_without_labels_there_are_estimates(folder: Path) -> None:
    made = plan(folder, "quality: {}")
    assert made.quality is not None
    assert (made.quality.count, made.quality.labels) == (QualityCount(HOUR), None)
    assert [table.name for table in made.tables][-2:] == ["alerts", "quality"]
    assert made.views.quality is not None
    assert made.views.quality_labels is None
    assert "labelled" not in made.views.views


def test_labels_for_a_champion_alone(folder: Path) -> None:
    made = plan(folder, f"quality: {{{LABELS}, segments: [town], groups: [garden], max_segments: 1}}")
    assert made.quality is not None
    assert made.quality.labels == LabelWait(30 * 24 * HOUR, 30 * HOUR)
    assert made.quality.count.slices == (
        SegmentParams("town", ("bonn",)),
        SegmentParams("garden", ("false", "true")),
    )
    assert made.views.quality_labels is not None
    assert made.views.labels == ()
    assert "sold" in as_text(made)
    assert [table.name for table in made.tables[:2]] == ["source", "labels"]


def test_the_labels_of_comparisons_are_those_of_quality(folder: Path) -> None:
    """Read and joined once."""
    made = plan(folder, f"quality: {{window: 2h}}\ncomparisons: {{{LABELS}}}")
    assert made.quality is not None
    assert made.quality.labels is not None
    assert made.quality.labels.wait_ms == 30 * 24 * HOUR
    assert len(made.views.labels) == 2
    assert [table.name for table in made.tables].count("labels") == 1
    same = plan(folder, f"quality: {{window: 2h, {LABELS}}}\ncomparisons: {{{LABELS}}}")
    assert same.views == made.views


@pytest.mark.parametrize(
    ("sections", "model", "message"),
    [
        (
            f"quality: {{{LABELS}}}\ncomparisons: {{{LABELS.replace('30d', '3d')}}}",
            "sells",
            "quality.labels: must be left out, or the same as comparisons.labels; got other labels",
        ),
        (
            "quality: {segments: [street]}",
            "sells",
            "quality.segments[0]: must be a boolean column, or one with `values` in source.schema; got",
        ),
        ("quality: {groups: [gardn]}", "sells", "quality.groups[0]: must be a column of the job ("),
        (
            "quality: {quantile: 0.9}",
            "sells",
            "quality.quantile: must be left out for a model whose output is no number; got binary",
        ),
        (
            "quality: {labels: {topic: sold, on: nobody, field: price, wait: 3d}}",
            "prices",
            "quality.labels.on: must be a column of the job",
        ),
    ],
)
def test_what_does_not_fit_is_said_where_it_stands(
    folder: Path, sections: str, model: str, message: str
) -> None:
    found = mistakes(folder, sections, model)
    assert len(found) == 1
    assert message in found[0]


def test_a_savepoint_without_quality_goes_on_with_it(folder: Path) -> None:
    before, after = state_of(plan(folder, "drift: null")), state_of(plan(folder, f"quality: {{{LABELS}}}"))
    found = {verdict.part: verdict.outcome for verdict in judge(before, after)}
    assert found["quality"] == found["records that wait for labels"] == "starts empty"
    assert found["offsets of homes"] == "goes on"
