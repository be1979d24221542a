"""Predictions with a schema: Confluent's own deserializers read them, by one in a real registry that grows.

The adversaries are a job file whose columns change after consumers have begun to read, and a registry in
which jobs may register nothing.
"""

from __future__ import annotations

import json
import re
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

KINDS = {"avro": "AVRO", "protobuf": "PROTOBUF", "json_schema": "JSON"}
NOW = 1_767_225_600_000
JOB = """
job: paid
source:
  topic: payments
  schema: {id: {type: long, required: true}, city: TYPE, amount: {type: double, required: true}}
features: FEATURES
model: {name: m, registry: models, inputs: {x: amount}}
predictions:
  format: FORMAT
  include: [INCLUDE]
  schema_registry: {url: "URL"}
dead_letters: {topic: dead}
runtime: {checkpoint: {interval: 1s}}
"""


def job_text(
    url: str, include: str = "id, city", kind: str = "string", features: str = "{}", written: str = "avro"
) -> str:
    text = (
        JOB.replace("FORMAT", written).replace("URL", url).replace("INCLUDE", include).replace("TYPE", kind)
    )
    return text.replace("FEATURES", features)


def planned(text: str, folder: Path) -> Plan:
    return make_plan(load_job_text(text, "job.yaml", folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", "m", "x")
    return tmp_path


@pytest.mark.parametrize("written", KINDS)
def test_confluents_deserializer_reads_what_a_worker_writes(
    written: str, registry: Registry, producer: Producer, folder: Path
) -> None:
    kind = KINDS[written]
    text = job_text(registry.url, written=written).replace("job: paid", f"job: read-{kind.lower()}")
    plan = with_registered_schema(planned(text, folder))
    params = plan.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    raws = [b'{"id":%d,"amount":%d,"city":"Ur"}' % (n, n - 5) for n in range(10)]
    times, offsets = NOW + np.arange(10), np.arange(10)
    scorer = Scorer(params)
    outcomes = scorer.score(Batch(raws, times, np.zeros(10, np.bool_), offsets * 0, offsets, times))
    scorer.close()
    topic = f"read-{kind.lower()}.predictions"
    for number, each in enumerate(producer.read(topic, outcomes.prediction.tolist(), kind)):
        # Protobuf's own JSON has longs as text.
        assert (int(each["id"]), each["city"], int(each["offset"])) == (number, "Ur", number)
        assert each["prediction"] == (each["score"] >= 0.5)
        assert each["event_time"].replace("T", " ").startswith("2026-01-01 00:00:00")
        assert (each["model"], int(each["version"]), int(each["release"])) == ("m", 1, 1)
    told = [prediction_reader(plan.job)(value) for value in outcomes.prediction.tolist()]
    assert [(each.origin, each.time, each.version) for each in told if each] == [
        (("payments", 0, number), NOW + number, 1) for number in range(10)
    ]


@pytest.mark.parametrize("written", KINDS)
def test_the_schema_grows_with_the_job_and_what_breaks_readers_is_refused(
    written: str, registry: Registry, folder: Path
) -> None:
    client, job = SchemaRegistry(RegistryParams(registry.url)), f"grows-{KINDS[written].lower()}"
    subject = f"{job}.predictions-value"

    def registered(include: str, kind: str = "string", keep: bool = False, url: str = registry.url) -> int:
        text = job_text(url, include, kind, written=written).replace("job: paid", f"job: {job}")
        text = text.replace("  include:", "  register_schema: false\n  include:") if keep else text
        plan = with_registered_schema(planned(text, folder))
        return plan.views.functions["score_record"].params.output.schema.id  # type: ignore[union-attr]

    first = registered("id")
    assert registered("id") == first, "a start registers nothing that is there"
    # An object of a closed JSON Schema that has a field more is none of the old schema's.
    level = "BACKWARD" if written == "json_schema" else "FULL"
    registry.put(f"/config/{subject}", {"compatibility": level})
    second = registered("id, city")
    assert second != first
    assert client.latest(subject).version == 2
    with pytest.raises(InputError, match=rf"the registry refuses the schema of '{re.escape(subject)}'"):
        registered("id, city", "long")
    if written != "json_schema":
        assert registered("id") == first, "a column may go, too"
    assert registered("id, city", keep=True) == second
    with pytest.raises(
        InputError, match=r"(?s)must have their schema, as register_schema is false; .*amount"
    ):
        registered("id, amount", keep=True)
    with pytest.raises(WorkError, match="the registry does not answer"):
        registered("id", url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("keys", "subject"),
    [
        ("strategy: record, record: shop.Scored", "shop.Scored"),
        ("strategy: topic_record, record: shop.Scored", "named.predictions-shop.Scored"),
    ],
)
def test_the_subject_is_called_as_the_strategy_says(
    keys: str, subject: str, registry: Registry, folder: Path
) -> None:
    text = job_text(registry.url).replace("job: paid", "job: named")
    head, _, tail = text.rpartition('"}')
    with_registered_schema(planned(f'{head}", {keys}}}{tail}', folder))
    found = SchemaRegistry(RegistryParams(registry.url)).latest(subject)
    assert {"namespace": "shop", "name": "Scored"}.items() <= json.loads(found.text).items()


def test_windows_are_told_the_id_too(registry: Registry, folder: Path) -> None:
    features = "{windows: {w: {by: city, over: 1h, select: {n: count(*)}}}}"
    text = job_text(registry.url, "id", features=features).replace("job: paid", "job: windowed")
    plan = with_registered_schema(planned(text, folder))
    (stage,) = (each for each in plan.views.views.values() if isinstance(each, WindowStages))
    assert stage.score.output.schema
    assert stage.score.output.schema.id > 0
