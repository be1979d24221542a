"""A replay is the job, less all that acts on the world or is for a job that goes on."""

from __future__ import annotations

from pathlib import Path

from flink_jobs.history.replay import replayed, with_version
from flink_jobs.jobfile import load_job_text
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
