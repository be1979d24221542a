"""Predictions in Avro say what those in JSON say; one that their schema cannot hold is a dead letter.

The adversary is a later version of the model, whose classes are of another type than the schema was made for.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from tests.helpers import models
from udfs.model.manifest import OutputKind
from udfs.records.avro_encode import AvroField, AvroOutput
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
ROWS = pa.table({"x": [0.0, 2.0, 9.0, 1.0]})
KINDS: dict[OutputKind, list[object]] = {
    "binary": [False, True, True, False],
    "multiclass": ["a", "b", "c", "a"],
}


def plan(folder: Path, written: str) -> Plan:
    text = JOB.replace("FORMAT", written).replace("0123456789abcdef", "${KEY}")
    if written == "avro":
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


@pytest.mark.parametrize("kind", KINDS)
def test_avro_says_what_json_says(kind: OutputKind, tmp_path: Path) -> None:
    model = LogisticRegression()
    models.write(tmp_path / "models", "m", model, ROWS, KINDS[kind], kind)
    avro = plan(tmp_path, "avro")
    assert avro.predictions_schema
    schema = json.loads(avro.predictions_schema.schema())
    texts, raws = (scored(params_of(each)).prediction for each in (plan(tmp_path, "json"), avro))
    for text, raw in zip(texts, raws, strict=True):
        stream = io.BytesIO(raw[5:])
        read: Any = fastavro.schemaless_reader(stream, schema, None)
        said = json.loads(text)
        assert not stream.read()
        read["event_time"] = read["event_time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        read["explanation"] = json.loads(read["explanation"])
        assert {name: value for name, value in read.items() if name in said} == said
        assert read.keys() - said.keys() <= {"score"}


def test_a_prediction_that_the_schema_cannot_hold_is_a_dead_letter(tmp_path: Path) -> None:
    model = LogisticRegression()
    models.write(tmp_path / "models", "m", model, ROWS, KINDS["binary"], "binary")
    params = params_of(plan(tmp_path, "avro"))
    text = AvroOutput((AvroField("prediction", "string"),))
    output = msgspec.structs.replace(params.output, avro=text)
    outcomes = scored(msgspec.structs.replace(params, output=output))
    assert (outcomes.kind == DEAD).all()
    assert json.loads(outcomes.problem[0]) == {
        "stage": "inference",
        "reason": "model_error",
        "message": "prediction: expected string, as its schema says, got bool",
        "model": "m/1",
    }
