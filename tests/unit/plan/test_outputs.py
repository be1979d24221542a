"""The table of outputs agrees with the sections of a job file and with the results of the harness."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan.outputs import OUTPUTS, outputs_of
from flink_jobs.plan.topics import all_topics, output_topics
from flink_jobs.spec import OPTIONAL_SUFFIXES, OUTPUT_SUFFIXES, JobSpec
from flink_jobs.testing import Results

JOB = """
job: j
source: {topic: t, schema: {a: {type: string, required: true}}}
model: {name: m}
"""
ALWAYS = ["predictions", "dead_letters", "late"]


def job(sections: str = "") -> JobSpec:
    return load_job_text(JOB + sections, "job.yaml", Path())


def test_each_section_with_an_output_topic_has_an_entry() -> None:
    names = [output.name for output in OUTPUTS]
    assert sorted(names) == sorted({**OUTPUT_SUFFIXES, **OPTIONAL_SUFFIXES})
    assert set(names) < set(JobSpec.model_fields)


def test_the_harness_reads_each_output() -> None:
    assert {field.name for field in fields(Results)} == {output.name for output in OUTPUTS} | {"job", "read"}


@pytest.mark.parametrize(
    ("sections", "others"),
    [
        ("", []),
        ("drift: {}", ["drift", "alerts"]),
        ("comparisons: {}", ["shadows", "alerts", "comparisons"]),
        ("shadows: {}", ["shadows", "alerts", "comparisons"]),
        ("quality: {}", ["alerts", "quality"]),
        ("drift: {}\nshadows: {}", ["shadows", "drift", "alerts", "comparisons"]),
    ],
)
def test_a_job_writes_what_its_sections_ask_for(sections: str, others: list[str]) -> None:
    assert list(all_topics(job(sections))) == [*ALWAYS, *others]
    assert list(output_topics(job(sections))) == ALWAYS


def test_alerts_need_something_that_fires_them() -> None:
    quiet = job("drift: {}").model_copy(update={"drift": None})
    assert quiet.alerts is not None
    assert [output.name for output in outputs_of(quiet)] == ALWAYS


def test_reports_are_those_without_a_query() -> None:
    assert [output.name for output in OUTPUTS if output.is_report] == [
        *("drift", "alerts", "comparisons", "quality")
    ]
    assert [output.name for output in OUTPUTS if output.whole_records] == ["dead_letters", "late"]
