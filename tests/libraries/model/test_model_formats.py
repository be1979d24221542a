"""One contract over all model formats and kinds of output, and the models that do not fit their signature."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.serialize import serialized
from tests.helpers.traps import Doubling
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.format_table import Format
from udfs.model.formats import keras_zip
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Output, Signature
from udfs.model.signatures import Trust

NAMES = ("early", "late", "never")
A, B = Input(name="a", type="double"), Input(name="b", type="double")
LONG, FLAG = Input(name="n", type="long"), Input(name="f", type="boolean")
TEXT, CODED = Input(name="c", type="string"), Input(name="c", type="string", values=("z", "x", "y"))


def rows(inputs: tuple[Input, ...], seed: int = 1, count: int = 100) -> pa.Table:
    """Rows with nulls in every nullable column and categories that no model was fitted on."""
    rng = np.random.default_rng(seed)
    make: dict[str, Callable[[], list[Any]]] = {
        "double": lambda: rng.normal(size=count).tolist(),
        "long": lambda: rng.integers(-5, 5, count).tolist(),
        "string": lambda: rng.choice(["x", "y", "z", "unseen"], count).tolist(),
        "boolean": lambda: rng.choice([True, False], count).tolist(),
    }
    table = {}
    for item in inputs:
        missing = rng.random(count) < (0.2 if item.nullable else 0)
        values = make[item.type]()
        table[item.name] = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    return pa.table(table, schema=Signature(inputs=inputs, output=Output(kind="regression")).schema())


def library_frame(table: pa.Table) -> pd.DataFrame:
    """What a user would fit on: pandas floats, and categories in the manifest's order."""
    frame: pd.DataFrame = table.to_pandas()
    for name in frame.columns.intersection(["a", "b", "n", "f"]):
        frame[name] = frame[name].astype("float64")
    if "c" in frame:
        frame["c"] = pd.Categorical(frame["c"], categories=CODED.values)
    return frame


@dataclass(frozen=True)
class Trained:
    """A fitted model, and what its own library predicts: probabilities, numbers or anomaly scores."""

    model: Any
    oracle: Callable[[pa.Table], Any]


def target(kind: str, count: int = 300) -> Any:
    signal = rows((A, B), 0, count).to_pandas().fillna(0).sum(axis=1).to_numpy()
    if kind == "regression":
        return signal
    return np.digitize(signal, [0.0] if kind == "binary" else [-0.7, 0.7])


def sklearn_numbers(inputs: tuple[Input, ...], kind: str) -> Trained:
    x = np.asarray(rows(inputs, 0, 300).to_pandas().astype("float64"))
    y = np.asarray(NAMES)[target(kind)] if kind != "regression" else target(kind)
    estimator = LinearRegression() if kind == "regression" else LogisticRegression()
    fitted = make_pipeline(SimpleImputer(), estimator).fit(x, y)
    method = fitted.predict if kind == "regression" else fitted.predict_proba
    return Trained(fitted, lambda table: method(np.asarray(table.to_pandas().astype("float64"))))


def sklearn_frame(inputs: tuple[Input, ...], kind: str) -> Trained:
    def frame(table: pa.Table) -> pd.DataFrame:
        typed: pd.DataFrame = table.to_pandas().astype({"a": "float64", "n": "float64"})
        return typed

    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["c", "f"]), remainder="passthrough"
    )
    table = rows(inputs, 0, 300)
    known = table.set_column(
        2, "c", pa.array([v if v != "unseen" else "x" for v in table["c"].to_pylist()], pa.string())
    )
    boosting = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    fitted = make_pipeline(encoder, boosting).fit(frame(known), np.asarray(NAMES)[target(kind)])
    return Trained(fitted, lambda table: fitted.predict_proba(frame(table)))


def sklearn_anomaly(inputs: tuple[Input, ...], kind: str) -> Trained:
    fitted = IsolationForest(n_estimators=5, random_state=0, n_jobs=2).fit(
        np.asarray(rows(inputs, 0).to_pandas())
    )
    return Trained(fitted, lambda table: -fitted.score_samples(np.asarray(table.to_pandas())))


