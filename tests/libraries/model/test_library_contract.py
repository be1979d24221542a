"""Formats by situations: jobs score each row as the model's own library scores it in its maker's DataFrame.

The adversary is our own conversion between a record and what a library takes. What is compared with comes
from the library alone, called on a DataFrame with the dtypes of the fit; where it raises for a row, so does
the model.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from flink_jobs.registry import Registry, versions
from udfs.model.contract import Model
from udfs.model.format_table import Format
from udfs.model.loading import load_version
from udfs.model.manifest import Input, InputType, Output, Signature
from udfs.types import ARROW

Series = Any
Rows = tuple[tuple[Any, Any], ...]  # pairs of `a` and `q`
COUNT = 600
# Of a situation: each value of a category several times, and a fourth of them unseen or missing. Where the
# library raises, each row is predicted alone, which is what takes the time.
ROWS = 24


@dataclass(frozen=True)
class Kind:
    """A kind of column: type in a record, values that the fit saw and one that it did not, dtype."""

    type: InputType
    seen: tuple[Any, ...]
    unseen: Any
    series: Callable[[list[Any]], Series]
    category: bool = False


def floats(values: list[Any]) -> Series:
    return pd.Series(values, dtype="float64")


def objects(values: list[Any]) -> Series:
    return pd.Series([np.nan if value is None else value for value in values], dtype=object)


def integers(values: list[Any]) -> Series:
    return pd.Series(values, dtype="float64" if None in values else "int64")


def booleans(values: list[Any]) -> Series:
    return objects(values) if None in values else pd.Series(values, dtype=bool)


def category(dtype: Any) -> Callable[[list[Any]], Series]:
    """As a maker has new rows: with the categories of these alone."""

    def series(values: list[Any]) -> Series:
        there = sorted({value for value in values if value is not None})
        return pd.Series(pd.Categorical(values, categories=pd.Index(there, dtype=dtype)))

    return series


KINDS: dict[str, Kind] = {
    "numbers": Kind("double", tuple(np.linspace(-3, 3, 40)), 1e9, floats),
    "ints": Kind("long", tuple(range(-5, 6)), 2**40, integers),
    "strings": Kind("string", ("x", "y", "z"), "unseen", objects),
    "bools": Kind("boolean", (True, False), None, booleans),
    "categories of ints": Kind("long", (10, 20, 30), 40, category("int64"), category=True),
    "categories of strings": Kind("string", ("x", "y", "z"), "unseen", category(object), category=True),
}


@dataclass(frozen=True)
class Fitted:
    """A model, and its own library's probability of the positive class for a DataFrame.

    `frame`: what it was fitted on, where that was made of the rows.
    """

    model: Any
    oracle: Callable[[pd.DataFrame], Any]
    frame: pd.DataFrame | None = None


Fit = Callable[[pd.DataFrame, Any], Fitted]


def estimator(make: Callable[[], Any]) -> Fit:
    def fit(frame: pd.DataFrame, y: Any) -> Fitted:
        fitted = make().fit(frame, y)
        return Fitted(fitted, lambda rows: fitted.predict_proba(rows)[:, 1])

    return fit


def encoded(*encoders: Any, final: Any = None) -> Callable[[], Any]:
    """`q` through the encoders, `a` through an imputer."""

    def make() -> Any:
        from sklearn.base import clone

        steps = [clone(encoder) for encoder in encoders]
        columns = make_column_transformer((make_pipeline(*steps), ["q"]), (SimpleImputer(), ["a"]))
        return make_pipeline(columns, final or LogisticRegression())

    return make


def matrix(frame: pd.DataFrame, y: Any) -> Fitted:
    fitted = make_pipeline(SimpleImputer(), LogisticRegression()).fit(frame.to_numpy("float64"), y)
    return Fitted(fitted, lambda rows: fitted.predict_proba(rows.to_numpy("float64"))[:, 1])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """LightGBM and XGBoost take no objects: booleans beside missing values are floats to them."""
    return frame.astype({name: "float64" for name in frame if frame[name].dtype == np.dtype(object)})


def lightgbm_booster(frame: pd.DataFrame, y: Any) -> Fitted:
    data = lightgbm.Dataset(plain(frame), y)
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lightgbm.train(parameters, data, 10)
    return Fitted(booster, lambda rows: booster.predict(plain(rows)))


def xgboost_booster(frame: pd.DataFrame, y: Any) -> Fitted:
    data = xgboost.DMatrix(plain(frame), y, enable_categorical=True)
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 10)
    return Fitted(
        booster, lambda rows: booster.predict(xgboost.DMatrix(plain(rows), enable_categorical=True))
    )


def boosting(make: Callable[[], Any]) -> Fit:
    def fit(frame: pd.DataFrame, y: Any) -> Fitted:
        fitted = make().fit(plain(frame), y)
        return Fitted(fitted, lambda rows: fitted.predict_proba(plain(rows))[:, 1], plain(frame))

    return fit


def onnx_columns(frame: pd.DataFrame, y: Any) -> Fitted:
    """A graph of 32-bit floats and of strings, in which a missing string is "", as its maker must have it."""
    text = frame["q"].dtype.kind == "O" and not set(frame["q"].dropna()) <= {True, False}
    whole = frame["q"].dtype.kind == "i"

    def rows(table: pd.DataFrame) -> pd.DataFrame:
        q = table["q"].fillna("") if text else table["q"].astype("int64" if whole else "float32")
        return pd.DataFrame({"a": table["a"].astype("float32"), "q": q})

    encoder = OneHotEncoder(handle_unknown="ignore") if text or whole else SimpleImputer()
    columns = make_column_transformer((encoder, ["q"]), (SimpleImputer(), ["a"]))
    logistic = LogisticRegression()
    fitted = make_pipeline(columns, logistic).fit(rows(frame), y)
    kind = StringTensorType if text else Int64TensorType if whole else FloatTensorType
    types = [("a", FloatTensorType([None, 1])), ("q", kind([None, 1]))]
    graph = to_onnx(fitted, initial_types=types, options={id(logistic): {"zipmap": False}})
    return Fitted(graph, lambda table: fitted.predict_proba(rows(table))[:, 1])


def catboosted(*categories: str) -> Fit:
    """CatBoost's own classifier, told which columns are categories: whole numbers and texts."""

    def fit(frame: pd.DataFrame, y: Any) -> Fitted:
        import catboost

        known = [name for name in categories if frame[name].dtype.kind != "f"]
        fitted = catboost.CatBoostClassifier(
            iterations=10, thread_count=1, verbose=False, allow_writing_files=False
        ).fit(frame, y, cat_features=known)
        return Fitted(fitted, lambda rows: fitted.predict_proba(rows)[:, 1])

    return fit


