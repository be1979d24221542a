"""Versions as ONNX graphs: kept where they reproduce the golden rows, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.importing import add, complete, find
from flink_jobs.registry.onnx_export import export_onnx
from tests.helpers.foreign import (
    FRAME,
    LATE,
    NUMBERS,
    RNG,
    boosted,
    dumped,
    graph,
    plain_booster,
    register,
    table,
    with_imputer,
    xgboosted,
)
from udfs.model.loading import load_version
from udfs.model.manifest import Lineage


def test_an_export_reproduces_the_golden_rows_or_is_not_kept(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    register(registry, with_imputer(), NUMBERS, tmp_path)
    assert export_onnx(registry, "m", 1).lineage == Lineage(parent=1)
    # Beyond 2**24, 32-bit floats cannot tell whole numbers apart.
    large = pd.DataFrame({"a": np.arange(50) + 2.0**30})
    fitted = HistGradientBoostingClassifier(min_samples_leaf=1).fit(large, np.arange(50) % 2)
    register(registry, fitted, large, tmp_path)
    with pytest.raises(InputError, match=r"m version 3 cannot be exported: with 32-bit floats .*golden row"):
        export_onnx(registry, "m", 3)
    assert registry.versions("m") == [1, 2, 3]


ODD = ["sepal length (cm)", "a.b", "Größe", "0", "a b", "label"]
MANY = RNG.normal(size=(300, len(ODD)))
TARGET = MANY @ np.array([1.0, 2.0, -1.0, 0.5, 0.1, 3.0])
NOISY = np.where(RNG.normal(scale=2.0, size=300) < TARGET, "late", "early")
THREE = np.array(["a", "b", "c"])[np.digitize(TARGET, [-1.0, 2.0])]
BARE: dict[str, tuple[Callable[[], Any], Any]] = {
    "LogisticRegression": (LogisticRegression, NOISY),
    "of three classes": (LogisticRegression, THREE),
    "RandomForestClassifier": (lambda: RandomForestClassifier(10, random_state=0), NOISY),
    "RandomForestRegressor": (lambda: RandomForestRegressor(10, random_state=0), TARGET),
    "ExtraTreesRegressor": (lambda: ExtraTreesRegressor(10, random_state=0), TARGET),
    "DecisionTreeClassifier": (DecisionTreeClassifier, NOISY),
    "GradientBoostingClassifier": (lambda: GradientBoostingClassifier(n_estimators=9), NOISY),
    "GradientBoostingRegressor": (lambda: GradientBoostingRegressor(n_estimators=9), TARGET),
    "HistGradientBoostingClassifier": (lambda: HistGradientBoostingClassifier(max_iter=9), NOISY),
    "HistGradientBoostingRegressor": (lambda: HistGradientBoostingRegressor(max_iter=9), TARGET),
    "AdaBoostClassifier": (lambda: AdaBoostClassifier(n_estimators=9), NOISY),
    "KNeighborsClassifier": (KNeighborsClassifier, NOISY),
    "KNeighborsRegressor": (KNeighborsRegressor, TARGET),
    "GaussianNB": (GaussianNB, NOISY),
    "BernoulliNB": (BernoulliNB, NOISY),
    "SVC, whose labels are not its probabilities": (lambda: SVC(probability=True, random_state=0), NOISY),
    "SVC, calibrated": (lambda: CalibratedClassifierCV(SVC(), ensemble=False), NOISY),
    "SVR": (SVR, TARGET),
    "LinearRegression": (LinearRegression, TARGET),
    "Ridge": (Ridge, TARGET),
    "Lasso": (Lasso, TARGET),
    "IsolationForest": (lambda: IsolationForest(n_estimators=10, random_state=0), None),
    "IsolationForest of a share": (
        lambda: IsolationForest(n_estimators=10, contamination=0.1, random_state=0),
        None,
    ),
    "OneClassSVM": (lambda: OneClassSVM(nu=0.1), None),
    "LocalOutlierFactor": (lambda: LocalOutlierFactor(novelty=True), None),
    "a search": (lambda: GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}), NOISY),
    "a pipeline": (
        lambda: make_pipeline(StandardScaler(), IsolationForest(n_estimators=10, random_state=0)),
        None,
    ),
    "chosen columns": (
        lambda: make_pipeline(
            make_column_transformer((StandardScaler(), ODD[1:4]), remainder="passthrough"), Ridge()
        ),
        TARGET,
    ),
}


def said(model: Any, frame: pd.DataFrame) -> Any:
    """What the library itself says of the rows."""
    if hasattr(model, "score_samples"):
        return -model.score_samples(frame)
    return model.predict_proba(frame) if hasattr(model, "predict_proba") else model.predict(frame)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names, but LocalOutlierFactor:UserWarning")
@pytest.mark.filterwarnings("ignore:The `probability` parameter was deprecated:FutureWarning")
@pytest.mark.parametrize("case", BARE)
def test_estimators_fitted_on_columns_of_any_name_are_exported(case: str, tmp_path: Path) -> None:
    """The adversary are converters that take one input only, and make `a_b` of `a.b`, `a b` and `a_b`."""
    make, target = BARE[case]
    frame = pd.DataFrame(MANY, columns=ODD)
    model = make().fit(frame) if target is None else make().fit(frame, target)
    registry = Registry(tmp_path / "models")
    register(registry, model, frame, tmp_path)
    made = export_onnx(registry, "m", 1)
    assert made.signature.names == ODD
    # Near the columns' thresholds 32 bits may fall on the other side, so rows are as graphs hold them.
    fresh = pd.DataFrame(RNG.normal(size=(200, len(ODD))).astype(np.float32).astype(float), columns=ODD)
    scored = load_version(registry.folder("m", made.version)).model.predict(table(fresh))
    expected = said(model, fresh)
    if scored.probabilities is not None:
        np.testing.assert_allclose(scored.probabilities, expected, atol=1e-4)
    elif scored.score is not None:
        np.testing.assert_allclose(
            scored.score, expected[:, 1] if expected.ndim == 2 else expected, atol=1e-4
        )
    else:
        np.testing.assert_allclose(np.asarray(scored.prediction), expected, rtol=1e-4, atol=1e-4)
    if target is None:
        assert list(scored.prediction) == (model.predict(fresh) == -1).tolist()


def stopped_early() -> Any:
    """One that predicts with fewer trees than it holds."""
    made = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=2, n_jobs=1)
    fitted = made.fit(NUMBERS, LATE == "late", eval_set=[(NUMBERS, RNG.random(200) < 0.5)], verbose=False)
    assert fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    return fitted


def large_numbers() -> lightgbm.Booster:
    """Its thresholds need more than 32 bits, which no graph of a booster has."""
    large = NUMBERS + 2.0**30
    parameters = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2, "max_bin": 500}
    return lightgbm.train(parameters, lightgbm.Dataset(large, NUMBERS["a"]), 5)


@pytest.mark.parametrize(
    ("file", "data", "frame"),
    [
        ("m.txt", lambda: boosted().model_to_string().encode(), FRAME),
        ("m.txt", lambda: plain_booster().model_to_string().encode(), NUMBERS),
        ("m.ubj", lambda: bytes(xgboosted().get_booster().save_raw("ubj")), NUMBERS),
        ("m.ubj", lambda: bytes(stopped_early().get_booster().save_raw("ubj")), NUMBERS),
        ("m.joblib", lambda: dumped(lightgbm_pipeline()), NUMBERS),
    ],
    ids=["categories", "regression", "xgboost", "stopped early", "pipeline"],
)
def test_boosters_are_exported(
    file: str, data: Callable[[], bytes], frame: pd.DataFrame, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / file).write_bytes(data())
    add(registry, "m", complete(find(tmp_path / file), rows=table(frame)))
    made = export_onnx(registry, "m", 1)
    assert (made.format, made.lineage) == ("onnx", Lineage(parent=1))
    inputs = table(frame).cast(made.signature.schema())
    was, now = (load_version(registry.folder("m", version)).model.predict(inputs) for version in (1, 2))
    for numbers in ("prediction",) if was.score is None else ("score",):
        np.testing.assert_allclose(getattr(now, numbers), getattr(was, numbers), rtol=1e-5, atol=1e-5)


def test_a_booster_that_needs_64_bits_is_not_exported(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / "m.txt").write_text(large_numbers().model_to_string())
    add(registry, "m", complete(find(tmp_path / "m.txt"), rows=table(NUMBERS + 2.0**30)))
    with pytest.raises(
        InputError, match=r"m version 1 cannot be exported: with 32-bit floats golden row \d+"
    ):
        export_onnx(registry, "m", 1)
    assert registry.versions("m") == [1]


def lightgbm_pipeline() -> Any:
    made = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1)
    return make_pipeline(SimpleImputer(), made).fit(NUMBERS.to_numpy(), LATE)


def test_what_no_library_converts_is_not_exported(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    (tmp_path / "m.onnx").write_bytes(graph())
    add(registry, "m", complete(find(tmp_path / "m.onnx"), rows=table(NUMBERS)))
    with pytest.raises(InputError, match="scikit-learn, LightGBM or XGBoost model to be exported; got onnx"):
        export_onnx(registry, "m", 1)
