"""Predictions in Avro: Confluent's own deserializer reads them, by a schema in a real registry that grows.

The adversaries are a job file whose columns change after consumers have begun to read, and a registry in
which jobs may register nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flink_jobs.errors import InputError, WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.plan.window_stages import WindowStages
from flink_jobs.reports.predictions import prediction_reader
from flink_jobs.run.prediction_schema import with_registered_schema
from tests.helpers.samples import write_model
from tests.registry.conftest import Producer, Registry
from udfs.records.registry_params import RegistryParams
from udfs.records.schema_registry import SchemaRegistry
from udfs.scoring.params import ScoreParams
from udfs.scoring.scorer import Batch, Scorer

NOW = 1_767_225_600_000
JOB = """
job: paid
source:
  topic: payments
  schema: {id: {type: long, required: true}, city: TYPE, amount: {type: double, required: true}}
features: FEATURES
model: {name: m, registry: models, inputs: {x: amount}}
predictions:
  format: avro
  include: [INCLUDE]
  schema_registry: {url: "URL"}
dead_letters: {topic: dead}
runtime: {checkpoint: {interval: 1s}}
"""


def job_text(url: str, include: str = "id, city", kind: str = "string", features: str = "{}") -> str:
    text = JOB.replace("URL", url).replace("INCLUDE", include).replace("TYPE", kind)
    return text.replace("FEATURES", features)


def planned(text: str, folder: Path) -> Plan:
    return make_plan(load_job_text(text, "job.yaml", folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "m", "x")
    return tmp_path


def test_confluents_deserializer_reads_what_a_worker_writes(
    registry: Registry, producer: Producer, folder: Path
) -> None:
    plan = with_registered_schema(planned(job_text(registry.url).replace("job: paid", "job: read"), folder))
    params = plan.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    raws = [b'{"id":%d,"amount":%d,"city":"Ur"}' % (n, n - 5) for n in range(10)]
    times, offsets = NOW + np.arange(10), np.arange(10)
    scorer = Scorer(params)
    outcomes = scorer.score(Batch(raws, times, np.zeros(10, np.bool_), offsets * 0, offsets, times))
    scorer.close()
    for number, each in enumerate(producer.read("read.predictions", outcomes.prediction.tolist())):
        assert (each["id"], each["city"], each["offset"]) == (number, "Ur", number)
        assert each["prediction"] == (each["score"] >= 0.5)
        assert each["event_time"].startswith("2026-01-01 00:00:00")
        assert (each["model"], each["version"], each["release"]) == ("m", 1, 1)
    told = [prediction_reader(plan.job)(value) for value in outcomes.prediction.tolist()]
    assert [(each.origin, each.time) for each in told if each] == [
        (("payments", 0, number), NOW + number) for number in range(10)
    ]


def test_the_schema_grows_with_the_job_and_what_breaks_readers_is_refused(
    registry: Registry, folder: Path
) -> None:
    client = SchemaRegistry(RegistryParams(registry.url))

    def registered(text: str) -> int:
        plan = with_registered_schema(planned(text, folder))
        return plan.views.functions["score_record"].params.output.avro.id  # type: ignore[union-attr]

    first = registered(job_text(registry.url, "id"))
    assert registered(job_text(registry.url, "id")) == first, "a start registers nothing that is there"
    registry.put("/config/paid.predictions-value", {"compatibility": "FULL"})
    second = registered(job_text(registry.url, "id, city"))
    assert second != first
    assert client.latest("paid.predictions-value").version == 2
    with pytest.raises(InputError, match=r"the registry refuses the schema of 'paid\.predictions-value'"):
        registered(job_text(registry.url, "id, city", "long"))
    kept = "  register_schema: false\n  include:"
    assert registered(job_text(registry.url, "id, city").replace("  include:", kept)) == second
    with pytest.raises(
        InputError, match=r"must have their schema, as register_schema is false; it is {.*amount"
    ):
        registered(job_text(registry.url, "id, amount").replace("  include:", kept))
    with pytest.raises(WorkError, match="the registry does not answer"):
        registered(job_text("http://127.0.0.1:9", "id"))


def test_windows_are_told_the_id_too(registry: Registry, folder: Path) -> None:
    features = "{windows: {w: {by: city, over: 1h, select: {n: count(*)}}}}"
    text = job_text(registry.url, "id", features=features).replace("job: paid", "job: windowed")
    plan = with_registered_schema(planned(text, folder))
    (stage,) = (each for each in plan.views.views.values() if isinstance(each, WindowStages))
    assert stage.score.output.avro
    assert stage.score.output.avro.id > 0