def sklearn_lightgbm(inputs: tuple[Input, ...], kind: str) -> Trained:
    x = np.asarray(rows(inputs, 0, 300).to_pandas())
    fitted = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1).fit(
        x, np.asarray(NAMES)[target(kind)]
    )
    return Trained(fitted, lambda table: fitted.booster_.predict(np.asarray(table.to_pandas())))


def lightgbm_booster(inputs: tuple[Input, ...], kind: str) -> Trained:
    parameters = {"objective": kind, "verbose": -1, "num_threads": 1}
    if kind == "multiclass":
        parameters["num_class"] = 3
    data = lightgbm.Dataset(library_frame(rows(inputs, 0, 300)), target(kind))
    booster = lightgbm.train(parameters, data, 5)
    return Trained(booster, lambda table: booster.predict(library_frame(table)))


def xgboost_booster(inputs: tuple[Input, ...], kind: str) -> Trained:
    objectives = {
        "binary": "binary:logistic",
        "multiclass": "multi:softprob",
        "regression": "reg:squarederror",
    }
    parameters: dict[str, Any] = {"objective": objectives[kind], "nthread": 1}
    if kind == "multiclass":
        parameters["num_class"] = 3

    def matrix(table: pa.Table, y: Any = None) -> xgboost.DMatrix:
        return xgboost.DMatrix(library_frame(table), y, enable_categorical=True)

    booster = xgboost.train(parameters, matrix(rows(inputs, 0, 300), target(kind)), 5)
    return Trained(booster, lambda table: booster.predict(matrix(table)))


def onnx_matrix(zipmap: bool) -> Callable[[tuple[Input, ...], str], Trained]:
    def train(inputs: tuple[Input, ...], kind: str) -> Trained:
        def matrix(table: pa.Table) -> Any:
            return np.asarray(table.to_pandas(), dtype=np.float32)

        x = matrix(rows(inputs, 0, 300))
        if kind == "regression":
            fitted = make_pipeline(SimpleImputer(), LinearRegression()).fit(x, target(kind))
            return Trained(to_onnx(fitted, x[:1]), lambda table: fitted.predict(matrix(table)))
        forest = RandomForestClassifier(5, max_depth=4, random_state=0)
        fitted = make_pipeline(SimpleImputer(), forest).fit(x, np.asarray(NAMES)[target(kind)])
        graph = to_onnx(fitted, x[:1], options={id(forest): {"zipmap": zipmap}})
        return Trained(graph, lambda table: fitted.predict_proba(matrix(table)))

    return train


def onnx_columns(inputs: tuple[Input, ...], kind: str) -> Trained:
    def frame(table: pa.Table) -> pd.DataFrame:
        typed: pd.DataFrame = table.to_pandas().astype({"a": "float32"}).fillna({"c": ""})
        return typed

    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["c"]), (SimpleImputer(), ["a"])
    )
    logistic = LogisticRegression()
    fitted = make_pipeline(encoder, logistic).fit(
        frame(rows(inputs, 0, 300)), np.asarray(NAMES)[target(kind)]
    )
    types = [("a", FloatTensorType([None, 1])), ("c", StringTensorType([None, 1]))]
    graph = to_onnx(fitted, initial_types=types, options={id(logistic): {"zipmap": False}})
    return Trained(graph, lambda table: fitted.predict_proba(frame(table)))


