"""A version is what its model's own library says, or is refused: categories, missing values, scales, labels.

The adversary is a model made elsewhere, whose file or DataFrame holds things otherwise than records do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from skl2onnx import to_onnx
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import OneClassSVM

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.importing import add, complete, find
from flink_jobs.registry.importing.version import read_signature
from flink_jobs.registry.onnx_export import export_onnx
from tests.helpers.foreign import dumped
from tests.helpers.transformers import as_text, kinds_of_none
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.contract import Model
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Manifest, Output, Signature

RNG = np.random.default_rng(7)
COUNT = 400
NUMBERS = RNG.choice([10, 20, 30], COUNT)
WORDS = RNG.choice(["x", "y", "z"], COUNT)
CODED = pd.DataFrame({"n": pd.Categorical(NUMBERS), "a": RNG.normal(size=COUNT), "c": pd.Categorical(WORDS)})
LATE = ((NUMBERS == 20) ^ (WORDS == "y")).astype(int)
BINARY = Output(kind="binary", classes=(0, 1))
N, A, C = Input(name="n", type="long"), Input(name="a", type="double"), Input(name="c", type="string")
OF_N, OF_C = (10, 20, 30), ("x", "y", "z")
QUIET: dict[str, Any] = {"objective": "binary", "verbose": -1, "num_threads": 1}


def records(frame: pd.DataFrame) -> pa.Table:
    """The rows as a job has them: no categories, no NaN."""
    columns = {}
    for name, kind in (("n", pa.int64()), ("a", pa.float64()), ("c", pa.string())):
        if name in frame:
            values = [None if pd.isna(value) else value for value in frame[name].tolist()]
            columns[name] = pa.array(values, kind)
    return pa.table(columns)


def imported(root: Path, file: str, data: bytes, rows: pa.Table) -> tuple[Manifest, Model]:
    (root / file).write_bytes(data)
    registry = Registry(root / "models")
    manifest = add(registry, "m", complete(find(root / file), rows=rows))
    return manifest, load_version(registry.folder("m", manifest.version)).model


def written(
    root: Path, model: Any, rows: Any, output: Output, *inputs: Input, kind: Any = "joblib"
) -> Manifest:
    return Registry(root / "models").write_version(
        "m", model=model, format=kind, signature=Signature(inputs=inputs, output=output), golden_inputs=rows,
        profile={}, metrics={}, training={},
    )  # fmt: skip


def loaded(root: Path, version: int = 1) -> Model:
    return load_version(root / "models" / "m" / "versions" / str(version)).model


def score(model: Model, rows: pa.Table) -> Any:
    found = model.predict(rows).score
    assert found is not None
    return found


def lightgbm_booster(frame: pd.DataFrame = CODED) -> lightgbm.Booster:
    return lightgbm.train(QUIET, lightgbm.Dataset(frame, LATE), 10)


def xgboost_booster() -> xgboost.Booster:
    data = xgboost.DMatrix(CODED, LATE, enable_categorical=True)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 10)


def test_a_lightgbm_file_tells_the_categories_of_each_column(tmp_path: Path) -> None:
    booster = lightgbm_booster()
    manifest, model = imported(tmp_path, "m.txt", booster.model_to_string().encode(), records(CODED))
    assert [item.values for item in manifest.signature.inputs] == [OF_N, (), OF_C]
    np.testing.assert_allclose(score(model, records(CODED)), booster.predict(CODED), atol=1e-12)


def test_an_xgboost_file_tells_the_categories_of_each_column(tmp_path: Path) -> None:
    booster = xgboost_booster()
    manifest, model = imported(tmp_path, "m.ubj", bytes(booster.save_raw("ubj")), records(CODED))
    assert [item.values for item in manifest.signature.inputs] == [OF_N, (), OF_C]
    said = booster.predict(xgboost.DMatrix(CODED, enable_categorical=True))
    np.testing.assert_allclose(score(model, records(CODED)), said, atol=1e-6)


def test_ordered_categories_are_told_by_the_rows(tmp_path: Path) -> None:
    """To LightGBM they are numbers, so that its file lists them, but not their column."""
    levels = pd.Categorical(WORDS, categories=["z", "x", "y"], ordered=True)
    frame = CODED.assign(c=levels)
    booster = lightgbm_booster(frame)
    manifest, model = imported(tmp_path, "m.txt", booster.model_to_string().encode(), records(frame))
    assert [item.values for item in manifest.signature.inputs] == [OF_N, (), ("z", "x", "y")]
    np.testing.assert_allclose(score(model, records(frame)), booster.predict(frame), atol=1e-12)
    alike = records(frame).set_column(1, "a", pa.array([10.0] * COUNT))
    with pytest.raises(InputError, match="its file does not tell of which columns; give a --signature"):
        imported(tmp_path, "m.txt", booster.model_to_string().encode(), alike)


CLASSIFIERS = {
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=10, verbose=-1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=10, n_jobs=1, enable_categorical=True),
}


@pytest.mark.parametrize("library", CLASSIFIERS)
def test_a_pickled_classifier_of_category_columns_is_imported(library: str, tmp_path: Path) -> None:
    fitted = CLASSIFIERS[library]().fit(CODED, LATE)
    manifest, model = imported(tmp_path, "m.joblib", dumped(fitted), records(CODED))
    assert [item.values for item in manifest.signature.inputs] == [OF_N, (), OF_C]
    assert [item.pandas for item in manifest.signature.inputs] == ["category", msgspec.UNSET, "category"]
    new = CODED.head(50).assign(c=pd.Categorical([None, "y"] * 25), a=[np.nan, 0.5] * 25)
    np.testing.assert_allclose(score(model, records(new)), fitted.predict_proba(new)[:, 1], atol=1e-6)


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_a_signature_of_other_categories_is_refused(kind: Any, tmp_path: Path) -> None:
    model = lightgbm_booster() if kind == "lightgbm" else xgboost_booster()
    turned = msgspec.structs.replace(C, values=("y", "x", "z"))
    coded = msgspec.structs.replace(N, values=OF_N)
    with pytest.raises(
        InputError, match=r"values of c must be the model's own categories, in order: .'x', 'y'"
    ):
        written(tmp_path, model, records(CODED), BINARY, coded, A, turned, kind=kind)
    # As versions that were registered before had it: the numbers of a record taken for codes.
    data = model.model_to_string().encode() if kind == "lightgbm" else bytes(model.save_raw("ubj"))
    named = msgspec.structs.replace(C, values=OF_C)
    with pytest.raises(
        ModelError, match=r"own categories, in order: \[10, 20, 30\]; got none, and the type long"
    ):
        formats.build(kind, data, Signature(inputs=(N, A, named), output=BINARY))
    manifest = written(tmp_path, model, records(CODED), BINARY, N, A, C, kind=kind)
    assert [item.values for item in manifest.signature.inputs] == [OF_N, (), OF_C]


MISSING = pd.DataFrame(
    {"c": pd.Series(np.where(RNG.random(COUNT) < 0.3, np.nan, WORDS.astype(object)), dtype=object)}
)
MISSING["a"] = RNG.normal(size=COUNT)
GONE = MISSING["c"].isna().to_numpy().astype(int)


def strings(*steps: Any) -> Any:
    encoder = make_pipeline(*steps, OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer((encoder, ["c"]), (SimpleImputer(), ["a"]))
    return make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize("stands", [np.nan, None], ids=["NaN", "None"])
@pytest.mark.parametrize("source", ["DataFrame", "table", "import"])
def test_a_missing_string_is_what_it_was_in_the_fit(source: str, stands: Any, tmp_path: Path) -> None:
    frame = MISSING.assign(c=MISSING["c"].where(MISSING["c"].notna(), stands))
    fitted = strings().fit(frame, GONE)
    table = records(frame).select(["c", "a"])
    if source == "import":
        _, model = imported(tmp_path, "m.joblib", dumped(fitted), table)
    else:
        written(tmp_path, fitted, frame if source == "DataFrame" else table, BINARY, C, A)
        model = loaded(tmp_path)
    said = fitted.predict_proba(frame)[:, 1]
    assert said[GONE == 1].min() > 0.9
    np.testing.assert_allclose(score(model, table), said, atol=1e-12)
    golden = pq.read_table(tmp_path / "models/m/versions/1/golden.parquet")
    assert golden["c"].null_count > 0


def test_a_model_that_tells_none_from_nan_and_does_not_say_which_is_refused(tmp_path: Path) -> None:
    labels = (MISSING["c"].isna()).astype(int)
    fitted = make_pipeline(FunctionTransformer(kinds_of_none), LogisticRegression()).fit(
        MISSING[["c"]], labels
    )
    data, table = dumped(fitted), records(MISSING).select(["c"])
    with pytest.raises(
        InputError, match="the model tells None from NaN in c: its signature must have `missing: nan`"
    ):
        written(tmp_path, data, table, BINARY, C)
    written(tmp_path, data, table, BINARY, msgspec.structs.replace(C, missing="nan"))
    np.testing.assert_allclose(
        score(loaded(tmp_path), table), fitted.predict_proba(MISSING[["c"]])[:, 1], atol=1e-12
    )


def test_a_model_that_tells_5_from_5_0_gets_whole_numbers_or_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": NUMBERS})
    steps = FunctionTransformer(as_text), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    fitted = make_pipeline(*steps).fit(frame, NUMBERS == 20)
    output = Output(kind="binary", classes=(False, True))
    with pytest.raises(InputError, match=r"n must be nullable: false: the model tells 5 from 5.0"):
        written(tmp_path, fitted, frame, output, N)
    manifest = written(tmp_path, fitted, frame, output, msgspec.structs.replace(N, nullable=False))
    assert manifest.signature.inputs[0].pandas == "int64"
    np.testing.assert_allclose(
        score(loaded(tmp_path), records(frame)), fitted.predict_proba(frame)[:, 1], atol=1e-12
    )


@pytest.mark.parametrize("kind", ["joblib", "lightgbm", "xgboost"])
def test_narrow_floats_are_rounded_as_in_the_fit(kind: Any, tmp_path: Path) -> None:
    """0.1 of a record is another number than the float32 that a model of float32 columns would see."""
    frame = pd.DataFrame({"a": np.repeat([0.1, 0.2, 0.3], 100).astype("float32")})
    late = (frame["a"] > np.float32(0.15)).astype(int)
    if kind == "joblib":
        model: Any = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, late)
        said = model.predict_proba(frame)[:, 1]
    elif kind == "lightgbm":
        model = lightgbm.train(QUIET, lightgbm.Dataset(frame, late), 5)
        said = model.predict(frame)
    else:
        model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(frame, late), 5)
        said = model.predict(xgboost.DMatrix(frame))
    manifest = written(tmp_path, model, frame, BINARY, A, kind=kind)
    assert manifest.signature.inputs[0].pandas == "float32"
    rows = pa.table({"a": np.repeat([0.1, 0.2, 0.3], 100)})
    np.testing.assert_allclose(score(loaded(tmp_path), rows), said, atol=1e-9 if kind != "xgboost" else 1e-6)


X = RNG.normal(size=(200, 2)).astype(np.float32)
PAIR = tuple(Input(name=name, type="double", nullable=False) for name in "ab")
DETECTORS = {
    "forest": lambda: IsolationForest(n_estimators=10, random_state=0),
    "forest with contamination": lambda: make_pipeline(
        StandardScaler(), IsolationForest(n_estimators=10, contamination=0.1, random_state=0)
    ),
    "one-class SVM": lambda: OneClassSVM(nu=0.1),
    "local outlier factor": lambda: LocalOutlierFactor(novelty=True),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_an_anomaly_score_is_one_number_in_each_format(name: str, tmp_path: Path) -> None:
    fitted = DETECTORS[name]().fit(X)
    graph = to_onnx(fitted, X[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    rows = pa.table({"a": X[:, 0].astype(float), "b": X[:, 1].astype(float)})
    written(tmp_path, fitted, rows, Output(kind="anomaly"), *PAIR)
    written(tmp_path, graph, rows, Output(kind="anomaly"), *PAIR, kind="onnx")
    said = -fitted.score_samples(X)
    np.testing.assert_allclose(score(loaded(tmp_path, 1), rows), said, rtol=1e-5)
    np.testing.assert_allclose(score(loaded(tmp_path, 2), rows), said, rtol=1e-4, atol=1e-4)


def test_an_isolation_forest_is_exported_with_its_scale(tmp_path: Path) -> None:
    fitted = IsolationForest(n_estimators=10, random_state=0).fit(X)
    rows = pa.table({"a": X[:, 0].astype(float), "b": X[:, 1].astype(float)})
    written(tmp_path, fitted, rows, Output(kind="anomaly"), *PAIR)
    export_onnx(Registry(tmp_path / "models"), "m", 1)
    np.testing.assert_allclose(score(loaded(tmp_path, 2), rows), -fitted.score_samples(X), atol=1e-5)


def test_a_graph_that_was_registered_before_keeps_its_scale() -> None:
    fitted = IsolationForest(n_estimators=10, random_state=0).fit(X)
    graph = to_onnx(fitted, X[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    signature = Signature(inputs=PAIR, output=Output(kind="anomaly"))
    model = formats.build("onnx", graph.SerializeToString(), signature)
    rows = pa.table({"a": X[:, 0].astype(float), "b": X[:, 1].astype(float)})
    np.testing.assert_allclose(score(model, rows), -fitted.decision_function(X), atol=1e-5)


def test_labels_that_are_whole_floats_are_integers(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(X, (X[:, 0] > 0).astype(float))
    rows = pa.table({"a": X[:, 0].astype(float), "b": X[:, 1].astype(float)})
    manifest, model = imported(tmp_path, "m.joblib", dumped(fitted), rows)
    assert manifest.signature.output.classes == (0, 1)
    assert model.predict(rows).prediction == fitted.predict(X.astype(float)).astype(int).tolist()
    with pytest.raises(ValueError, match=r"for the labels 0.0, 1.0 write \[0, 1\]"):
        Output(kind="binary", classes=(0.0, 1.0))  # type: ignore[arg-type]
    (tmp_path / "s.yaml").write_text(
        "inputs: [{name: a, type: double}]\noutput: {kind: binary, classes: [0.0, 1.0]}"
    )
    with pytest.raises(InputError, match=r"for labels such as 1.0 write 1"):
        read_signature(tmp_path / "s.yaml")


def test_an_input_that_is_never_null_takes_no_missing_value() -> None:
    """As MLflow's required integers: its own loader refuses what beside a missing value became floats."""
    booster = lightgbm.train(QUIET, lightgbm.Dataset(CODED[["a"]], LATE), 2)
    required = Signature(inputs=(msgspec.structs.replace(A, nullable=False),), output=BINARY)
    model = formats.build("lightgbm", booster.model_to_string().encode(), required)
    with pytest.raises(ModelError, match="a must not be missing: the model's signature says so"):
        model.predict(pa.table({"a": [0.5, None]}))


