"""Models with classes of their makers: loaded where nothing of the maker is, or not written at all.

The adversary is a worker: another process, without the maker's script, path and modules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

import udfs
from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.fresh import own_modules
from tests.helpers.foreign import FRAME, with_imputer
from udfs.errors import ModelError
from udfs.model.code import CODE_FILE, importable, names_of, pack
from udfs.model.loading import load_version
from udfs.model.manifest import digest
from udfs.model.signatures import Trust

MODULE = """
from sklearn.base import BaseEstimator, TransformerMixin

FACTOR = {factor}

class Scaled(TransformerMixin, BaseEstimator):
    def fit(self, rows, y=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return rows * FACTOR
"""
FACTORS = (2.0, 5.0)
# A maker's class without a library, which is quick to load in the processes that do so.
PLAIN = """
class Summed:
    n_features_in_ = 2

    def predict(self, rows):
        return rows.sum(axis=1)
"""
# In the process that tries whether the version loads, a library fails when that process ends.
ENDS_BADLY = """
import atexit, os, sys
if len(sys.argv) > 2:
    atexit.register(os.abort)
"""
SCRIPT = """
import joblib, pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from shop_features import Scaled
frame = pd.read_csv("rows.csv")
model = make_pipeline(Scaled(), LinearRegression()).fit(frame.to_numpy(), frame["a"] + frame["n"])
joblib.dump(model, "m.joblib")
"""
REGISTER = """
from pathlib import Path
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
import pyarrow as pa
from udfs.model.manifest import Input, Output, Signature
inputs = (Input(name="a", type="double"), Input(name="n", type="long"))

def register(**code):
    Registry("models").write_version(
        "m", model=Summed(), golden_inputs=pa.table({"a": [0.5, 1.0], "n": [1, 2]}), profile={}, **code,
        signature=Signature(inputs=inputs, output=Output(kind="regression")), metrics={}, training={}
    )
"""
ROWS = pa.table({"a": [0.5, -1.0], "n": [3, 4]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[float, bytes]:
    """Models by their makers, in processes whose module is on a path that nobody else has."""
    models = {}
    for factor in FACTORS:
        place = tmp_path_factory.mktemp("made")
        FRAME[["a", "n"]].to_csv(place / "rows.csv", index=False)
        (place / "shop_features.py").write_text(MODULE.format(factor=factor))
        done = ran(SCRIPT, place)
        assert not done.returncode, done.stderr
        models[factor] = (place / "m.joblib").read_bytes()
    return models


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[float, bytes]) -> Path:
    """Where a maker's model and rows are, and the module in a folder that is on no path."""
    monkeypatch.chdir(tmp_path)
    FRAME[["a", "n"]].to_csv("rows.csv", index=False)
    Path("makers").mkdir()
    by_maker(made, 2.0)
    return tmp_path


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, made: dict[float, bytes]) -> Path:
    """A registry with two versions whose modules differ in nothing but the factor."""
    place = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        FRAME[["a", "n"]].to_csv("rows.csv", index=False)
        Path("makers").mkdir()
        for factor in FACTORS:
            by_maker(made, factor)
            result = imported("--code", "makers/shop_features.py")
            assert result.exit_code == 0, result.exception
    return place / "models"


def by_maker(made: dict[float, bytes], factor: float) -> None:
    Path("makers/shop_features.py").write_text(MODULE.format(factor=factor))
    Path("m.joblib").write_bytes(made[factor])


def ran(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(script)
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, env=our_path(), capture_output=True, text=True)


def our_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(udfs.__file__).parents[1])}


def imported(*more: str) -> Result:
    return CliRunner().invoke(app, ["models", "import", "m", "m.joblib", "--rows", "rows.csv", *more])


