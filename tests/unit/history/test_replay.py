"""A replay is the job, less all that acts on the world or is for a job that goes on."""

from __future__ import annotations

from pathlib import Path

from flink_jobs.history.replay import _problem, replayed, with_version
from flink_jobs.history.results import Outputs
from flink_jobs.jobfile import load_job_text
from flink_jobs.kafka import Record
from flink_jobs.plan.topics import all_topics

JOB = """
job: shop
source: {topic: orders, start: latest, schema: {a: double}}
model: {name: fraud, use: champion}
predictions: {include: [a], explain: 2}
drift: {window: 1h}
comparisons: {window: 1h}
runtime: {parallelism: 512, delivery: exactly_once, latency: low}
"""


def test_a_replay_watches_nothing_and_reads_from_the_beginning() -> None:
    job = load_job_text(JOB, "job.yaml", Path())
    assert set(all_topics(job)) > {"drift", "alerts", "comparisons", "shadows"}
    found = replayed(job)
    assert set(all_topics(found)) == {"predictions", "dead_letters", "late"}
    assert (found.source.start, found.predictions.explain) == ("earliest", 0)
    assert found.runtime.parallelism < 512
    assert (found.source.fields, found.features, found.model) == (job.source.fields, job.features, job.model)


def test_another_version_and_other_columns() -> None:
    job = load_job_text(JOB, "job.yaml", Path())
    found = with_version(job, 3, "fraud", ["event_time"])
    assert (found.model.use, found.model.name, found.predictions.include) == (3, "fraud", ("event_time",))
    assert with_version(job, None) == job


def outputs(predictions: int) -> Outputs:
    made = Record(value=b"{}", key=None, headers=[], partition=0, offset=0, timestamp=0)
    return Outputs([made] * predictions, [made], [])


def test_a_run_that_lost_records_is_no_history() -> None:
    """The adversary is a machine so busy that a job ends, in whatever way, without its records."""
    job = load_job_text(JOB, "job.yaml", Path())
    assert _problem(job, outputs(4), 5, complete=True) is None
    lost = _problem(job, outputs(3), 5, complete=True)
    assert lost is not None
    assert lost.startswith("each of the 5 records must have one outcome; there are 4: 3 predictions, 1 dead")


def test_a_run_that_was_cancelled_is_no_history_even_of_windows() -> None:
    job = load_job_text(JOB, "job.yaml", Path())
    windows = job.model_copy(update={"score": "per_window"})
    for each in (job, windows):
        assert "was cancelled" in str(_problem(each, outputs(4), 5, complete=False))
