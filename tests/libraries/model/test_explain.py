"""One contract over all explainers: contributions add up to the raw score, and say which input it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from flink_jobs.errors import InputError
from flink_jobs.plan.model import check_explainable
from flink_jobs.registry.serialize import serialized
from tests.helpers import models
from tests.helpers.examples import examples
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.contract import Model
from udfs.model.explain import Explainer, explainer
from udfs.model.explain.base import Contributions
from udfs.model.explain.column import Explaining, largest
from udfs.model.explain.origins import origins
from udfs.model.manifest import Input, Output, OutputKind, Signature
from udfs.records.encode import RawJson, json_objects

# "noise" has nothing to do with any target.
NUMBERS = ("a", "b", "noise")
CITIES = ("x", "y", "z")


def rows(count: int = 200, seed: int = 1, missing: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=count) for name in NUMBERS})
    frame["a"] = frame["a"].mask(rng.random(count) < missing)
    frame["city"] = rng.choice(CITIES, count)
    return frame


def target(kind: str) -> Any:
    frame = rows(400, 0, 0).fillna(0)
    signal = 2 * frame["a"] - frame["b"] + 2 * frame["city"].eq("x") + frame["a"] * frame["b"]
    if kind == "regression":
        return signal.to_numpy()
    return np.digitize(signal, [0.3] if kind == "binary" else [-1.0, 1.0])


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.table(
        {
            name: pa.array(frame[name], pa.string() if name == "city" else pa.float64(), from_pandas=True)
            for name in frame
        }
    )


def signature(kind: Any, *, coded: bool = False) -> Signature:
    city = Input(name="city", type="string", values=CITIES if coded else ())
    classes = {"binary": (0, 1), "multiclass": (0, 1, 2)}.get(kind, ())
    inputs = (*(Input(name=name, type="double") for name in NUMBERS), city)
    return Signature(inputs=inputs, output=Output(kind=kind, classes=classes))


ENCODE = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["noise", "a"]),
        ("one hot", OneHotEncoder(drop="first", handle_unknown="ignore"), ["city"]),
        ("dropped", "drop", [3]),
    ],
    remainder=FunctionTransformer(),
)
CODES = make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough")


@dataclass(frozen=True)
class Case:
    """`raw(fitted, frame)` is the library's own raw score, (n,) or (n, k)."""

    format: str
    kind: str
    fit: Callable[[str], Any]
    raw: Callable[[Any, pd.DataFrame], Any]
    tolerance: float = 1e-9


