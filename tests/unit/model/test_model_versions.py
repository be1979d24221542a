"""A version is used only if it is, to the byte, what was written, and still predicts the same."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from tests.helpers.bomb import Bomb
from udfs.errors import ModelError
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Lineage, Output, Signature, digest, read_manifest

A, B = Input(name="a", type="double"), Input(name="b", type="double")
BINARY = Signature(inputs=(A, B), output=Output(kind="binary", classes=("early", "late")))


def rows(inputs: tuple[Input, ...] = (A, B), seed: int = 1, count: int = 100) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({item.name: rng.normal(size=count) for item in inputs})


def write(root: Path, model: Any, signature: Signature) -> Path:
    registry = Registry(root)
    golden = rows(signature.inputs, 2, 20)
    manifest = registry.write_version(
        "m", model=model, signature=signature, golden_inputs=golden, profile={}, metrics={}, training={}
    )
    return registry.folder("m", manifest.version)


def logistic(offset: float) -> Any:
    x = rows(seed=0).to_pandas().to_numpy()
    labels = np.where(x.sum(axis=1) > offset, "late", "early")
    return make_pipeline(SimpleImputer(), LogisticRegression()).fit(x, labels)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = write(tmp_path, logistic(0.0), BINARY)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def replace(folder: Path, name: str, data: bytes) -> None:
    """Put other content in place and make the manifest agree with it."""
    (folder / name).write_bytes(data)
    edit_manifest(folder, lambda content: content["files"].update({name: hashlib.sha256(data).hexdigest()}))


def dumped(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()


def link_away(folder: Path) -> None:
    (folder / "model.joblib").rename(folder.parent / "elsewhere")
    (folder / "model.joblib").symlink_to(folder.parent / "elsewhere")


def change_golden(folder: Path) -> None:
    table = pq.read_table(folder / "golden.parquet")
    index = table.column_names.index("expected.score")
    shifted = pa.array(table["expected.score"].to_numpy() + 0.001)
    buffer = io.BytesIO()
    pq.write_table(table.set_column(index, "expected.score", shifted), buffer)
    replace(folder, "golden.parquet", buffer.getvalue())


SABOTAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a byte changed": (
        lambda d: (d / "model.joblib").write_bytes(b"x"),
        "model.joblib was changed: .* got 2d711642",
    ),
    "missing": (lambda d: (d / "profile.json").unlink(), "profile.json is missing: the manifest lists it"),
    "extra": (lambda d: (d / "more.py").touch(), "more.py must not be there"),
    "a folder": (lambda d: (d / "sub").mkdir(), "sub must not be there"),
    "a link": (link_away, "model.joblib must be a regular file"),
    "another digest": (
        lambda d: edit_manifest(d, lambda m: m["files"].update({"model.joblib": "0" * 64})),
        "must be 0000",
    ),
    "another model": (
        lambda d: replace(d, "model.joblib", dumped(logistic(0.5))),
        "golden row [0-9]+: .* must be .* got",
    ),
    "other golden rows": (
        change_golden,
        r"score must be .* within 1e-09; got .* \(30 of 30 rows differ, by up to 0.001",
    ),
    "golden not parquet": (
        lambda d: replace(d, "golden.parquet", b"no"),
        "golden.parquet must be a Parquet file",
    ),
    "not a model": (lambda d: replace(d, "model.joblib", b"no"), "the joblib model cannot be loaded"),
    "other inputs": (
        lambda d: edit_manifest(d, lambda m: m["signature"]["inputs"].pop()),
        "the signature must have 2 inputs as the model does; got 1",
    ),
    "classes turned": (
        lambda d: edit_manifest(d, lambda m: m["signature"]["output"].update(classes=["late", "early"])),
        "classes must be the model's, in order: .'early', 'late'.; got .'late', 'early'.",
    ),
    "manifest missing": (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing"),
    "manifest not JSON": (
        lambda d: (d / "manifest.json").write_bytes(b"\xff{"),
        "must be a tailrace.model/1 manifest",
    ),
    "manifest nested": (
        lambda d: (d / "manifest.json").write_bytes(b"[" * 100_000),
        "must be a tailrace.model/1",
    ),
    "unknown key": (lambda d: edit_manifest(d, lambda m: m.update(extra=1)), "unknown field `extra`"),
    "another schema": (
        lambda d: edit_manifest(d, lambda m: m.update(schema="x/2")),
        "Invalid enum value 'x/2'",
    ),
    "a path": (
        lambda d: edit_manifest(d, lambda m: m["files"].update({"../../x": "0" * 64})),
        "plain names inside the version's folder; got '../../x'",
    ),
    "model not listed": (
        lambda d: edit_manifest(d, lambda m: m.update(model_file="m.py")),
        "files must list m.py",
    ),
    "tolerance of anything": (
        lambda d: edit_manifest(d, lambda m: m.update(golden_tolerance=1e300)),
        "golden_tolerance must be between 0 and 0.1",
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_version_that_is_not_what_was_written_is_refused(name: str, version: Path) -> None:
    sabotage, message = SABOTAGE[name]
    load_version(version)
    sabotage(version)
    with pytest.raises(ModelError, match=message):
        load_version(version)


def test_nothing_is_unpickled_before_the_digests_are_right(version: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    (version / "model.joblib").write_bytes(bomb)
    with pytest.raises(ModelError, match="was changed"):
        load_version(version)
    assert not (tmp_path / "exploded").exists()
    replace(version, "model.joblib", bomb)
    with pytest.raises(ModelError):
        load_version(version)
    assert (tmp_path / "exploded").exists(), "the bomb is a dud: this test would prove nothing"


def test_the_digest_covers_every_file_and_not_the_layout(version: Path) -> None:
    before = digest(read_manifest(version))
    edit_manifest(version, lambda content: None)
    assert digest(read_manifest(version)) == before == load_version(version).digest
    replace(version, "profile.json", b"[]")
    assert digest(read_manifest(version)) != before


def test_the_threshold_decides_the_class_and_not_the_score(version: Path) -> None:
    model = load_version(version).model
    table = rows()
    low, high = model.predict(table, threshold=0.0), model.predict(table, threshold=1.0)
    assert set(low.prediction) == {"late"}
    assert set(high.prediction) == {"early"}
    assert low.score is not None
    assert high.score is not None
    assert np.array_equal(low.score, high.score)


def test_inputs_in_another_schema_are_an_error(version: Path) -> None:
    with pytest.raises(ModelError, match=r"inputs must be a double, b double; got b int64, a double"):
        load_version(version).model.predict(pa.table({"b": [1], "a": [1.0]}))


def test_a_model_that_cannot_be_loaded_back_is_not_registered(tmp_path: Path) -> None:
    other = LinearRegression().fit(pd.DataFrame({"q": [0.0, 1.0]}), [0, 1])
    with pytest.raises(InputError, match=r"cannot be registered: .*the model was fitted with"):
        write(tmp_path, other, Signature(inputs=(A,), output=Output(kind="regression")))
    assert not (tmp_path / "m").exists()


def test_other_library_versions_do_if_the_golden_rows_agree(version: Path) -> None:
    edit_manifest(version, lambda m: m["libraries"].update({"scikit-learn": "0.1", "gone": "1.0"}))
    assert load_version(version).manifest.libraries["scikit-learn"] == "0.1"


def test_other_library_versions_are_told_if_the_golden_rows_disagree(version: Path) -> None:
    edit_manifest(version, lambda m: m["libraries"].update({"scikit-learn": "0.1", "gone": "1.0"}))
    change_golden(version)
    here = sklearn.__version__
    message = rf"golden row .*; it was made with scikit-learn 0.1 \(here {here}\), gone 1.0 \(here none\)$"
    with pytest.raises(ModelError, match=message):
        load_version(version)


def test_a_class_that_is_not_here_is_named(version: Path) -> None:
    """The class is in a module that the worker does not have."""
    module = types.ModuleType("elsewhere")
    exec("class Scaler: pass", module.__dict__)
    sys.modules["elsewhere"] = module
    try:
        replace(version, "model.joblib", dumped(module.Scaler()))
    finally:
        del sys.modules["elsewhere"]
    with pytest.raises(ModelError, match="it needs the module elsewhere, which is not installed here"):
        load_version(version)


def test_a_version_that_is_not_written_to_its_end_is_refused(version: Path) -> None:
    """As a copy that was broken off leaves it: the last file is cut short."""
    data = (version / "model.joblib").read_bytes()
    (version / "model.joblib").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match=r"model.joblib was changed"):
        load_version(version)


def test_lineage_does_not_change_the_digest_of_versions_without_it(version: Path) -> None:
    content = json.loads((version / "manifest.json").read_bytes())
    assert content.keys() & {"lineage", "trusted_types"} == set()
    plain = msgspec.json.encode(content, order="sorted")
    assert digest(read_manifest(version)) == f"sha256:{hashlib.sha256(plain).hexdigest()}"


def test_a_parent_must_be_a_version(tmp_path: Path) -> None:
    write(tmp_path, logistic(0.0), BINARY)
    registry = Registry(tmp_path)
    parts: dict[str, Any] = {"golden_inputs": rows(count=5), "profile": {}, "metrics": {}, "training": {}}
    with pytest.raises(InputError, match="version 7 of model m must be one of 1"):
        registry.write_version("m", model=logistic(0.0), signature=BINARY, lineage=Lineage(parent=7), **parts)