def loaded_elsewhere(place: str) -> str:
    """What a process that has only the workers' code says of ROWS."""
    code = (
        "import sys, pyarrow as pa\nfrom udfs.model.loading import load_version\n"
        f"model = load_version({place!r}).model\n"
        "print(list(model.predict(pa.table({'a': [0.5, -1.0], 'n': [3, 4]})).prediction))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=our_path()
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_a_module_is_shipped_with_the_version(folder: Path, both: Path) -> None:
    without = imported()
    assert isinstance(without.exception, InputError)
    assert "needs the module shop_features" in str(without.exception)
    shutil.copytree(both, folder / "models")
    place = folder / "models/m/versions/1"
    assert names_of((place / CODE_FILE).read_bytes()) == ["shop_features"]
    assert eval(loaded_elsewhere(str(place))) == pytest.approx([3.5, 3.0])
    # Its digest covers the code, and a job may refuse it.
    manifest = Registry("models").manifest("m", 1)
    assert CODE_FILE in manifest.files
    assert digest(Registry("models").manifest("m", 2)) != digest(manifest)
    with pytest.raises(ModelError, match="format without pickles, as the job refuses them"):
        load_version(place, trust=Trust(pickles=False))
    (place / CODE_FILE).write_bytes((folder / "models/m/versions/2" / CODE_FILE).read_bytes())
    with pytest.raises(ModelError, match=r"code\.zip was changed"):
        load_version(place)


def test_code_is_refused_with_any_format(folder: Path) -> None:
    """A format without pickles is not safe with code beside it."""
    from skops import io

    (folder / "m.skops").write_bytes(io.dumps(with_imputer()))
    Path("extra.py").write_text("X = 1")
    command = ["models", "import", "m", "m.skops", "--rows", "rows.csv", "--code", "extra.py"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    with pytest.raises(ModelError, match=r"must have no code of its maker, as the job refuses pickles"):
        load_version("models/m/versions/1", trust=Trust(pickles=False))


def test_versions_with_other_code_of_the_same_name_live_beside_each_other(both: Path) -> None:
    first, second = (load_version(both / "m/versions" / n).model for n in "12")
    for model, factor in ((first, 2.0), (second, 5.0), (first, 2.0)):
        scaled = model.native.steps[0][1].transform(pd.Series([1.0]))  # type: ignore[attr-defined]
        assert scaled.tolist() == [factor]
        assert list(model.predict(ROWS).prediction) == pytest.approx([3.5, 3.0])


def test_a_package_with_its_data_is_shipped(folder: Path) -> None:
    package = folder / "shop"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "factor.txt").write_text("2.5")
    (package / "sub" / "__init__.py").write_text(
        "import pkgutil\nfrom ..deep import name\nFACTOR = float(pkgutil.get_data('shop', 'factor.txt'))\n"
    )
    (package / "deep.py").write_text("name = __name__")
    archive = pack([package])
    assert archive == pack([package])
    with importable(archive):
        import shop.sub  # type: ignore[import-not-found]

        assert (shop.sub.FACTOR, shop.sub.name) == (2.5, "shop.deep")


def test_a_class_of_a_script_is_refused_at_writing(folder: Path) -> None:
    """The maker's own process, where all of it is there: only another one shows that it would not load."""
    done = ran(PLAIN + REGISTER + "register()", folder)
    assert done.returncode
    assert "the model does not load in a process of its own" in done.stderr
    assert "it needs the class or function Summed of its maker's script (__main__)" in done.stderr
    assert "put Summed into a module, import it from there, save the model again" in done.stderr
    assert not list(Path("models").glob("m/versions/*/manifest.json"))


def test_a_module_that_only_the_maker_has_is_refused_at_writing_or_shipped(folder: Path) -> None:
    Path("makers/shop_sums.py").write_text(PLAIN + ENDS_BADLY)
    twice = """
import sys
sys.path.append("makers")  # unlike PYTHONPATH, no other process has it
from shop_sums import Summed
try:
    register()
except InputError as error:
    print(error)
register(code=[Path("makers/shop_sums.py")])
"""
    done = ran(REGISTER + twice, folder)
    assert not done.returncode, done.stderr
    assert "it needs the module shop_sums, which is not installed here" in done.stdout
    assert eval(loaded_elsewhere(str(folder / "models/m/versions/1"))) == pytest.approx([3.5, 3.0])


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("gone.py", "must be a .py file, or a folder with an __init__.py; got gone.py"),
        ("rows.csv", "must be a .py file"),
        ("makers", "must be a .py file"),
        ("json.py", "must have a name of its own; json is another module"),
        ("sklearn.py", "must have a name of its own; sklearn is another module"),
        ("with-dash.py", "must be a .py file"),
    ],
)
def test_code_that_is_none(file: str, said: str) -> None:
    if file.endswith(".py") and file != "gone.py":
        Path(file).write_text("")
    error = imported("--code", file).exception
    assert isinstance(error, InputError)
    assert said in str(error)


def test_models_of_libraries_alone_need_no_other_process() -> None:
    assert own_modules(with_imputer()) == {}
    assert own_modules({"large": np.zeros(1_000_000), "text": "x" * 1_000_000}) == {}