def onnx_anomaly(inputs: tuple[Input, ...], kind: str) -> Trained:
    x = np.asarray(rows(inputs, 0).to_pandas(), dtype=np.float32)
    fitted = IsolationForest(n_estimators=5, random_state=0).fit(x)
    graph = to_onnx(fitted, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
    return Trained(graph, lambda table: -fitted.score_samples(np.asarray(table.to_pandas(), np.float32)))


def network_rows(table: pa.Table) -> Any:
    """Floats and codes as one matrix, as the formats make it."""
    columns = [
        [CODED.values.index(v) if v in CODED.values else np.nan for v in column]
        if name == "c"
        else column.astype("float64")
        for name, column in table.to_pandas().items()
    ]
    return np.column_stack(columns).astype(np.float32)


def torch_program(inputs: tuple[Input, ...], kind: str) -> Trained:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    count = {"binary": 2, "multiclass": 3, "regression": 1}[kind]

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(len(inputs), count)

        def forward(self, rows: Any) -> Any:
            values = self.layer(torch.nan_to_num(rows))
            return values if kind == "regression" else torch.softmax(values, 1)

    network = Network().eval()
    example = torch.zeros(4, len(inputs))
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))

    def oracle(table: pa.Table) -> Any:
        found = network(torch.from_numpy(network_rows(table))).detach().numpy()
        return found[:, 0] if kind == "regression" else found

    return Trained(program, oracle)


def keras_model(inputs: tuple[Input, ...], kind: str) -> Trained:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("could not import 'keras'")
    keras = keras_zip.import_keras()
    keras.utils.set_random_seed(0)
    units, activation = {
        "binary": (1, "sigmoid"),
        "multiclass": (3, "softmax"),
        "regression": (1, "linear"),
    }[kind]
    layers = [keras.layers.Input((len(inputs),)), keras.layers.Dense(units, activation=activation)]
    model = keras.Sequential(layers)

    def oracle(table: pa.Table) -> Any:
        found = model.predict(network_rows(table), verbose=0)
        if kind == "binary":
            return np.column_stack([1 - found, found])
        return found if kind == "multiclass" else found[:, 0]

    return Trained(model, oracle)


def catboost_model(inputs: tuple[Input, ...], kind: str) -> Trained:
    """Of numbers without names, or of a DataFrame with a category, which is never missing."""
    import catboost

    def rows_of(table: pa.Table) -> Any:
        frame: pd.DataFrame = table.to_pandas()
        if "c" in frame:
            return frame.astype({"a": "float64"})
        return frame.to_numpy("float64")

    options = {"iterations": 5, "thread_count": 1, "verbose": False, "allow_writing_files": False}
    made = catboost.CatBoostRegressor if kind == "regression" else catboost.CatBoostClassifier
    y = target(kind) if kind == "regression" else np.asarray(NAMES)[target(kind)]
    categories = ["c"] if any(item.name == "c" for item in inputs) else None
    fitted = made(**options).fit(rows_of(rows(inputs, 0, 300)), y, cat_features=categories)
    method = fitted.predict if kind == "regression" else fitted.predict_proba
    return Trained(fitted, lambda table: method(rows_of(table)))