def golden(root: Path) -> pa.Table:
    return pq.read_table(root / "models/m/versions/1/golden.parquet")


def test_golden_rows_hold_nulls_each_category_and_what_the_library_says(tmp_path: Path) -> None:
    booster = lightgbm_booster()
    same = CODED.take([0, 0])
    written(tmp_path, booster, same, BINARY, N, A, C, kind="lightgbm")
    found = golden(tmp_path)
    assert set(found["n"].to_pylist()) == {None, *OF_N}
    assert set(found["c"].to_pylist()) == {None, *OF_C}
    assert None in found["a"].to_pylist()
    rows = found.select(["n", "a", "c"]).to_pylist()
    for name in ("n", "a", "c"):
        others = [tuple(row[key] for key in row if key != name) for row in rows]
        varied = {
            rest: {row[name] for row, own in zip(rows, others, strict=True) if own == rest} for rest in others
        }
        assert max(map(len, varied.values())) > 1, name
    frame = pd.DataFrame(
        {
            "n": pd.Categorical(found["n"].to_pylist(), categories=OF_N),
            "a": found["a"].to_pandas(),
            "c": pd.Categorical(found["c"].to_pylist(), categories=OF_C),
        }
    )
    np.testing.assert_allclose(found["expected.score"].to_numpy(), booster.predict(frame), atol=1e-12)


