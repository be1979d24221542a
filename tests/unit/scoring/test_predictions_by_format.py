"""Predictions of each format say what those in JSON say; one that their schema cannot hold is a dead letter.

The adversary is a later version of the model, whose classes are of another type than the schema was made for.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.testing import Outcome
from tests.helpers import models
from udfs.model.manifest import OutputKind
from udfs.records.output_schema import OutputField, OutputSchema
from udfs.scoring.outcomes import DEAD, Outcomes
from udfs.scoring.params import ScoreParams
from udfs.scoring.scorer import Batch, Scorer

JOB = """
job: paid
source:
  topic: payments
  schema: {x: {type: double, required: true}, who: {type: string, pii: hash}}
model: {name: m, registry: models}
predictions:
  format: FORMAT
  include: [x, who]
  explain: 1
  pii_key: 0123456789abcdef
"""
FORMATS = ("avro", "protobuf", "json_schema")
ROWS = pa.table({"x": [0.0, 2.0, 9.0, 1.0]})
KINDS: dict[OutputKind, list[object]] = {
    "binary": [False, True, True, False],
    "multiclass": ["a", "b", "c", "a"],
}


def plan(folder: Path, written: str) -> Plan:
    text = JOB.replace("FORMAT", written).replace("0123456789abcdef", "${KEY}")
    if written != "json":
        text += "  schema_registry: {url: http://localhost:1}\n"
    return make_plan(load_job_text(text, "job.yaml", folder, {"KEY": "0123456789abcdef"}))


def params_of(found: Plan) -> ScoreParams:
    params = found.views.functions["score_record"].params
    assert isinstance(params, ScoreParams)
    return params


def scored(params: ScoreParams) -> Outcomes:
    rows = 40
    raws = [b'{"x":%d,"who":"%d"}' % (n, n) for n in range(rows)]
    times = np.full(rows, 1_767_268_800_000)
    batch = Batch(raws, times, np.zeros(rows, np.bool_), np.zeros(rows, np.int64), np.arange(rows), times)
    scorer = Scorer(params)
    try:
        return scorer.score(batch)
    finally:
        scorer.close()


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_format_says_what_json_says(kind: OutputKind, written: str, tmp_path: Path) -> None:
    model = LogisticRegression()
    models.write(tmp_path / "models", "m", model, ROWS, KINDS[kind], kind)
    found = plan(tmp_path, written)
    texts, raws = (scored(params_of(each)).prediction for each in (plan(tmp_path, "json"), found))
    for text, raw in zip(texts, raws, strict=True):
        said = json.loads(text)
        read = Outcome(raw, None, {}, 0, 0, found.predictions_schema).json
        if isinstance(read["event_time"], datetime):
            read["event_time"] = read["event_time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if isinstance(read["explanation"], str):
            read["explanation"] = json.loads(read["explanation"])
        assert {name: read.get(name) for name in said} == said
        assert read.keys() - said.keys() <= {"score"}


@pytest.mark.parametrize("written", FORMATS)
def test_a_prediction_that_the_schema_cannot_hold_is_a_dead_letter(written: str, tmp_path: Path) -> None:
    model = LogisticRegression()
    models.write(tmp_path / "models", "m", model, ROWS, KINDS["binary"], "binary")
    found = plan(tmp_path, written)
    params = params_of(found)
    assert found.predictions_schema
    text = OutputSchema((OutputField("prediction", "string"),), found.predictions_schema.format)
    output = msgspec.structs.replace(params.output, schema=text)
    outcomes = scored(msgspec.structs.replace(params, output=output))
    assert (outcomes.kind == DEAD).all()
    assert json.loads(outcomes.problem[0]) == {
        "stage": "inference",
        "reason": "model_error",
        "message": "prediction: expected string, as its schema says, got bool",
        "model": "m/1",
    }


def diagnosed(folder: Path, more: str) -> str:
    with pytest.raises(JobFileError) as caught:
        make_plan(
            load_job_text(
                JOB.replace("FORMAT", "protobuf").replace("0123456789abcdef", "${KEY}") + more,
                "job.yaml",
                folder,
                {"KEY": "0123456789abcdef"},
            )
        )
    return str(caught.value)


def test_what_a_schema_of_predictions_needs_is_told(tmp_path: Path) -> None:
    models.write(tmp_path / "models", "m", LogisticRegression(), ROWS, KINDS["binary"], "binary")
    assert (
        "predictions.schema_registry: must be given, unless source.schema_registry is, as the format is"
        in (diagnosed(tmp_path, ""))
    )
    access = "  schema_registry: {url: http://r, strategy: record, record: 'shop-scored'}\n"
    assert "predictions.schema_registry.record: must be a full name, such as shop.Scored" in (
        diagnosed(tmp_path, access)
    )
