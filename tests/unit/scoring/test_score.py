"""Each record has exactly one outcome, whatever it holds and whatever the model does with it."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from flink_jobs.plan.expressions import compile_all
from tests.helpers import models
from tests.helpers.examples import examples
from udfs.errors import ModelError
from udfs.features import DerivedParams, FeatureParams
from udfs.model.loading import load_version
from udfs.model.manifest import digest, read_manifest
from udfs.records.contract import Contract, Field
from udfs.records.event_time import EventTimeField
from udfs.records.personal import PrivacyParams
from udfs.records.problems import CONTRACT_REASONS, DECODE_REASONS, FEATURE_REASONS, INFERENCE_REASONS
from udfs.scoring.latency import BUCKETS
from udfs.scoring.params import ModelParams, OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import DEAD, LATE, PREDICTED, Batch, Outcomes, RowBatch, Scorer
from udfs.scoring.version import Version

REASONS = {
    "decode": DECODE_REASONS,
    "contract": CONTRACT_REASONS,
    "feature": FEATURE_REASONS,
    "inference": INFERENCE_REASONS,
}
CONTRACT = Contract(
    (
        Field("amount", "double", required=True, low=0.0),
        Field("weight", "double", required=True),
        Field("city", "string", required=True),
        Field("at", "long", required=True),
    )
)
NOON = 1_767_268_800_000


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> ScoreParams:
    """The model knows the cities a and b, and raises for others."""
    inputs = pa.table({"share": [1.0, 2.0, 3.0], "city": ["a", "b", "a"]})
    encode = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression())
    folder = models.write(
        tmp_path_factory.mktemp("models"), "fraud", model, inputs, ["no", "yes", "no"], "binary"
    )
    ((name, share),) = compile_all({"share": "amount / weight"}, {"amount": "double", "weight": "double"})
    return ScoreParams(
        SourceParams("payments", CONTRACT, 1_000, EventTimeField("at", "ms")),
        FeatureParams((), (DerivedParams(name, share.tree),)),
        ModelParams(
            str(folder),
            digest(read_manifest(folder)),
            1,
            (("share", "share", "double"), ("city", "city", "string")),
        ),
        OutputParams(("city",)),
    )


@pytest.fixture(scope="module")
def scorer(params: ScoreParams) -> Scorer:
    return Scorer(params)


def batch(raws: list[bytes | None], late: list[bool] | None = None, times: list[int] | None = None) -> Batch:
    rows = len(raws)
    return Batch(
        raws,
        np.array(times or [NOON] * rows, dtype=np.int64),
        np.array(late or [False] * rows, dtype=np.bool_),
        np.full(rows, 3),
        np.arange(rows),
        np.full(rows, NOON),
    )


def payment(**changes: Any) -> bytes:
    return json.dumps({"amount": 1.0, "weight": 2.0, "city": "a", "at": NOON} | changes).encode()


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())
)
RECORDS = st.one_of(
    st.none(),
    st.binary(max_size=30),
    st.builds(payment),
    st.builds(payment, city=st.sampled_from(["a", "b", "c"]), weight=st.sampled_from([0.0, 1.0, 1e-320])),
    st.dictionaries(st.sampled_from(["amount", "weight", "city", "at", "x"]), VALUES).map(
        lambda d: payment(**d)
    ),
    st.builds(lambda size: payment(note="x" * size), st.integers(800, 1_100)),
)
ROWS = st.lists(st.tuples(RECORDS, st.booleans(), st.sampled_from([NOON, 0, -1, 1])), min_size=1, max_size=50)


def unpack(rows: list[tuple[bytes | None, bool, int]]) -> Batch:
    raws, late, times = zip(*rows, strict=True)
    return batch(list(raws), list(late), list(times))


def as_tuples(outcomes: Outcomes) -> list[tuple[int, Any, Any]]:
    return list(
        zip(outcomes.kind.tolist(), outcomes.prediction.tolist(), outcomes.problem.tolist(), strict=True)
    )


@given(rows=ROWS)
def test_each_record_has_exactly_one_outcome(
    scorer: Scorer, rows: list[tuple[bytes | None, bool, int]]
) -> None:
    before = Counter(scorer.counts)
    outcomes = as_tuples(scorer.score(unpack(rows)))
    assert len(outcomes) == len(rows)
    for i, ((_, late, time), (kind, prediction, problem)) in enumerate(zip(rows, outcomes, strict=True)):
        assert (kind == LATE) == late
        assert (prediction is not None) == (kind == PREDICTED)
        assert (problem is not None) == (kind == DEAD)
        if kind == PREDICTED:
            made = json.loads(prediction)
            assert (made["partition"], made["offset"], made["prediction"] in ("no", "yes")) == (3, i, True)
            assert time > 0
        if kind == DEAD:
            why = json.loads(problem)
            assert why["reason"] in REASONS[why["stage"]]
    counted = scorer.counts - before
    assert counted["predicted"] + counted["dead"] + counted["late"] == len(rows)
    assert counted["dead"] == sum(counted[f"dead_{stage}"] for stage in REASONS)


@settings(max_examples=examples(30))
@given(rows=ROWS)
def test_outcomes_do_not_depend_on_the_batch(
    scorer: Scorer, rows: list[tuple[bytes | None, bool, int]]
) -> None:
    together = as_tuples(scorer.score(unpack(rows)))
    for row, (kind, prediction, problem) in zip(rows, together, strict=True):
        [(alone, predicted, why)] = as_tuples(scorer.score(unpack([row])))
        assert (alone, why) == (kind, problem)
        if prediction is not None:
            one, other = json.loads(prediction), json.loads(predicted)
            assert one.pop("score") == pytest.approx(other.pop("score"), rel=1e-12)
            assert one | {"offset": 0} == other


@settings(max_examples=examples(40))
@given(cities=st.lists(st.sampled_from("aaaaaaaabbbbcd"), min_size=1, max_size=300))
def test_a_failing_model_loses_exactly_the_rows_that_it_fails_on(scorer: Scorer, cities: list[str]) -> None:
    outcomes = scorer.score(batch([payment(city=city) for city in cities]))
    assert outcomes.kind.tolist() == [PREDICTED if city in "ab" else DEAD for city in cities]
    for city, problem in zip(cities, outcomes.problem, strict=True):
        if city not in "ab":
            why = json.loads(problem)
            assert (why["stage"], why["reason"], why["model"]) == ("inference", "model_error", "fraud/1")
            assert f"unknown categories ['{city}']" in why["message"]
    assert [json.loads(line)["city"] for line in outcomes.prediction if line] == [
        c for c in cities if c in "ab"
    ]


@settings(max_examples=examples(40))
@given(rows=st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from([0.0, 2.0])), max_size=60))
def test_rows_of_windows_are_predicted_or_dead_with_their_columns(
    scorer: Scorer, rows: list[tuple[str, float | None]]
) -> None:
    columns = {
        "city": pa.array([city for city, _ in rows], pa.string()),
        "amount": pa.array([1.0] * len(rows), pa.float64()),
        "weight": pa.array([weight for _, weight in rows], pa.float64()),
        "_partition": pa.array([0] * len(rows)),
        "_offset": pa.array([0] * len(rows)),
    }
    outcomes = as_tuples(scorer.score_rows(RowBatch(np.full(len(rows), NOON), columns)))
    assert len(outcomes) == len(rows)
    for (city, weight), (kind, line, problem) in zip(rows, outcomes, strict=True):
        row = json.loads(line)
        # LogisticRegression raises for a null too
        assert kind == (PREDICTED if city in "ab" and weight else DEAD)
        assert row["city"] == city
        if kind == DEAD:
            assert row["weight"] == weight
            assert json.loads(problem)["stage"] == ("feature" if weight == 0 else "inference")


def test_nothing_is_nothing(scorer: Scorer) -> None:
    assert as_tuples(scorer.score(batch([]))) == []
    assert as_tuples(scorer.score(batch([None, payment()], [True, True]))) == [(LATE, None, None)] * 2


def test_a_model_that_is_not_the_planned_one_is_refused(params: ScoreParams) -> None:
    assert params.model is not None
    other = ModelParams(params.model.folder, "sha256:00", 1, params.model.inputs)
    with pytest.raises(ModelError, match=r"must have the digest sha256:00; got sha256:"):
        Scorer(ScoreParams(params.source, params.features, other, params.output))


def test_hashed_columns_are_stable_keyed_and_keep_nulls(params: ScoreParams) -> None:
    def city(key: bytes, value: str) -> Any:
        privacy = PrivacyParams({"city": "hash"}, hash_key=key)
        source, output = structs.replace(params.source, privacy=privacy), OutputParams(("city",))
        outcomes = Scorer(ScoreParams(source, params.features, params.model, output)).score(
            batch([payment(city=value)])
        )
        return json.loads(outcomes.prediction[0])["city"]

    assert city(b"k1", "a") == city(b"k1", "a")
    assert len({city(b"k1", "a"), city(b"k1", "b"), city(b"k2", "a")}) == 3
    assert len(city(b"k1", "a")) == len("d112e6dc:") + 32


def test_without_a_model_the_features_are_the_result(params: ScoreParams) -> None:
    scorer = Scorer(structs.replace(params, model=None, output=OutputParams(("share", "city", "at"))))
    outcomes = scorer.score(batch([payment(amount=0.1, weight=0.3), payment(weight=0.0), payment(city="?")]))
    assert outcomes.kind.tolist() == [PREDICTED, DEAD, PREDICTED]
    assert json.loads(outcomes.prediction[0]) == {
        "features": {"share": 0.1 / 0.3, "city": "a", "at": NOON},
        "partition": 3,
        "offset": 0,
        "event_time": "2026-01-01T12:00:00.000Z",
        "topic": "payments",
    }
    assert {name: count for name, count in scorer.counts.items() if name not in BUCKETS} == {
        "predicted": 2,
        "dead": 1,
        "dead_feature": 1,
        "late": 0,
        "batches": 1,
        "lookup_misses": 0,
        "lookup_reload_failures": 0,
        "model_ms": 0,
        "model_loads": 0,
        "model_load_ms": 0,
    }


def test_a_prediction_that_is_too_large_is_none_and_its_neighbours_are(params: ScoreParams) -> None:
    """Shares have up to 17 digits; without a limit one sees how large each prediction is."""
    batched: list[bytes | None] = [
        payment(amount=x, weight=w) for x, w in ((1.0, 4.0), (0.1, 0.3), (2.0, 4.0))
    ]
    free = Scorer(structs.replace(params, output=OutputParams(("share",)))).score(batch(batched))
    sizes = [len(line) for line in free.prediction]
    limit = min(sizes)
    output = OutputParams(("share",), max_bytes=limit)
    outcomes = Scorer(structs.replace(params, output=output)).score(batch(batched))
    dead = [size > limit for size in sizes]
    assert 0 < sum(dead) < len(sizes)
    assert [kind == DEAD for kind in outcomes.kind.tolist()] == dead
    kept = outcomes.kind == PREDICTED
    assert outcomes.prediction[kept].tolist() == free.prediction[kept].tolist()
    why = json.loads(outcomes.problem[dead.index(True)])
    assert (why["stage"], why["reason"], why["model"]) == ("inference", "too_large", "fraud/1")


def test_predictions_carry_what_moved_their_score(params: ScoreParams) -> None:
    """The cities decide: one share is as good as the other in the rows that the model was fitted to."""
    scorer = Scorer(structs.replace(params, output=OutputParams(("city",), explain=1)))
    outcomes = scorer.score(batch([payment(amount=9.0), payment(city="?"), payment(amount=0.1, city="b")]))
    assert outcomes.kind.tolist() == [PREDICTED, DEAD, PREDICTED]
    signs = []
    for line in outcomes.prediction[[0, 2]]:
        made = json.loads(line)
        assert list(made)[:4] == ["city", "prediction", "score", "explanation"]
        explanation = made["explanation"]
        assert list(explanation["contributions"]) == ["city"]
        signs.append(explanation["contributions"]["city"] > 0)
        raw = explanation["base"] + explanation["contributions"]["city"] + explanation["rest"]
        assert 1 / (1 + np.exp(-raw)) == pytest.approx(made["score"], abs=1e-9)
    assert signs == [False, True]
    assert scorer.counts["explain_failures"] == 0


@pytest.mark.parametrize("at", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_a_long_feeds_a_double_input_as_the_nearest_double(tmp_path: Path, at: int) -> None:
    inputs = pa.table({"at": [1.0, 2.0, 3.0]})
    model = LogisticRegression()
    folder = models.write(tmp_path, "late", model, inputs, ["no", "yes", "no"], "binary")
    version = Version(load_version(folder), (("at", "at", "double"),), 0.5)
    made = version.inputs_of(pa.table({"at": pa.array([at, None], pa.int64())}))
    assert made["at"].to_pylist() == [float(Fraction(at)), None]