def pyfunc(frame: pd.DataFrame, y: Any) -> Fitted:
    """What MLflow saves of a pipeline, with its signature; MLflow itself loads it, and checks the dtypes."""
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns: list[Any] = [ColSpec(_mlflow_type(frame[name]), str(name), required=False) for name in frame]
    fitted = encoded(ONE_HOT)().fit(frame, y)
    home = tempfile.mkdtemp()
    folder = Path(home) / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            fitted, str(folder), pyfunc_predict_fn="predict_proba", pip_requirements=[],
            signature=ModelSignature(Schema(columns)), serialization_format="cloudpickle",
        )  # fmt: skip
        loaded = mlflow.pyfunc.load_model(str(folder))
    weakref.finalize(loaded, shutil.rmtree, home)
    return Fitted(folder, lambda rows: np.asarray(loaded.predict(rows))[:, 1])


def _mlflow_type(column: Series) -> str:
    if column.dtype.kind in "fi":
        return "double" if column.dtype.kind == "f" else "long"
    return "boolean" if set(column.dropna()) <= {True, False} else "string"


ONE_HOT = OneHotEncoder(handle_unknown="ignore")
FREQUENT = SimpleImputer(strategy="most_frequent")
FILLED = SimpleImputer(strategy="constant", fill_value="none")
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
TARGET = TargetEncoder()
TREES = HistGradientBoostingClassifier(max_iter=10, random_state=0)
NUMBERS = ("numbers", "ints", "bools")
CATEGORIES = ("categories of ints", "categories of strings")
ALL = tuple(KINDS)
MODELS: dict[str, tuple[Format, Fit, tuple[str, ...]]] = {
    "joblib, matrix": ("joblib", matrix, NUMBERS),
    "joblib, OneHotEncoder": ("joblib", estimator(encoded(ONE_HOT)), ALL),
    "joblib, OneHotEncoder that knows all": ("joblib", estimator(encoded(OneHotEncoder())), ALL),
    "joblib, SimpleImputer, OneHotEncoder": ("joblib", estimator(encoded(FREQUENT, ONE_HOT)), ALL),
    "joblib, SimpleImputer of a constant": ("joblib", estimator(encoded(FILLED, ONE_HOT)), ("strings",)),
    "joblib, OrdinalEncoder, trees": ("joblib", estimator(encoded(ORDINAL, final=TREES)), ALL),
    "joblib, TargetEncoder": ("joblib", estimator(encoded(TARGET)), ALL),
    "joblib, trees on the columns": (
        "joblib",
        estimator(lambda: HistGradientBoostingClassifier(max_iter=10, random_state=0)),
        (*NUMBERS, *CATEGORIES),
    ),
    "joblib, LGBMClassifier": (
        "joblib",
        boosting(lambda: lightgbm.LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1, min_child_samples=5)),
        (*NUMBERS, *CATEGORIES),
    ),
    "joblib, XGBClassifier": (
        "joblib",
        boosting(lambda: xgboost.XGBClassifier(n_estimators=10, n_jobs=1, enable_categorical=True)),
        (*NUMBERS, *CATEGORIES),
    ),
    "skops, SimpleImputer, OneHotEncoder": ("skops", estimator(encoded(FREQUENT, ONE_HOT)), ALL),
    "lightgbm": ("lightgbm", lightgbm_booster, (*NUMBERS, *CATEGORIES)),
    "xgboost": ("xgboost", xgboost_booster, (*NUMBERS, *CATEGORIES)),
    "pyfunc": ("pyfunc", pyfunc, ("numbers", "ints", "strings", "bools")),
    "onnx, columns": ("onnx", onnx_columns, ("numbers", "ints", "strings")),
}
# In the environment of scripts/formats_env, in which tests/processes/model runs these.
if find_spec("catboost"):
    MODELS |= {
        "catboost": ("catboost", catboosted(), NUMBERS),
        "catboost, categories": ("catboost", catboosted("q"), ("ints", "strings", *CATEGORIES)),
    }