WHOLE_A = Input(name="a", type="double", nullable=False)
WHOLE_B = Input(name="b", type="double", nullable=False)
WHOLE_TEXT = Input(name="c", type="string", nullable=False)
CASES: dict[str, tuple[Format, str, tuple[Input, ...], Callable[[tuple[Input, ...], str], Trained]]] = {
    "joblib binary matrix": ("joblib", "binary", (A, B, LONG, FLAG), sklearn_numbers),
    "joblib multiclass matrix": ("joblib", "multiclass", (A, B), sklearn_numbers),
    "joblib regression matrix": ("joblib", "regression", (A, B), sklearn_numbers),
    "joblib binary frame": ("joblib", "binary", (A, LONG, TEXT, FLAG), sklearn_frame),
    "joblib multiclass frame": ("joblib", "multiclass", (A, LONG, TEXT, FLAG), sklearn_frame),
    "skops binary matrix": ("skops", "binary", (A, B, LONG, FLAG), sklearn_numbers),
    "skops regression matrix": ("skops", "regression", (A, B), sklearn_numbers),
    "skops multiclass frame": ("skops", "multiclass", (A, LONG, TEXT, FLAG), sklearn_frame),
    "skops anomaly": ("skops", "anomaly", (WHOLE_A, WHOLE_B), sklearn_anomaly),
    "joblib anomaly": ("joblib", "anomaly", (WHOLE_A, WHOLE_B), sklearn_anomaly),
    "joblib of lightgbm": ("joblib", "multiclass", (A, B), sklearn_lightgbm),
    "lightgbm binary": ("lightgbm", "binary", (A, LONG, CODED, FLAG), lightgbm_booster),
    "lightgbm multiclass": ("lightgbm", "multiclass", (A, CODED), lightgbm_booster),
    "lightgbm regression": ("lightgbm", "regression", (A, B, CODED), lightgbm_booster),
    "xgboost binary": ("xgboost", "binary", (A, LONG, CODED), xgboost_booster),
    "xgboost multiclass": ("xgboost", "multiclass", (A, CODED), xgboost_booster),
    "xgboost regression": ("xgboost", "regression", (A, B, CODED), xgboost_booster),
    "onnx binary tensor": ("onnx", "binary", (A, B), onnx_matrix(False)),
    "onnx binary zipmap": ("onnx", "binary", (A, B), onnx_matrix(True)),
    "onnx multiclass tensor": ("onnx", "multiclass", (A, B), onnx_matrix(False)),
    "onnx multiclass zipmap": ("onnx", "multiclass", (A, B), onnx_matrix(True)),
    "onnx regression": ("onnx", "regression", (A, B), onnx_matrix(False)),
    "onnx columns": ("onnx", "binary", (A, TEXT), onnx_columns),
    "torch binary": ("torch", "binary", (A, LONG, CODED), torch_program),
    "torch multiclass": ("torch", "multiclass", (A, B), torch_program),
    "torch regression": ("torch", "regression", (A, B), torch_program),
    "keras binary": ("keras", "binary", (WHOLE_A, WHOLE_B), keras_model),
    "keras multiclass": ("keras", "multiclass", (WHOLE_A, WHOLE_B), keras_model),
    "keras regression": ("keras", "regression", (WHOLE_A, WHOLE_B), keras_model),
    "onnx anomaly": ("onnx", "anomaly", (WHOLE_A, WHOLE_B), onnx_anomaly),
}


# In the environment of scripts/formats_env, in which tests/processes/model runs these.
if importlib.util.find_spec("catboost"):
    CASES |= {
        "catboost binary": ("catboost", "binary", (A, B), catboost_model),
        "catboost binary frame": ("catboost", "binary", (A, WHOLE_TEXT), catboost_model),
        "catboost multiclass": ("catboost", "multiclass", (A, B, FLAG), catboost_model),
        "catboost regression": ("catboost", "regression", (A, LONG), catboost_model),
    }


def signature(kind: Any, inputs: tuple[Input, ...]) -> Signature:
    classes = {"binary": NAMES[:2], "multiclass": NAMES}.get(kind, ())
    return Signature(inputs=inputs, output=Output(kind=kind, classes=classes))


def write(root: Path, trained: Trained, kind: Any, inputs: tuple[Input, ...], format: Any = "joblib") -> Path:  # noqa: A002
    registry = Registry(root)
    manifest = registry.write_version(
        "m",
        model=trained.model,
        format=format,
        signature=signature(kind, inputs),
        golden_inputs=rows(inputs, 2, 20),
        profile={},
        metrics={},
        training={},
    )
    return registry.folder("m", manifest.version)


@pytest.mark.parametrize("case", CASES)
def test_contract(case: str, tmp_path: Path) -> None:
    format, kind, inputs, train = CASES[case]  # noqa: A001
    trained = train(inputs, kind)
    loaded = load_version(write(tmp_path, trained, kind, inputs, format))
    table = rows(inputs)
    scored = loaded.model.predict(table)
    expected = np.asarray(trained.oracle(table))
    if kind == "binary":
        expected = expected[:, 1] if expected.ndim == 2 else expected
        assert scored.score is not None
        np.testing.assert_allclose(scored.score, expected, atol=2e-6)
        assert scored.prediction == [NAMES[int(p >= 0.5)] for p in scored.score]
        assert set(scored.prediction) == set(NAMES[:2])
    elif kind == "multiclass":
        assert scored.probabilities is not None
        np.testing.assert_allclose(scored.probabilities, expected, atol=2e-6)
        assert scored.prediction == [NAMES[i] for i in scored.probabilities.argmax(axis=1)]
        assert scored.score is None
    elif kind == "regression":
        np.testing.assert_allclose(np.asarray(scored.prediction), expected.ravel(), atol=2e-6)
    else:
        assert scored.score is not None
        np.testing.assert_allclose(scored.score, expected.ravel(), atol=2e-6)
        flagged = scored.score[np.asarray(scored.prediction)]
        assert 0 < len(flagged) < len(expected)
        assert flagged.min() > scored.score[~np.asarray(scored.prediction)].max()
    assert type(scored.prediction[0]) is {"regression": float, "anomaly": bool}.get(kind, str)