def test_golden_rows_that_cannot_tell_inputs_apart_are_refused(tmp_path: Path) -> None:
    one = pd.DataFrame({"c": ["x", "x"], "a": [1.0, 2.0]})
    never = msgspec.structs.replace(C, nullable=False)
    with pytest.raises(
        InputError, match=r"golden rows must have two values of c that the model takes.*got 'x' only"
    ):
        written(tmp_path, strings().fit(MISSING, GONE), one, BINARY, never, A)


def test_inputs_that_changed_places_are_refused(tmp_path: Path) -> None:
    """A model of a nameless matrix: the order of its columns is that of the maker's DataFrame alone."""
    frame = pd.DataFrame({"b": X[:, 1].astype(float), "a": X[:, 0].astype(float)})
    fitted = LinearRegression().fit(frame.to_numpy(), frame["a"] - 3 * frame["b"])
    with pytest.raises(InputError, match="jobs would not score it as its own library does: golden row"):
        written(tmp_path, fitted, frame, Output(kind="regression"), *PAIR)
    written(tmp_path, fitted, frame, Output(kind="regression"), *reversed(PAIR))


def test_a_model_that_always_says_the_same_is_registered(tmp_path: Path) -> None:
    """A base line. Nothing can go wrong with it, and no row tells its inputs apart."""
    rows = pa.table({"a": [1.0], "b": [1.0]})
    fitted = DummyClassifier(strategy="prior").fit(X, X[:, 0] > 0)
    written(tmp_path, fitted, rows, Output(kind="binary", classes=(False, True)), *PAIR)
    assert golden(tmp_path).num_rows > 1
