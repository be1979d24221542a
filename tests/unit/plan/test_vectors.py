"""Vectors from the job file to the scores of models, held to scikit-learn on the same matrix.

The adversary is a producer whose vectors are a number short, hold null, or numbers that are none.
"""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from flink_jobs.errors import JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_feature_plan, make_plan
from flink_jobs.plan.describe import as_data, as_text
from flink_jobs.plan.personal import personal_columns
from flink_jobs.registry import Registry
from flink_jobs.registry.onnx_export import export_onnx
from tests.helpers.examples import examples
from udfs.model.manifest import Input, Output, Signature
from udfs.profile.profile import reference_profile
from udfs.records.vectors import part_names
from udfs.scoring.checker import RecordChecker
from udfs.scoring.outcomes import DEAD
from udfs.scoring.params import PackParams, ScoreParams
from udfs.scoring.recheck import checked_columns
from udfs.scoring.scorer import Batch, Scorer

SIZE = 5
NAMES = [*part_names("emb", SIZE), "age"]
JOB = """
job: search
source:
  topic: search
  schema:
    age: {type: double, required: true}
    emb: {type: "vector<float, 5>", required: true}
features: {derive: {first: "emb[1] + MAX(emb)"}}
model: {name: m, registry: models, use: VERSION}
"""
GENERATOR = np.random.default_rng(14)
ROWS = GENERATOR.normal(size=(60, SIZE + 1))
TARGETS = (ROWS @ np.arange(SIZE + 1) > 0).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is an estimator that was fitted on a matrix, version 2 the same as an ONNX graph."""
    base = tmp_path_factory.mktemp("vectors")
    registry = Registry(base / "models")
    rows = pa.table({name: ROWS[:, place] for place, name in enumerate(NAMES)})
    registry.write_version(
        "m",
        model=fitted(),
        signature=Signature(
            inputs=tuple(Input(name=name, type="double", nullable=False) for name in NAMES),
            output=Output(kind="binary", classes=(False, True)),
        ),
        golden_inputs=rows,
        profile=reference_profile(rows),
        metrics={},
        training={},
    )
    registry.promote("m", 1)
    export_onnx(registry, "m", 1)
    return base


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, TARGETS)


def plan(folder: Path, text: str = JOB, version: int = 1) -> Plan:
    return make_plan(load_job_text(text.replace("VERSION", str(version)), "job.yaml", folder))


def scored(made: Plan, records: list[Any]) -> list[Any]:
    (params,) = (
        each.params for each in made.views.functions.values() if isinstance(each.params, ScoreParams)
    )
    scorer = Scorer(pickle.loads(pickle.dumps(params)))
    outcomes = scorer.score(batch_of(records))
    scorer.close()
    return [
        json.loads(outcomes.problem[row] if outcomes.kind[row] == DEAD else outcomes.prediction[row])
        for row in range(len(records))
    ]


def batch_of(records: list[Any]) -> Batch:
    rows, times = len(records), np.full(len(records), 1_767_268_800_000)
    raws: list[bytes | None] = [json.dumps(record).encode() for record in records]
    return Batch(raws, times, np.zeros(rows, np.bool_), np.zeros(rows, np.int64), np.arange(rows), times)


@pytest.mark.parametrize(("version", "tolerance"), [(1, 1e-12), (2, 1e-6)])
def test_a_vector_fills_as_many_inputs_of_a_model(folder: Path, version: int, tolerance: float) -> None:
    made = plan(folder, JOB.replace("model:", "predictions: {include: [first]}\nmodel:"), version)
    matrix = GENERATOR.normal(size=(40, SIZE + 1))
    records = [{"emb": row[:SIZE].tolist(), "age": row[SIZE]} for row in matrix]
    found = scored(made, records)
    expected = fitted().predict_proba(matrix)[:, 1]
    assert [each["score"] for each in found] == pytest.approx(expected.tolist(), abs=tolerance)
    firsts = (matrix[:, 0] + matrix[:, :SIZE].max(axis=1)).tolist()
    assert [each["first"] for each in found] == pytest.approx(firsts)


@pytest.mark.parametrize(
    ("emb", "reason", "message"),
    [
        ([1, 2, 3, 4], "wrong_length", "$.emb: expected at least 5 elements, got fewer"),
        ([1] * 6, "wrong_length", "$.emb: expected at most 5 elements, got more"),
        ([1, 2, None, 4, 5], "null", "$.emb[2]: required double is null"),
        ([1, 2, 3, "4", 5], "wrong_type", "$.emb[3]: expected double, got string"),
        ([1, 2, 3, 4, 10**400], "not_finite", "$.emb[4]: expected a finite number, got NaN or infinity"),
        ([1, 2, 3, 4, float("nan")], "not_finite", "$.emb[4]: got NaN"),
        ([1, 2, 3, 4, [5]], "wrong_type", "$.emb[4]: expected double, got array"),
        ({"0": 1}, "wrong_type", "$.emb: expected a list, got object"),
        (None, "null", "$.emb: required list is null"),
    ],
)
def test_a_wrong_vector_is_told_with_its_place_and_spares_its_neighbours(
    folder: Path, emb: Any, reason: str, message: str
) -> None:
    good = {"emb": [1, 2, 3, 4, 5.5], "age": 1}
    before, found, after = scored(plan(folder), [good, good | {"emb": emb}, good])
    assert before["score"] == after["score"]
    assert (found["stage"], found["reason"], found["message"]) == ("contract", reason, message)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
VECTORS = (
    st.none() | st.lists(NUMBERS, min_size=SIZE, max_size=SIZE) | st.lists(NUMBERS | st.none(), max_size=6)
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(VECTORS, min_size=1, max_size=6))
def test_columns_are_numpys_alone_and_in_any_batch(vectors: list[Any]) -> None:
    text = (
        JOB.replace("VERSION", "1")
        .replace(", required: true}\nf", "}\nf")
        .replace("emb[1] + MAX(emb)", "1 + age")
    )
    made = make_feature_plan(load_job_text(text, "job.yaml", Path("/")), ["emb_0"])
    (params,) = (
        each.params for each in made.views.functions.values() if isinstance(each.params, ScoreParams)
    )
    checker = RecordChecker(params.source)

    def rows(given_vectors: list[Any]) -> list[Any]:
        batch = batch_of([{"age": 1, "emb": vector} for vector in given_vectors])
        found = checker.check(batch.raws, batch.event_time, batch.late)
        assert found.table.schema.names == ["age", *part_names("emb", SIZE)]
        good = dict(zip(found.rows.tolist(), found.table.to_pylist(), strict=True))
        return [good.get(row) for row in range(len(given_vectors))]

    together = rows(vectors)
    assert together == [row for vector in vectors for row in rows([vector])]
    for found, vector in zip(together, vectors, strict=True):
        if vector is None:
            assert [*found.values()][1:] == [None] * SIZE
        elif len(vector) != SIZE or None in vector:
            assert found is None
        else:
            assert [*found.values()][1:] == np.array(vector, dtype=np.float64).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"vector<float, 5>"', "vector"), "source.schema.emb.size: must be given, as the type is vector"),
        (
            ('"vector<float, 5>"', '"vector<int, 5>"'),
            "must be vector<float, 384>, or of another size; got 'vector<int, 5>'",
        ),
        (('"vector<float, 5>"', '"vector<float, 0>"'), "must be an integer from 1 to 4096"),
        (
            ('"vector<float, 5>"', '"vector<float, 5>", element: long'),
            "source.schema.emb.element: must be double",
        ),
        (
            ('"vector<float, 5>"', "list<double>, size: 5"),
            "source.schema.emb.size: must be left out, as the type is list",
        ),
        (
            ("    age:", "    emb_3: double\n    age:"),
            "source.schema.emb: must be a vector whose elements have names of their own",
        ),
        ((", required: true}\nf", "}\nf"), "got emb without required: true"),
        (
            ('"vector<float, 5>"', '"vector<float, 4>"'),
            "model.inputs.emb_4: must be a column that feeds the input emb_4",
        ),
        (
            ("model:", "drift: {columns: [emb_1]}\nmodel:"),
            "not personal data or an element of a vector (age)",
        ),
        (("model:", "predictions: {include: [emb]}\nmodel:"), "predictions.include[0]: must be a column"),
    ],
)
def test_wrong_vectors_are_told_before_anything_starts(
    folder: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in JOB
    with pytest.raises(JobFileError) as caught:
        plan(folder, JOB.replace(*change))
    assert message in str(caught.value)


def test_elements_are_not_watched_for_drift(folder: Path) -> None:
    made = plan(folder, JOB.replace("model:", "drift: {}\nmodel:"))
    assert made.drift is not None
    assert [name for name, _ in made.drift.collect.columns] == ["age"]


def test_personal_data_of_a_vector_is_in_each_element(folder: Path) -> None:
    text = JOB.replace("}\nfeatures", ", pii: mask}\nfeatures").replace("VERSION", "1")
    job = load_job_text(text, "job.yaml", folder)
    labels = personal_columns(job, make_feature_plan(job, ["emb_0"]).columns)
    assert {*labels} == {*part_names("emb", SIZE), "first"}


def test_windows_keep_the_elements(folder: Path) -> None:
    windows = "features: {windows: {w: {by: user, over: 1h, select: {n: count(*)}}}, "
    text = JOB.replace("features: {", windows).replace("    age:", "    user: string\n    age:")
    made = plan(folder, text)
    packs = [each.params for each in made.views.functions.values() if isinstance(each.params, PackParams)]
    columns = [name for name, _ in checked_columns(packs[0])]
    assert columns == ["user", "age", *part_names("emb", SIZE), "emb[1]", "MAX(emb)"]
    batch = batch_of([{"user": "u", "age": 1, "emb": [1, 2, 3, 4, 5]}, {"age": 1}])
    outcomes, table = RecordChecker(packs[0].source).extract(batch.raws, batch.event_time, batch.late)
    assert table.column_names == columns
    assert [*table.to_pylist()[0].values()] == ["u", 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 5.0]
    assert outcomes.kind[1] == DEAD


def test_a_wide_vector_costs_no_more_than_reading_it() -> None:
    """300 vectors of 384 numbers: that they become columns takes less than the reading of their text."""
    text = JOB.replace("VERSION", "1").replace("float, 5", "float, 384")
    made = make_feature_plan(load_job_text(text, "job.yaml", Path("/")), ["first"])
    (params,) = (
        each.params for each in made.views.functions.values() if isinstance(each.params, ScoreParams)
    )
    checker = RecordChecker(params.source)
    batch = batch_of([{"age": 1, "emb": row.tolist()} for row in GENERATOR.normal(size=(300, 384))])

    def took(work: Any) -> float:
        times = []
        for _ in range(3):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        return min(times)

    whole = took(lambda: checker.check(batch.raws, batch.event_time, batch.late))
    reading = took(lambda: [json.loads(raw or b"") for raw in batch.raws])
    assert whole < 5 * reading


def test_the_plan_shows_rules(folder: Path) -> None:
    made = plan(folder, JOB.replace("features:", '  rules: {positive: "age > 0"}\nfeatures:'))
    assert as_data(made)["rules"] == {"positive": "age > 0"}
    assert "Rules of records\n  positive  age > 0\n" in as_text(made)
    assert "Rules of records" not in as_text(plan(folder))