@pytest.mark.parametrize("case", CASES)
def test_batches_do_not_change_predictions(case: str) -> None:
    format, kind, inputs, train = CASES[case]  # noqa: A001
    model = formats.build(format, serialized(train(inputs, kind).model, format), signature(kind, inputs))
    table = rows(inputs)
    whole = model.predict(table)
    for sizes in ([0, 1, 0, 1, 98], [7] * 14 + [2], [100]):
        starts = np.cumsum([0, *sizes[:-1]])
        parts = [model.predict(table.slice(i, size)) for i, size in zip(starts, sizes, strict=True)]
        predictions = [value for part in parts for value in part.prediction]
        if kind == "regression":
            np.testing.assert_allclose(np.asarray(predictions), np.asarray(whole.prediction), rtol=1e-6)
        else:
            assert predictions == list(whole.prediction)
        for name in ("score", "probabilities"):
            if getattr(whole, name) is not None:
                joined = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-6)


def dumped(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:overflow encountered")  # by scikit-learn, which the test asks for
def test_output_that_is_not_finite_is_an_error() -> None:
    model = LinearRegression()
    model.coef_, model.intercept_, model.n_features_in_ = np.array([1e308]), 0.0, 1
    built = formats.build("joblib", dumped(model), signature("regression", (A,)))
    assert built.predict(pa.table({"a": [1.0]})).prediction == [1e308]
    with pytest.raises(ModelError, match="output must be finite; got inf"):
        built.predict(pa.table({"a": [1.0, 10.0]}))


def numbered_forest(zipmap: bool) -> bytes:
    return bytes(onnx_matrix(zipmap)((A, B), "binary").model.SerializeToString())


def booster_text(kind: str) -> bytes:
    return str(lightgbm_booster((A, B), kind).model.model_to_string()).encode()


MISFITS: dict[str, tuple[Format, Callable[[], bytes], Signature, str]] = {
    "no probabilities": (
        "joblib",
        lambda: dumped(LinearSVC().fit([[0.0], [1.0]], ["early", "late"])),
        signature("binary", (A,)),
        "must have the method predict_proba; LinearSVC has none; wrap it in CalibratedClassifierCV",
    ),
    "other columns": (
        "joblib",
        lambda: dumped(LinearRegression().fit(pd.DataFrame({"q": [0.0, 1.0]}), [0, 1])),
        signature("regression", (A,)),
        r"fitted with, in order: \['q'\]; got \['a'\]",
    ),
    "lightgbm columns": (
        "lightgbm",
        lambda: booster_text("binary"),
        signature("binary", (B, A)),
        r"in order: \['a', 'b'\]; got \['b', 'a'\]",
    ),
    "lightgbm objective": (
        "lightgbm",
        lambda: booster_text("regression"),
        signature("binary", (A, B)),
        "objective must fit a binary output; got regression",
    ),
    "lightgbm no codes": (
        "lightgbm",
        lambda: booster_text("binary"),
        signature("binary", (A, TEXT)),
        "string input c must have values",
    ),
    "xgboost objective": (
        "xgboost",
        lambda: bytes(xgboost_booster((A, B), "binary").model.save_raw("json")),
        signature("regression", (A, B)),
        "objective must fit a regression output; got binary:logistic",
    ),
    "onnx inputs": (
        "onnx",
        lambda: numbered_forest(False),
        signature("binary", (A, B, LONG)),
        "must have 2 inputs as the model does; got 3",
    ),
    "onnx classes turned": (
        "onnx",
        lambda: numbered_forest(True),
        Signature(inputs=(A, B), output=Output(kind="binary", classes=("late", "early"))),
        "classes must be in the graph's order",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_model_that_does_not_fit_its_signature_is_refused(name: str) -> None:
    format, make, wanted, message = MISFITS[name]  # noqa: A001
    with pytest.raises(ModelError, match=message):
        formats.build(format, make(), wanted).predict(rows(wanted.inputs))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Output(kind="binary", classes=("a",)), "must be 2 for a binary output; got 1"),
        (lambda: Output(kind="regression", classes=("a", "b")), "must be empty for a regression output"),
        (lambda: Output(kind="multiclass", classes=("a", "a", "b")), "must be distinct"),
        (
            lambda: Input(name="a", type="double", values=("x",)),
            "values of a must each be a double, as the input is; got .x.",
        ),
        (lambda: Signature(inputs=(A, A), output=Output(kind="regression")), "distinct; repeated: a"),
        (lambda: Signature(inputs=(), output=Output(kind="regression")), "inputs must not be empty"),
    ],
)
def test_signatures_that_make_no_sense_are_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def register_doubling(root: Path, **more: Any) -> Path:
    registry = Registry(root)
    manifest = registry.write_version(
        "m",
        model=Doubling().fit([[0.0], [1.0]], [0.0, 1.0]),
        format="skops",
        signature=signature("regression", (WHOLE_A,)),
        golden_inputs=pa.table({"a": [1.0]}),
        profile={},
        metrics={},
        training={},
        **more,
    )
    return registry.folder("m", manifest.version)


