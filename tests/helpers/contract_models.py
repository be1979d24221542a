"""Models of all formats and kinds of columns, each with its own library's predictions of a DataFrame.

MODELS["lightgbm"]    # format, what fits it on columns `a` and `q`, the kinds of `q` that it takes
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from tests.helpers.tensor_models import (
    Fit,
    Fitted,
    keras_model,
    onnx_codes,
    onnx_columns,
    onnx_matrix,
    torch_program,
)
from udfs.model.format_table import Format
from udfs.model.manifest import InputType

Series = Any


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

    def oracle(rows: pd.DataFrame) -> Any:
        """A column of booleans that are all missing is one of floats to MLflow, unless others stand by."""
        alone = frame["q"].dtype.kind == "O" and rows["q"].isna().all()
        said = loaded.predict(pd.concat([rows, frame]) if alone else rows)
        return np.asarray(said)[: len(rows), 1]

    return Fitted(folder, oracle)


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
    "onnx, columns": ("onnx", onnx_columns, ALL),
    "onnx, matrix": ("onnx", onnx_matrix, (*NUMBERS, *CATEGORIES)),
    "onnx, codes": ("onnx", onnx_codes, CATEGORIES),
    "torch": ("torch", torch_program, (*NUMBERS, *CATEGORIES)),
    "keras": ("keras", keras_model(filled=False), (*NUMBERS, *CATEGORIES)),
    "keras that fills": ("keras", keras_model(filled=True), (*NUMBERS, *CATEGORIES)),
    "catboost": ("catboost", catboosted(), NUMBERS),
    "catboost, categories": ("catboost", catboosted("q"), ("ints", "strings", *CATEGORIES)),
}
# To these a category is its position among the values of the signature.
CODED = ("onnx, matrix", "onnx, codes", "torch", "keras", "keras that fills")
# Libraries in environments of their own, of scripts/formats_env, in which tests/processes/model runs these.
APART = ("catboost", "keras", "torch")
# scikit-learn's SimpleImputer refuses a bool column, and CatBoost a category that is missing.
NOT_FITTED = {(f"{f}, SimpleImputer, OneHotEncoder", "bools", False) for f in ("joblib", "skops")}
# A column of whole numbers and missing ones is of floats, for which MLflow takes no whole numbers later.
# To MLflow a missing boolean is None: it takes no column of NaN alone for one.
NOT_FITTED |= {("pyfunc", "ints", True), ("pyfunc", "bools", False)}
NOT_FITTED |= {("catboost, categories", kind, True) for kind in ALL}
# Of rows with a missing value this network says NaN: nobody has fitted it on such.
NOT_FITTED |= {("keras", kind, True) for kind in ALL}
# A tensor of whole numbers has no missing one.
NOT_FITTED |= {("onnx, columns", "categories of ints", True)}
NOT_FITTED |= {("onnx, codes", kind, True) for kind in CATEGORIES}
CASES = [
    (model, kind, missing)
    for model, (_, _, kinds) in MODELS.items()
    for kind in kinds
    for missing in (True, False)
    if (model, kind, missing) not in NOT_FITTED
]


def is_here(format: Format) -> bool:  # noqa: A002
    """Whether its library is installed."""
    return format not in APART or find_spec(format) is not None
