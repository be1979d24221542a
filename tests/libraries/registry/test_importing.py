"""Models from elsewhere become versions: files of all formats, and what MLflow itself saved."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.importing import add, complete, find
from flink_jobs.registry.serialize import serialized
from tests.helpers.foreign import (
    FRAME,
    LATE,
    NUMBERS,
    boosted,
    dumped,
    graph,
    plain_booster,
    register,
    table,
    with_imputer,
    xgboosted,
)
from udfs.errors import ModelError
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Lineage, Output
from udfs.model.signatures import Trust
from udfs.profile.reference import parse_reference

runner = CliRunner()
A, N = Input(name="a", type="double"), Input(name="n", type="long")
NAMED = Output(kind="binary", classes=("early", "late"))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pq.write_table(table(FRAME.assign(other=1)), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def frame_pipeline() -> Any:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["c"]), remainder="passthrough"
    )
    return make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=3)).fit(FRAME[["c", "a"]], LATE)


NEVER_A = Input(name="a", type="double", nullable=False)
NEVER_N = Input(name="n", type="long", nullable=False)
C = Input(name="c", type="string")
FILES: dict[str, tuple[str, Callable[[], bytes], list[Input], Output]] = {
    "joblib of a frame": ("model.joblib", lambda: dumped(frame_pipeline()), [C, A], NAMED),
    "joblib that takes no null": (
        "model.pkl",
        lambda: dumped(LogisticRegression().fit(NUMBERS, LATE)),
        [NEVER_A, NEVER_N],
        NAMED,
    ),
    "joblib anomaly": (
        "model.joblib",
        lambda: dumped(IsolationForest(n_estimators=5, random_state=0).fit(NUMBERS)),
        [A, N],
        Output(kind="anomaly"),
    ),
    "lightgbm with categories": (
        "model.txt",
        lambda: boosted().model_to_string().encode(),
        [A, N, Input(name="c", type="string", values=("y", "x"))],
        Output(kind="binary", classes=(0, 1)),
    ),
    "xgboost": (
        "model.ubj",
        lambda: bytes(xgboosted().get_booster().save_raw("ubj")),
        [A, N],
        Output(kind="regression"),
    ),
}


def catboosted() -> Any:
    """Categories are whole numbers, which must not become floats, and texts."""
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
    return model.fit(FRAME, LATE, cat_features=["n", "c"])


def catboosted_numbers() -> Any:
    import catboost

    model = catboost.CatBoostRegressor(iterations=3, verbose=False, allow_writing_files=False)
    return model.fit(NUMBERS, NUMBERS["a"])


def cbm(model: Any) -> bytes:
    return bytes(serialized(model, "catboost"))


# In the environment of scripts/formats_env, in which tests/processes/model runs these.
if find_spec("catboost"):
    FILES["catboost with categories"] = (
        "model.cbm",
        lambda: cbm(catboosted()),
        [
            A,
            Input(name="n", type="long", nullable=False, pandas="int64"),
            Input(name="c", type="string", nullable=False),
        ],
        NAMED,
    )


@pytest.mark.parametrize("case", FILES)
def test_a_file_tells_its_inputs_and_output(case: str, tmp_path: Path, rows: Path) -> None:
    file, make, inputs, output = FILES[case]
    (tmp_path / file).write_bytes(make())
    command = ["models", "import", "m", str(tmp_path / file), "--rows", str(rows), "--json"]
    result = runner.invoke(app, [*command, "--registry", str(tmp_path / "models")])
    assert result.exit_code == 0, result.output + str(result.exception)
    loaded = load_version(tmp_path / "models" / "m" / "versions" / "1")
    assert list(loaded.manifest.signature.inputs) == inputs
    assert loaded.manifest.signature.output == output
    assert json.loads(result.output)[0]["digest"] == loaded.digest
    assert loaded.manifest.training == {"imported": file}
    assert parse_reference(loaded.profile).rows == len(FRAME)


def test_an_onnx_graph_of_one_matrix_takes_the_columns_of_the_rows(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(graph())
    ready = complete(find(tmp_path / "m.onnx"), rows=pa.Table.from_pandas(NUMBERS))
    assert ready.signature.inputs == (A, N)
    assert ready.signature.output == NAMED
    manifest = add(Registry(tmp_path), "m", ready)
    assert load_version(tmp_path / "m" / "versions" / "1").manifest == manifest


def saved(flavor: str, model: Any, folder: Path, **more: Any) -> Path:
    """What MLflow itself writes."""
    import importlib

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"mlflow.{flavor}").save_model(
            model, str(folder), pip_requirements=[], **more
        )
    return folder


def signed(frame: pd.DataFrame) -> dict[str, Any]:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    kinds = {"a": "double", "n": "long", "c": "string"}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(kinds[name], name, required=name != "n") for name in frame.columns
    ]
    return {"signature": ModelSignature(Schema(columns)), "input_example": frame.head(20)}


SKOPS = {"serialization_format": "skops", "skops_trusted_types": ["numpy.dtype"]}
MLFLOW: dict[str, tuple[str, Callable[[], Any], pd.DataFrame, dict[str, Any], str]] = {
    "cloudpickle": ("sklearn", with_imputer, NUMBERS, {"serialization_format": "cloudpickle"}, "joblib"),
    "skops": ("sklearn", with_imputer, NUMBERS, SKOPS, "skops"),
    "booster": ("lightgbm", plain_booster, NUMBERS, {}, "lightgbm"),
    "xgboost": ("xgboost", xgboosted, NUMBERS, {}, "xgboost"),
}


if find_spec("catboost"):
    MLFLOW["catboost"] = ("catboost", catboosted_numbers, NUMBERS, {}, "catboost")


@pytest.mark.parametrize("case", MLFLOW)
def test_what_mlflow_saved_is_imported_with_its_signature(case: str, tmp_path: Path) -> None:
    flavor, make, frame, more, kind = MLFLOW[case]
    model = make()
    folder = saved(flavor, model, tmp_path / "mlflow", **signed(frame), **more)
    result = runner.invoke(app, ["models", "import", "m", str(folder), "--registry", str(tmp_path)])
    assert result.exit_code == 0, result.output + str(result.exception)
    loaded = load_version(tmp_path / "m" / "versions" / "1")
    assert loaded.manifest.format == kind
    assert loaded.manifest.signature.inputs == (NEVER_A, N)
    assert loaded.manifest.training["imported"] == f"MLflow {flavor}"
    inputs = pa.Table.from_pandas(frame, preserve_index=False)
    scored = loaded.model.predict(inputs.replace_schema_metadata(None))
    np.testing.assert_allclose(
        model.predict_proba(frame)[:, 1] if flavor == "sklearn" else model.predict(frame),
        np.asarray(scored.score if flavor == "sklearn" else scored.prediction),
        rtol=1e-5,
    )


def own_function() -> Any:
    """A maker's own model, which only MLflow can load: a class of a script, pickled by its value."""
    import mlflow.pyfunc

    class Doubled(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input["small"].fillna(0.0) * 2 + model_input["n"] + (model_input["c"] == "x")

    return Doubled()


def test_a_function_of_mlflow_is_imported_and_called_by_mlflow(tmp_path: Path) -> None:
    """The adversary is MLflow's own check of dtypes, which takes no float64 for a float."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns: list[Any] = [
        ColSpec("float", "small", required=False),
        ColSpec("integer", "n"),
        ColSpec("string", "c", required=False),
    ]
    told = ModelSignature(Schema(columns), Schema([ColSpec("double")]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(tmp_path / "mlflow"), python_model=own_function(), signature=told, pip_requirements=[]
        )
    frame = FRAME.rename(columns={"a": "small"})
    pq.write_table(table(frame), tmp_path / "rows.parquet")
    command = ["models", "import", "m", str(tmp_path / "mlflow"), "--rows", str(tmp_path / "rows.parquet")]
    result = runner.invoke(app, [*command, "--registry", str(tmp_path)])
    assert result.exit_code == 0, result.output + str(result.exception)
    loaded = load_version(tmp_path / "m" / "versions" / "1")
    assert loaded.manifest.format == "pyfunc"
    assert loaded.manifest.training["imported"] == "MLflow python_function"
    assert loaded.manifest.signature.output == Output(kind="regression")
    own = mlflow.pyfunc.load_model(str(tmp_path / "mlflow"))
    typed = frame.astype({"small": "float32", "n": "int32"})
    typed.loc[::3, ["small", "c"]] = np.nan
    rows = table(frame.assign(small=typed["small"].astype("float64"), c=typed["c"]))
    np.testing.assert_array_equal(np.asarray(loaded.model.predict(rows).prediction), own.predict(typed))
    with pytest.raises(ModelError, match="n must not be missing"):
        loaded.model.predict(rows.set_column(1, "n", pa.nulls(len(frame), pa.int64())))
    with pytest.raises(ModelError, match="format without pickles, as the job refuses them; got pyfunc"):
        load_version(tmp_path / "m" / "versions" / "1", trust=Trust(pickles=False))


def test_a_function_of_mlflow_without_a_signature_of_columns_is_refused(tmp_path: Path) -> None:
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=own_function(), pip_requirements=[])
    with pytest.raises(InputError, match="must have an MLflow signature of named columns: save it with one"):
        complete(find(tmp_path / "m"), rows=table(FRAME))


def test_the_libraries_of_what_mlflow_saved_are_its_makers(tmp_path: Path) -> None:
    """MLflow writes them down: in MLmodel, and as requirements, of which only exact ones are versions."""
    folder = saved("sklearn", with_imputer(), tmp_path / "mlflow", **signed(NUMBERS), **SKOPS)
    (folder / "requirements.txt").write_text("numpy==1.26.4\nscikit-learn==1.5.2\npandas>=2\nother==1\n")
    text = (folder / "MLmodel").read_text()
    text = re.sub(r"sklearn_version: .*", "sklearn_version: 1.5.2", text)
    (folder / "MLmodel").write_text(re.sub(r"python_version: .*", "python_version: 3.10.1", text))
    result = runner.invoke(app, ["models", "import", "m", str(folder), "--registry", str(tmp_path)])
    assert result.exit_code == 0, result.output + str(result.exception)
    found = load_version(tmp_path / "m" / "versions" / "1").manifest.libraries
    assert found == {"numpy": "1.26.4", "python": "3.10.1", "scikit-learn": "1.5.2"}
    assert "made with numpy 1.26.4, here is " in result.stderr


def test_a_required_integer_of_mlflow_takes_no_missing_value(tmp_path: Path) -> None:
    """MLflow's own loader refuses it: beside a missing value pandas makes floats of integers."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    columns: list[Any] = [ColSpec("double", "a", required=False), ColSpec("long", "n", required=True)]
    told = {"signature": ModelSignature(Schema(columns)), "input_example": NUMBERS.head(20)}
    folder = saved("lightgbm", plain_booster(), tmp_path / "mlflow", **told)
    add(Registry(tmp_path), "m", complete(find(folder)))
    loaded = load_version(tmp_path / "m" / "versions" / "1")
    assert loaded.manifest.signature.inputs == (A, NEVER_N)
    with pytest.raises(ModelError, match="n must not be missing: the model's signature says so"):
        loaded.model.predict(pa.table({"a": [0.5], "n": pa.nulls(1, pa.int64())}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "flavors: {spark: {}}",
            "of the flavors sklearn, lightgbm, xgboost, catboost, onnx, python_function; got spark",
        ),
        ("[", "must be YAML that MLflow wrote"),
        ("flavors: {sklearn: {pickled_model: ../x}}", "must name a model file inside its folder; got '../x'"),
        ("flavors: {sklearn: {pickled_model: no.pkl}}", "no.pkl cannot be read: No such file"),
        ("a: 1", "must have flavors"),
        (
            'flavors: {onnx: {data: MLmodel}}\nsignature: {inputs: \'[{"type": "datetime", "name": "t"}]\'}',
            "the input t must be one of double, .*; got 'datetime'; give a --signature",
        ),
    ],
)
def test_mlflow_folders_that_cannot_be_imported(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(InputError, match=message):
        find(tmp_path)


ROWS = ("--rows", "rows.parquet")
SIGNATURE = """
inputs:
  - {name: a, type: double}
  - {name: n, type: long, nullable: false}
output: {kind: binary, classes: [early, late]}
"""


def test_a_file_is_registered_with_its_signature_and_lineage(tmp_path: Path, rows: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(dumped(with_imputer()))
    (tmp_path / "signature.yaml").write_text(SIGNATURE)
    command = ["models", "register", "m", str(tmp_path / "m.joblib"), "--rows", str(rows)]
    command += ["--signature", str(tmp_path / "signature.yaml"), "--registry", str(tmp_path / "models")]
    told = ["--metric", "auc=0.9", "--param", "depth=3", "--data", "d1", "--commit", "c0ffee", "--onnx"]
    result = runner.invoke(app, [*command, *told])
    assert result.exit_code == 0, result.output + str(result.exception)
    registry = Registry(tmp_path / "models")
    first, second = registry.manifest("m", 1), registry.manifest("m", 2)
    assert first.signature.inputs == (A, NEVER_N)
    assert first.metrics == second.metrics == {"auc": 0.9}
    assert first.lineage == Lineage(data="d1", code="c0ffee", parameters={"depth": "3"})
    assert second.lineage == Lineage(data="d1", code="c0ffee", parameters={"depth": "3"}, parent=1)
    assert (second.format, second.signature) == ("onnx", first.signature)
    assert "m version 2 (onnx, binary): sha256:" in result.output
    again = runner.invoke(app, [*command, "--parent", "2"])
    assert again.exit_code == 0
    assert registry.manifest("m", 3).lineage == Lineage(parent=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "m", "m.xyz"], "m.xyz must end in one of .joblib, .*, or --format be given; got '.xyz'"),
        (["import", "m", "m.joblib", "--format", "jobli"], "--format must be one of joblib, .*; got 'jobli'"),
        (["import", "m", "."], "it has no MLmodel"),
        (["import", "m", "m.joblib"], "example rows must be given with --rows"),
        (
            ["import", "m", "gone.joblib", "--rows", "rows.parquet"],
            "gone.joblib cannot be read: No such file",
        ),
        (
            ["import", "m", "m.joblib", "--rows", "few.csv"],
            r"must have the model's inputs; n is not in \['a'\]",
        ),
        (["import", "m", "m.joblib", "--rows", "text.csv"], "cannot be registered|the input|cannot score"),
        (["import", "m", "m.txt", "--rows", "rows.parquet"], "the lightgbm model cannot be loaded"),
        (
            ["import", "m", "m.joblib", "--rows", "rows.parquet", "--metric", "auc"],
            "--metric must be NAME=VALUE",
        ),
        (
            ["register", "m", "m.joblib", "--rows", "rows.parquet", "--signature", "few.csv"],
            "must be a signature",
        ),
        (["export", "m", "1"], "model m is not in"),
    ],
)
def test_what_cannot_be_imported_is_said(
    arguments: list[str], message: str, tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.joblib").write_bytes(dumped(LogisticRegression().fit(NUMBERS, LATE)))
    Path("m.txt").write_text("no booster")
    Path("m.xyz").touch()
    Path("few.csv").write_text("a\n1.0\n")
    Path("text.csv").write_text("a,n\nx,y\n")
    result = runner.invoke(app, ["models", *arguments, "--registry", "models"])
    assert isinstance(result.exception, InputError), result.output

    assert re.search(message, str(result.exception)), str(result.exception)
    assert not Path("models").exists()


def test_golden_rows_are_spread_over_the_rows(tmp_path: Path) -> None:
    model = LinearRegression().fit(FRAME[["a"]], FRAME["a"])
    registry = Registry(tmp_path / "models")
    register(registry, model, pd.DataFrame({"a": np.arange(1000.0)}), tmp_path)
    golden = pq.read_table(registry.folder("m", 1) / "golden.parquet")["a"].to_pylist()
    assert (golden[0], golden[99], len(np.unique(golden[:100]))) == (0.0, 999.0, 100)