def test_a_skops_model_holds_only_types_that_the_manifest_trusts(tmp_path: Path) -> None:
    name = f"{Doubling.__module__}.Doubling"
    with pytest.raises(InputError, match=rf"or in trusted_types \(none\); got {name}"):
        register_doubling(tmp_path)
    folder = register_doubling(tmp_path, trusted_types=[name])
    loaded = load_version(folder)
    assert loaded.manifest.trusted_types == (name,)
    assert loaded.model.predict(pa.table({"a": [2.0]})).prediction == pytest.approx([4.0])
    with pytest.raises(ModelError, match=f"as the job refuses pickles; its manifest trusts {name}"):
        load_version(folder, trust=Trust(pickles=False))


def test_a_keras_model_with_code_in_it_is_refused(tmp_path: Path) -> None:
    keras_model((WHOLE_A,), "regression")
    keras = keras_zip.import_keras()
    layers = [keras.layers.Input((1,)), keras.layers.Lambda(lambda rows: rows * 2)]
    keras.Sequential(layers).save(tmp_path / "lambda.keras")
    data = (tmp_path / "lambda.keras").read_bytes()
    with pytest.raises(ModelError, match=r"the keras model cannot be loaded: .*[Ll]ambda"):
        formats.build("keras", data, signature("regression", (WHOLE_A,)))


def test_a_torch_program_unpickles_so_that_jobs_can_refuse_it(tmp_path: Path) -> None:
    inputs = (A, B)
    folder = write(tmp_path, torch_program(inputs, "binary"), "binary", inputs, "torch")
    with pytest.raises(ModelError, match="as the job refuses them; got torch"):
        load_version(folder, trust=Trust(pickles=False))


@pytest.mark.parametrize(("name", "train"), [("torch", torch_program), ("keras", keras_model)])
def test_networks_that_do_not_fit_are_refused(name: Any, train: Any) -> None:
    data = serialized(train((A, B), "binary").model, name)
    with pytest.raises(ModelError, match="must have 2 inputs as the model does; got 3"):
        formats.build(name, data, signature("binary", (A, B, LONG)))
    with pytest.raises(ModelError, match="the signature says anomaly"):
        formats.build(name, data, signature("anomaly", (A, B)))
    with pytest.raises(ModelError, match="shape"):
        formats.build(name, data, signature("multiclass", (A, B))).predict(rows((A, B)))
