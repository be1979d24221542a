"""Import tells why a model is none that can be imported, each cause by its own words.

The adversaries are the makers' notebooks, where the model does work.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops
from typer.testing import CliRunner, Result

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from tests.helpers.foreign import FRAME, LATE, NUMBERS, dumped
from udfs.model.formats.causes import maker_versions
from udfs.model.loading import load_version

OLD = Path(__file__).parents[2] / "oracles" / "old_models"
NUMBER = NUMBERS["a"].to_numpy()
TWO = np.column_stack([NUMBER, -NUMBER])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FRAME[["a", "n"]].to_csv("rows.csv", index=False)
    return tmp_path


def imported(*more: str) -> Result:
    return CliRunner().invoke(app, ["models", "import", "m", "m.joblib", "--rows", "rows.csv", *more])


def why(data: bytes, *more: str) -> str:
    Path("m.joblib").write_bytes(data)
    error = imported(*more).exception
    assert isinstance(error, InputError), error
    assert not Path("models").exists()
    return str(error)


CAUSES: dict[str, tuple[Callable[[], Any], str]] = {
    "a classifier": (LogisticRegression, "the LogisticRegression is not fitted: call fit before saving it"),
    "a regressor": (Ridge, "the Ridge is not fitted: call fit"),
    "a detector": (IsolationForest, "the IsolationForest is not fitted"),
    "a pipeline": (lambda: make_pipeline(StandardScaler(), Ridge()), "the Pipeline is not fitted"),
    "two labels": (
        lambda: RandomForestClassifier(2).fit(NUMBERS, TWO > 0),
        "the RandomForestClassifier has 2 outputs, and a version has one: save a model for each",
    ),
    "two models": (
        lambda: MultiOutputClassifier(LogisticRegression()).fit(NUMBERS, TWO > 0),
        "the MultiOutputClassifier has 2 outputs",
    ),
    "two numbers": (
        lambda: RandomForestRegressor(2).fit(NUMBERS, TWO),
        "the RandomForestRegressor has 2 outputs",
    ),
    "two linear numbers": (
        lambda: LinearRegression().fit(NUMBERS, TWO),
        "the model's output must have the shape (50,); got (50, 2); it has 2 outputs, and a version has one",
    ),
    "one class": (
        lambda: RandomForestClassifier(2).fit(NUMBERS, np.array(["late"] * len(NUMBERS))),
        "the RandomForestClassifier knows one class only, 'late': it was fitted on rows of no other",
    ),
    "a column of y": (
        lambda: LinearRegression().fit(NUMBERS, NUMBERS[["a"]]),
        "got (50, 1); it was fitted on a y of shape (n, 1): fit it on y.ravel()",
    ),
    "a dict": (
        lambda: {"model": Ridge(), "columns": ["a"]},
        "the file must hold an estimator alone, with a method predict; it holds a dict of 'model', 'columns'",
    ),
    "a function": (lambda: len, "with a method predict; it holds a builtin_function_or_method"),
}


@pytest.mark.parametrize("case", CAUSES)
def test_the_cause_is_told(case: str) -> None:
    make, message = CAUSES[case]
    assert message in why(dumped(make()))


@pytest.mark.parametrize("case", ["a classifier", "two labels", "one class", "a dict"])
def test_the_cause_is_told_where_a_signature_is_given_too(case: str) -> None:
    make, message = CAUSES[case]
    inputs = "inputs: [{name: a, type: double}, {name: n, type: long}]"
    Path("signature.yaml").write_text(f"{inputs}\noutput: {{kind: binary, classes: [early, late]}}\n")
    assert message in why(dumped(make()), "--signature", "signature.yaml")


SCRIPT = """
import joblib, pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
{body}
frame = pd.read_csv("rows.csv")
joblib.dump(make_pipeline(Doubled(), LogisticRegression()).fit(frame, frame["n"] > 4), "made.joblib")
"""
CLASS = """
class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, rows, y=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return rows * 2
"""


def made_by(script: str) -> bytes:
    """What the script of somebody else wrote, in a process of its own."""
    Path("script.py").write_text(script)
    subprocess.run([sys.executable, "script.py"], check=True)
    return Path("made.joblib").read_bytes()


def test_a_class_of_the_makers_script() -> None:
    message = why(made_by(SCRIPT.format(body=CLASS)))
    assert "it needs the class or function Doubled of its maker's script (__main__)" in message
    assert "put Doubled into a module, import it from there, save the model again" in message


def test_a_module_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop_features.py").write_text(f"from sklearn.base import BaseEstimator, TransformerMixin\n{CLASS}")
    data = made_by(SCRIPT.format(body="from shop_features import Doubled"))
    assert "it needs the module shop_features, which is not installed here: install it, or ship" in why(data)


def test_another_version_of_the_library_that_cannot_be_loaded() -> None:
    message = why((OLD / "columns.joblib").read_bytes())
    assert "made with scikit-learn 1.5.2, here is " in message
    assert ", which has no _RemainderColsList in sklearn.compose._column_transformer" in message


def test_another_version_of_the_library_that_can_be_loaded() -> None:
    """Its libraries are those of its maker, as far as the pickle tells."""
    Path("m.joblib").write_bytes((OLD / "logistic.joblib").read_bytes())
    result = imported()
    assert result.exit_code == 0, result.exception
    assert "made with scikit-learn 1.5.2, here is " in result.stderr
    assert Registry("models").manifest("m", 1).libraries == {"scikit-learn": "1.5.2"}
    with pytest.warns(UserWarning, match=r"from version 1\.5\.2"):
        assert load_version("models/m/versions/1").manifest.version == 1


def test_the_version_is_read_from_what_any_tool_wrote() -> None:
    """The oracle is scikit-learn, which reads its own version from the state."""
    import pickle

    import joblib
    import sklearn

    model = LogisticRegression().fit(NUMBERS, LATE)
    for protocol in range(2, 6):
        assert maker_versions(pickle.dumps(model, protocol)) == {"scikit-learn": sklearn.__version__}
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(model, "m.joblib", compress=compress)
        assert maker_versions(Path("m.joblib").read_bytes()) == {"scikit-learn": sklearn.__version__}
    assert maker_versions(skops.dumps(model)) == {"scikit-learn": sklearn.__version__}
    assert maker_versions(b"x\x9c broken") == maker_versions(b"PK broken") == maker_versions(b"") == {}