def margin(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted.decision_function(frame)


def value(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted.predict(frame)


def probability(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted.predict_proba(frame)


def sklearn(kind: str, raw: Callable[..., Any], estimator: Any, before: Any = ENCODE) -> Case:
    def fit(kind: str) -> Any:
        return make_pipeline(clone(before), clone(estimator)).fit(rows(400, 0, 0.1), target(kind))

    return Case("joblib", kind, fit, raw)


def calibrated(kind: str) -> Any:
    inner = make_pipeline(clone(ENCODE), LogisticRegression()).fit(rows(400, 0), target(kind))
    return CalibratedClassifierCV(FrozenEstimator(inner), method="isotonic").fit(rows(400, 0), target(kind))


def coded(frame: pd.DataFrame) -> Any:
    return frame.assign(city=pd.Categorical(frame["city"], CITIES).codes).to_numpy(dtype=np.float64)


def lightgbm_model(kind: str) -> Any:
    parameters = {"objective": kind, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(coded(rows(400, 0)), target(kind), categorical_feature=[3])
    return lightgbm.train(parameters | ({"num_class": 3} if kind == "multiclass" else {}), data, 10)


def xgboost_model(kind: str) -> Any:
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob"}.get(kind, "reg:squarederror")
    parameters = {"objective": objective, "nthread": 1}
    data = xgboost.DMatrix(coded(rows(400, 0)), target(kind))
    return xgboost.train(parameters | ({"num_class": 3} if kind == "multiclass" else {}), data, 10)


def lightgbm_raw(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted.predict(coded(frame), raw_score=True)


def xgboost_raw(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted.predict(xgboost.DMatrix(coded(frame)), output_margin=True)


def wrapped_lightgbm(fitted: Any, frame: pd.DataFrame) -> Any:
    return fitted[-1].predict(fitted[:-1].transform(frame), raw_score=True)


HIST = {"max_iter": 12, "random_state": 0}
# Columns from categorical ones on, in another order than the inputs.
OWN_CATEGORIES = HistGradientBoostingClassifier(categorical_features=[2], max_iter=12, random_state=0)
NUMBERS_AND_CODES = make_column_transformer(
    ("passthrough", ["b", "a"]), (OrdinalEncoder(), ["city"]), ("passthrough", ["noise"])
)
CASES = {
    "logistic": sklearn("binary", margin, LogisticRegression()),
    "logistic of three": sklearn("multiclass", margin, LogisticRegression()),
    "sgd": sklearn("binary", margin, SGDClassifier(loss="log_loss", random_state=0)),
    "linear": sklearn("regression", value, LinearRegression()),
    "ridge behind codes": sklearn(
        "regression", value, make_pipeline(SimpleImputer(), StandardScaler(), Ridge()), CODES
    ),
    "calibrated": Case("joblib", "binary", calibrated, lambda f, x: margin(f.estimator.estimator, x)),
    "histogram": sklearn("binary", margin, HistGradientBoostingClassifier(**HIST), CODES),
    "histogram of three": sklearn("multiclass", margin, HistGradientBoostingClassifier(**HIST), CODES),
    "histogram regression": sklearn("regression", value, HistGradientBoostingRegressor(**HIST), CODES),
    "histogram with categories": sklearn("binary", margin, OWN_CATEGORIES, NUMBERS_AND_CODES),
    "tree": sklearn("multiclass", probability, DecisionTreeClassifier(max_depth=4), CODES),
    "regression tree": sklearn("regression", value, DecisionTreeRegressor(max_depth=4), CODES),
    "forest": sklearn("binary", probability, RandomForestClassifier(10, random_state=0)),
    "forest of three": sklearn("multiclass", probability, RandomForestClassifier(10, random_state=0), CODES),
    "extra trees": sklearn("multiclass", probability, ExtraTreesClassifier(10, random_state=0), CODES),
    "forest regression": sklearn("regression", value, RandomForestRegressor(10, random_state=0), CODES),
    "boosting": sklearn("binary", margin, GradientBoostingClassifier(n_estimators=10)),
    "boosting of three": sklearn("multiclass", margin, GradientBoostingClassifier(n_estimators=10)),
    "boosting regression": sklearn("regression", value, GradientBoostingRegressor(n_estimators=10)),
    "lightgbm in a pipeline": sklearn(
        "binary", wrapped_lightgbm, lightgbm.LGBMClassifier(n_estimators=5, verbose=-1)
    ),
    "lightgbm": Case("lightgbm", "binary", lightgbm_model, lightgbm_raw),
    "lightgbm of three": Case("lightgbm", "multiclass", lightgbm_model, lightgbm_raw),
    "lightgbm regression": Case("lightgbm", "regression", lightgbm_model, lightgbm_raw),
    "xgboost": Case("xgboost", "binary", xgboost_model, xgboost_raw, 1e-5),
    "xgboost of three": Case("xgboost", "multiclass", xgboost_model, xgboost_raw, 1e-5),
    "xgboost regression": Case("xgboost", "regression", xgboost_model, xgboost_raw, 1e-5),
}


@cache
def built(name: str) -> tuple[Any, Model]:
    case = CASES[name]
    fitted, data = case.fit(case.kind), signature(case.kind, coded=case.format != "joblib")
    return fitted, formats.build(case.format, serialized(fitted, case.format), data)  # type: ignore[arg-type]


@cache
def explainer_of(name: str) -> Explainer:
    """Built once, like a worker's."""
    return explainer(built(name)[1])


def explained(name: str, frame: pd.DataFrame) -> Contributions:
    inputs = table(frame)
    return explainer_of(name)(inputs, built(name)[1].predict(inputs))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=examples(8))
@given(seed=st.integers(2, 10_000), count=st.integers(1, 40))
def test_contributions_add_up_to_the_raw_score(name: str, seed: int, count: int) -> None:
    fitted, model = built(name)
    case, frame = CASES[name], rows(count, seed)
    if name == "ridge behind codes":
        frame = frame.fillna(0)
    raw = np.asarray(case.raw(fitted, frame), dtype=np.float64)
    if raw.ndim == 2:
        chosen = model.predict(table(frame)).prediction if case.kind == "multiclass" else [1] * count
        raw = raw[np.arange(count), np.asarray(chosen, dtype=np.intp)]
    found = explained(name, frame)
    assert found.values.shape == (count, 4)
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=1), raw, rtol=case.tolerance, atol=case.tolerance
    )


@pytest.mark.parametrize("name", CASES)
def test_the_inputs_that_made_the_target_contribute_most_in_any_batch(name: str) -> None:
    frame = rows(200, 3, 0)
    found = explained(name, frame)
    size = np.abs(found.values).mean(axis=0)
    assert size[0] > size[3] > 0
    assert size[0] > 3 * size[2]
    parts = [explained(name, part) for part in (frame[:1], frame[1:70], frame[70:])]
    np.testing.assert_allclose(np.concatenate([p.values for p in parts]), found.values, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([p.base for p in parts]), found.base, atol=1e-6)


def test_contributions_of_a_tree_are_the_differences_along_its_path() -> None:
    """Worked out by hand: 8 rows, the root asks a, the right side asks b."""
    x = np.array([[0.0, 0.0], [0, 1], [0, 0], [0, 1], [1, 0], [1, 0], [1, 1], [1, 1]])
    y = np.array([0.0, 0, 0, 0, 2, 2, 6, 6])
    fitted = DecisionTreeRegressor().fit(x, y)
    inputs = tuple(Input(name=name, type="double") for name in "ab")
    wanted = Signature(inputs=inputs, output=Output(kind="regression"))
    model = formats.build("joblib", serialized(fitted, "joblib"), wanted)
    data = pa.table({"a": [0.0, 1.0, 1.0], "b": [1.0, 0.0, 1.0]})
    found = explainer(model)(data, model.predict(data))
    assert found.base.tolist() == [2.0, 2.0, 2.0]
    assert found.values.tolist() == [[-2.0, 0.0], [2.0, -2.0], [2.0, 2.0]]


def test_contributions_of_a_linear_model_are_coefficient_times_value() -> None:
    """ENCODE makes: noise, a, whether a is missing (all scaled), city y, city z, b."""
    fitted, _ = built("linear")
    frame = rows(50, 4, 0)
    weight, scaler = fitted[-1].coef_, fitted[0].named_transformers_["numbers"][-1]
    found = explained("linear", frame)
    noise = weight[0] * (frame["noise"] - scaler.mean_[0]) / scaler.scale_[0]
    a = weight[1] * (frame["a"] - scaler.mean_[1]) / scaler.scale_[1]
    a_is_there = weight[2] * -scaler.mean_[2] / scaler.scale_[2]
    city = np.select([frame["city"] == "y", frame["city"] == "z"], [weight[3], weight[4]], 0.0)
    expected = np.column_stack([a + a_is_there, weight[5] * frame["b"], noise, city])
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    np.testing.assert_allclose(found.base, fitted[-1].intercept_)


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Skipping features")
@pytest.mark.parametrize(
    ("transformer", "expected"),
    [
        (StandardScaler(), [0, 1, 2]),
        (SimpleImputer(), [0, 2]),
        (SimpleImputer(keep_empty_features=True), [0, 1, 2]),
        (SimpleImputer(add_indicator=True), [0, 2, 0, 1]),
        (OneHotEncoder(min_frequency=3), [0, 0, 1, 2, 2]),
        (FeatureUnion([("s", StandardScaler()), ("none", "drop"), ("p", "passthrough")]), [0, 1, 2] * 2),
        (Pipeline([("i", SimpleImputer()), ("k", SelectKBest(k=1))]), [2]),
        (make_column_transformer((StandardScaler(), [2]), remainder="passthrough"), [2, 0, 1]),
        (make_column_transformer((StandardScaler(), slice(1, 3)), ("passthrough", [0])), [1, 2, 0]),
        (make_column_transformer((OrdinalEncoder(), [True, False, True])), [0, 2]),
    ],
)
def test_columns_are_traced_to_their_inputs(transformer: Any, expected: list[int]) -> None:
    x = np.array([[np.nan, np.nan, 0.0], [1, np.nan, 1], [1, np.nan, 0], [1, np.nan, 1], [2, np.nan, 1]])
    fitted = transformer.fit(x, [0, 1, 0, 1, 1])
    assert origins(fitted, 3).tolist() == expected
    assert fitted.transform(x).shape[1] == len(expected)


UNEXPLAINED: dict[str, tuple[Any, OutputKind, str]] = {
    "anomaly": (IsolationForest(n_estimators=2), "anomaly", "an anomaly score is no sum"),
    "bayes": (GaussianNB(), "binary", "predictions of a GaussianNB cannot be explained"),
    "mixed columns": (
        make_pipeline(PCA(1), LogisticRegression()),
        "binary",
        "the columns that a PCA makes cannot be traced",
    ),
    "a function": (
        make_pipeline(FunctionTransformer(np.abs), LogisticRegression()),
        "binary",
        "must have feature_names_out='one-to-one'",
    ),
    "an average of models": (
        CalibratedClassifierCV(LogisticRegression(), cv=2),
        "binary",
        "must have one classifier to be explained .* got 2",
    ),
}


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_what_cannot_be_explained_is_said_before_a_job_starts(name: str, tmp_path: Path) -> None:
    estimator, kind, message = UNEXPLAINED[name]
    data = pa.table({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
    folder = models.write(tmp_path, "m", estimator, data, [0, 1, 0, 1], kind)
    with pytest.raises(
        InputError, match=rf"predictions.explain must be left out with m version 1.*{message}"
    ):
        check_explainable(str(folder))


def test_what_can_be_explained_passes(tmp_path: Path) -> None:
    data = pa.table({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.0, 1.0, 0.0, 1.0]})
    folder = models.write(tmp_path, "m", LogisticRegression(), data, [0, 1, 0, 1], "binary")
    check_explainable(str(folder))


FLOATS = st.floats(-1e6, 1e6)


@given(values=st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=20), top=st.integers(1, 5))
def test_the_largest_contributions_and_the_rest_add_up(
    values: list[tuple[float, float, float]], top: int
) -> None:
    found = Contributions(np.full(len(values), 0.5), np.array(values))
    for text, row in zip(largest(found, ['p"q', "r", "s"], top).to_pylist(), values, strict=True):
        got = json.loads(text)
        sizes = [abs(value) for value in got["contributions"].values()]
        assert sizes == sorted(map(abs, row), reverse=True)[:top]
        assert got["contributions"].items() <= dict(zip(['p"q', "r", "s"], row, strict=True)).items()
        total = got["base"] + sum(got["contributions"].values()) + got["rest"]
        assert total == pytest.approx(0.5 + sum(row), rel=1e-9, abs=1e-6)


def test_a_contribution_that_is_not_finite_makes_no_explanation() -> None:
    found = Contributions(np.zeros(3), np.array([[1.0, np.nan], [np.inf, 0.0], [1.0, 2.0]]))
    assert largest(found, ["a", "b"], 1).to_pylist() == [
        None,
        None,
        '{"base":0,"contributions":{"b":2},"rest":1}',
    ]


class Broken:
    """A model whose scoring works and whose explaining does not."""

    def __init__(self, model: Any) -> None:
        self.native, self.signature, self.predict = model.native, model.signature, model.predict

    def rows(self, inputs: pa.Table) -> Any:
        raise RuntimeError("no")


def test_predictions_go_out_when_explaining_fails() -> None:
    _, model = built("logistic")
    inputs, counts = table(rows(7)), Counter[str]()
    scored = model.predict(inputs)
    good = Explaining(model, 2, counts)(inputs, scored)["explanation"]
    assert (good.text.null_count, counts["explain_failures"]) == (0, 0)
    bad = Explaining(Broken(model), 2, counts)(inputs, scored)["explanation"]
    assert counts["explain_failures"] == 7
    lines = json_objects({"n": pa.array(range(7)), "explanation": bad}, {}).to_pylist()
    assert json.loads(lines[3]) == {"n": 3, "explanation": None}
    assert Explaining(model, 0, counts)(inputs, scored) == {}
    assert isinstance(good, RawJson)


def test_a_version_that_cannot_be_explained_still_predicts() -> None:
    fitted = GaussianNB().fit([[0.0], [1.0]], [0, 1])
    wanted = Signature(inputs=(Input(name="a", type="double"),), output=Output(kind="binary", classes=(0, 1)))
    model = formats.build("joblib", serialized(fitted, "joblib"), wanted)
    with pytest.raises(ModelError, match="GaussianNB cannot be explained"):
        explainer(model)
    inputs, counts = pa.table({"a": [0.0, 1.0]}), Counter[str]()
    column = Explaining(model, 1, counts)(inputs, model.predict(inputs))["explanation"]
    assert column.text.to_pylist() == [None, None]
    assert counts["explain_failures"] == 2