# scikit-learn's SimpleImputer refuses a bool column, and CatBoost a category that is missing.
NOT_FITTED = {(f"{f}, SimpleImputer, OneHotEncoder", "bools", False) for f in ("joblib", "skops")}
# A column of whole numbers and missing ones is of floats, for which MLflow takes no whole numbers later.
# To MLflow a missing boolean is None: it takes no column of NaN alone for one.
NOT_FITTED |= {("pyfunc", "ints", True), ("pyfunc", "bools", False)}
NOT_FITTED |= {("catboost, categories", kind, True) for kind in ALL}
CASES = [
    (model, kind, missing)
    for model, (_, _, kinds) in MODELS.items()
    for kind in kinds
    for missing in (True, False)
    if (model, kind, missing) not in NOT_FITTED
]


@cache
def training(kind: Kind, *, missing: bool) -> tuple[pd.DataFrame, Any]:
    """Rows whose label follows `q` and whether it is missing, and a little `a`."""
    rng = np.random.default_rng(3)
    places = rng.integers(0, len(kind.seen), COUNT)
    gone = rng.random(COUNT) < (0.25 if missing else 0)
    a = rng.normal(size=COUNT)
    high = np.where(gone, 1.2, places / len(kind.seen)) + 0.2 * a > 0.6
    q = [None if there else kind.seen[place] for place, there in zip(places, gone, strict=True)]
    return pd.DataFrame({"a": a, "q": kind.series(q)}), high.astype(int)


@cache
def new_rows(kind: Kind, situation: str) -> Rows:
    rng = np.random.default_rng(5)
    count = {"one row": 1, "10,000 rows": 10_000, "all missing": 6}.get(situation, ROWS)
    a = rng.normal(size=count).tolist()
    q: list[Any] = [kind.seen[place] for place in rng.integers(0, len(kind.seen), count)]
    if situation in ("missing", "10,000 rows"):
        q[::3] = [None] * len(q[::3])
    if situation == "unseen":
        q[::4] = [kind.unseen] * len(q[::4])
    if situation == "all missing":
        q = [None] * count
    if situation == "missing in a":
        a[::2] = [None] * len(a[::2])
    return tuple(zip(a, q, strict=True))


SITUATIONS = ("plain", "missing", "all missing", "missing in a", "unseen", "one row", "10,000 rows")


def registered(model: str, kind: Kind, root: Path, *, missing: bool) -> tuple[Model, Fitted]:
    format, fit, _ = MODELS[model]  # noqa: A001
    frame, y = training(kind, missing=missing)
    fitted = fit(frame, y)
    signature = Signature(
        inputs=(Input(name="a", type="double"), Input(name="q", type=kind.type)),
        output=Output(kind="binary", classes=(0, 1)),
    )
    registry, own = Registry(root), frame if fitted.frame is None else fitted.frame
    manifest = registry.write_version(
        "m", model=fitted.model, format=format, signature=signature, golden_inputs=own.head(100),
        profile={}, metrics={}, training={},
    )  # fmt: skip
    return load_version(registry.folder("m", manifest.version)).model, fitted


def library_says(fitted: Fitted, kind: Kind, rows: Rows) -> list[float | None]:
    return said_of(rows, kind, lambda some: np.asarray(fitted.oracle(frame_of(kind, some)), float).tolist())


def said_of(rows: Rows, kind: Kind, say: Callable[[Rows], list[float]]) -> list[float | None]:
    """Of all rows at once; where that raises, of those alike, then of each alone; None where that raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [*say(rows)]
        except Exception:
            if len(rows) == 1:
                return [None]
    alike: dict[object, list[int]] = {}
    for place, (a, q) in enumerate(rows):
        alike.setdefault((a is None, q is None, q == kind.unseen), []).append(place)
    groups = alike.values() if len(alike) > 1 else [[place] for place in range(len(rows))]
    said: dict[int, float | None] = {}
    for places in groups:
        said |= zip(places, said_of(tuple(rows[at] for at in places), kind, say), strict=True)
    return [said[place] for place in range(len(rows))]


def taken(fitted: Fitted, kind: Kind) -> bool:
    """Whether the library takes a missing value at all."""
    return library_says(fitted, kind, ((0.5, None),)) != [None]


def without_neighbours(said: list[float | None], rows: Rows, kind: Kind) -> list[float | None]:
    """XGBoost's documented answer to an unseen category is an error.

    XGBoost 3.2 gives that for numbers and for strings after the last category; for other strings it takes the
    next category in the alphabet. That answer is of another record, so that the row must have none.
    """
    if kind.type == "long":
        assert [s is None for s in said] == [q == kind.unseen for _, q in rows]
    return [None if q == kind.unseen else score for score, (_, q) in zip(said, rows, strict=True)]


@cache
def frame_of(kind: Kind, rows: Rows) -> pd.DataFrame:
    """With the whole dtype of the fit for the only missing value, which has none of its own."""
    a, q = map(list, zip(*rows, strict=True))
    if kind.category and set(q) == {None}:
        known = pd.Index(kind.seen, dtype=object if kind.type == "string" else "int64")
        return pd.DataFrame({"a": floats(a), "q": pd.Series(pd.Categorical(q, categories=known))})
    return pd.DataFrame({"a": floats(a), "q": kind.series(q)})


@cache
def table_of(kind: Kind, rows: Rows) -> pa.Table:
    a, q = map(list, zip(*rows, strict=True))
    return pa.table({"a": pa.array(a, pa.float64()), "q": pa.array(q, ARROW[kind.type])})


def ours(model: Model, kind: Kind, rows: Rows) -> list[float | None]:
    def say(some: Rows) -> list[float]:
        score = model.predict(table_of(kind, some)).score
        assert score is not None
        return [float(value) for value in score]

    return said_of(rows, kind, say)


@pytest.fixture(autouse=True)
def _tried_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a version loads in a process of its own, which takes seconds, test_importing shows."""
    monkeypatch.setattr(versions, "check_loads", lambda files: None)


@pytest.mark.parametrize(("model", "kind", "missing"), CASES)
def test_rows_are_scored_as_by_the_library_itself(
    model: str, kind: str, missing: bool, tmp_path: Path
) -> None:
    column = KINDS[kind]
    loaded, fitted = registered(model, column, tmp_path, missing=missing)
    for situation in SITUATIONS:
        if situation == "unseen" and column.unseen is None:
            continue
        rows = new_rows(column, situation)
        if situation == "10,000 rows" and not taken(fitted, column):
            rows = tuple(row for row in rows if row[1] is not None)
        expected, got = library_says(fitted, column, rows), ours(loaded, column, rows)
        if situation == "unseen" and column.category and "xgb" in model.lower():
            expected = without_neighbours(expected, rows, column)
        assert [value is None for value in got] == [value is None for value in expected], situation
        pairs = [(e, g) for e, g in zip(expected, got, strict=True) if e is not None and g is not None]
        np.testing.assert_allclose([g for _, g in pairs], [e for e, _ in pairs], atol=2e-6, err_msg=situation)
