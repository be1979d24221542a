"""From train.py to a registered version, with features in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import udfs
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.training import TrainingSettings, lineage, load_trainer, train
from flink_jobs.training.data import Computed
from tests.helpers.payments import in_memory, payments, settings, write_model
from udfs.model.loading import load_version
from udfs.model.manifest import Lineage, Manifest
from udfs.quality.expected import parse_expected

TRUSTED = '("builtins.object", "sklearn.compose._column_transformer.make_column_selector")'


def trained(root: Path, settings_: TrainingSettings | None = None) -> Manifest:
    trainer = load_trainer(root / "cards")
    return train(trainer, Registry(root), settings_ or settings(root), features=in_memory)


def test_a_version_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    write_model(tmp_path, ablations='{"plain": ("amount",)}', about='{"data": "a sample"}')
    manifest = trained(tmp_path)
    assert [(each.name, each.type) for each in manifest.signature.inputs] == [
        ("amount", "double"),
        ("country", "string"),
        ("night", "boolean"),
    ]
    names = ("rows", "fraud_share", "auc", "average_precision", "log_loss", "brier", "mean_score")
    expected = {f"{part}_{name}" for part in ("holdout", "test") for name in names}
    expected |= {"test_plain_auc", "test_plain_average_precision", "test_plain_log_loss"}
    assert set(manifest.metrics) == expected
    assert manifest.metrics["test_auc"] > manifest.metrics["test_plain_auc"] > 0.6
    made = manifest.training
    assert made["records"] == 3000
    assert made["records_without_features"] == 30
    # Of 3,000 records 300 have no label and 30 no features, each on rows of their own.
    assert made["rows"] + manifest.metrics["holdout_rows"] + manifest.metrics["test_rows"] == 2670
    assert made["first_event"] < made["last_event"] < made["test_from"]
    assert made["parameters"] == {"max_depth": 4, "min_samples_leaf": 20}
    assert (made["estimator"], made["seed"], made["data"]) == ("DecisionTreeClassifier", 5, "a sample")
    assert manifest.lineage == Lineage(
        data=made["fingerprint"], code=made["code"], parameters=made["parameters"], parent=None
    )
    assert made["code"].startswith("sha256:")
    assert Registry(tmp_path).resolve("cards", "champion").version == 1
    loaded = load_version(Registry(tmp_path).folder("cards", 1))
    assert loaded.manifest == manifest
    reference = parse_expected(loaded.expected).reference
    assert reference is not None
    of_both = sorted(manifest.metrics[f"{part}_auc"] for part in ("holdout", "test"))
    assert of_both[0] - 0.02 < reference.value < of_both[1] + 0.02
    assert (reference.metric, reference.blocks >= 5) == ("auc", True)


def test_a_missing_string_is_imputed_in_the_fit_and_in_the_job(tmp_path: Path) -> None:
    """scikit-learn's SimpleImputer replaces NaN, which is what pandas has, and leaves None as it is."""
    write_model(tmp_path)
    text = make_pipeline(SimpleImputer(strategy="constant", fill_value="XX"), OneHotEncoder())
    trainer = replace(
        load_trainer(tmp_path / "cards"),
        build=lambda parameters: make_pipeline(
            make_column_transformer((text, ["country"]), remainder="passthrough"),
            DecisionTreeClassifier(random_state=3, **parameters),
        ),
    )
    manifest = train(trainer, Registry(tmp_path), settings(tmp_path), features=in_memory)
    assert {each.name: each.missing for each in manifest.signature.inputs}["country"] == "nan"
    folder = Registry(tmp_path).folder("cards", 1)
    fitted = joblib.load(folder / "model.joblib")
    rows = pd.DataFrame({"amount": [5.0, 5.0], "country": [np.nan, "XX"], "night": [True, True]})
    said = fitted.predict_proba(rows)[:, 1]
    assert said[0] == said[1]
    table = pa.table({"amount": [5.0, 5.0], "country": [None, "XX"], "night": [True, True]})
    score = load_version(folder).model.predict(table).score
    assert score is not None
    assert score.tolist() == said.tolist()


def test_the_next_version_has_a_parent_and_waits_to_be_promoted(tmp_path: Path) -> None:
    write_model(tmp_path)
    trained(tmp_path)
    write_model(tmp_path, format='"skops"', trusted_types=TRUSTED)
    next_one = trained(tmp_path)
    assert isinstance(next_one.lineage, Lineage)
    assert (next_one.lineage.parent, next_one.format) == (1, "skops")
    registry = Registry(tmp_path)
    assert registry.resolve("cards", "champion").version == 1
    trained(tmp_path, settings(tmp_path, promote=True))
    assert registry.resolve("cards", "champion").version == 3


def test_the_same_seed_gives_the_same_predictions_and_another_data_others(tmp_path: Path) -> None:
    write_model(tmp_path)
    first, again = trained(tmp_path), trained(tmp_path)
    assert first.training == again.training
    assert first.metrics == again.metrics
    write_model(tmp_path, history="lambda: payments(seed=2)")
    other = trained(tmp_path)
    for name in ("fingerprint", "predictions_digest"):
        assert other.training[name] != first.training[name]


def test_features_are_computed_once_for_the_same_records_and_job(tmp_path: Path) -> None:
    write_model(tmp_path)
    trainer, registry, calls = load_trainer(tmp_path / "cards"), Registry(tmp_path), []

    def counted(job, records, columns, note) -> Computed:  # type: ignore[no-untyped-def]
        calls.append(columns)
        assert "fraud" not in records.column_names
        return in_memory(job, records, columns, note)

    for _ in range(2):
        train(trainer, registry, settings(tmp_path), features=counted)
    assert calls == [["amount", "country", "night"]]
    job = tmp_path / "job.yaml"
    job.write_text(job.read_text().replace("21", "20"))
    train(trainer, registry, settings(tmp_path), features=counted)
    train(replace(trainer, history=lambda: payments(seed=2)), registry, settings(tmp_path), features=counted)
    assert len(calls) == 3


def test_the_test_is_seen_by_nothing_but_its_metrics(tmp_path: Path) -> None:
    """Other labels in the test rows change the test metrics only."""
    write_model(tmp_path)
    trainer = load_trainer(tmp_path / "cards")
    table = payments()
    labels = table.column("fraud").to_pylist()
    cut = np.datetime64("2024-02-20", "ms").astype(np.int64)
    flipped = [
        value if at < cut or value is None else not value
        for value, at in zip(labels, table.column("at").to_pylist(), strict=True)
    ]
    other = table.set_column(4, "fraud", [flipped])
    one = train(trainer, Registry(tmp_path / "a"), settings(tmp_path), features=in_memory)
    two = train(
        replace(trainer, history=lambda: other),
        Registry(tmp_path / "b"),
        settings(tmp_path),
        features=in_memory,
    )
    assert one.metrics["test_auc"] == pytest.approx(1 - two.metrics["test_auc"])
    assert one.metrics["holdout_auc"] == two.metrics["holdout_auc"]
    assert one.training["predictions_digest"] == two.training["predictions_digest"]


def test_regression_and_more_than_two_classes(tmp_path: Path) -> None:
    import pyarrow as pa
    from sklearn.linear_model import LinearRegression
    from sklearn.tree import DecisionTreeClassifier

    from udfs.model.manifest import Output

    write_model(tmp_path)
    trainer = replace(
        load_trainer(tmp_path / "cards"),
        inputs=("amount", "night"),
        space=None,
        parameters={},
        objective=None,
    )
    amounts = pa.table({"fraud": payments().column("amount")}).column("fraud")
    numbers = replace(
        trainer,
        output=Output(kind="regression"),
        history=lambda: payments().set_column(4, "fraud", amounts),
        build=lambda parameters: LinearRegression(),
    )
    found = train(numbers, Registry(tmp_path / "a"), settings(tmp_path), features=in_memory)
    assert found.metrics["test_rmse"] == pytest.approx(0, abs=1e-9)
    assert found.metrics["test_r2"] == pytest.approx(1)
    assert found.training["calibration"]["method"] == "none"
    sizes = pa.array(
        ["small" if value < 10 else "middle" if value < 50 else "large" for value in amounts.to_pylist()]
    )
    classes = replace(
        trainer,
        output=Output(kind="multiclass", classes=("large", "middle", "small")),
        history=lambda: payments().set_column(4, "fraud", sizes),
        build=lambda parameters: DecisionTreeClassifier(max_depth=3, random_state=1),
    )
    found = train(classes, Registry(tmp_path / "b"), settings(tmp_path, trials=None), features=in_memory)
    assert found.metrics["test_accuracy"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"label": '"frauds"'}, "history() must have the column 'frauds', the label; it has card, amount"),
        ({"inputs": '("amount", "nights")'}, "inputs must be columns of"),
        ({"inputs": '("amount", "event_time")'}, "event_time is a timestamp"),
        ({"objective": '"logloss"'}, "got 'logloss'; did you mean 'log_loss'?"),
        ({"name": '"card"'}, "name must be that of its folder, 'cards'; got 'card'"),
        ({"format": '"onnx"'}, "format must be one of joblib, skops; got 'onnx'"),
        ({"folds": "1"}, "folds must be 2 or more; got 1"),
        ({"history": "lambda: 7"}, "history() must give an Arrow table or a path; got a int"),
        ({"test_from": '"2023-01-01"'}, "of 2,670 rows some must be to fit; got none"),
        ({"output": 'Output(kind="anomaly")'}, "output.kind must be one of binary, multiclass, regression"),
        (
            {"output": 'Output(kind="binary", classes=("no", "yes"))'},
            "fraud must be one of the classes no, yes",
        ),
        ({"weights": "lambda rows, labels: [1.0]"}, "weights() must give one for each of"),
        ({"build": "lambda parameters: None"}, "build() must give an estimator with fit; got a NoneType"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, replaced: dict[str, Any], message: str) -> None:
    write_model(tmp_path, **replaced)
    with pytest.raises(InputError) as error:
        trained(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be a model's folder with train.py"),
        ("x = 1", "must declare TRAINER = Trainer(…); got nothing of that name"),
        ("TRAINER = 5", "got a int"),
        ("import nothing_like_it", "cannot be run: ModuleNotFoundError"),
    ],
)
def test_a_train_file_that_is_none(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "train.py").write_text(text)
    with pytest.raises(InputError) as error:
        load_trainer(tmp_path)
    assert message in str(error.value)


OWN_MODULE = """
from sklearn.base import BaseEstimator, TransformerMixin

class Halved(TransformerMixin, BaseEstimator):
    def fit(self, rows, y=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return rows * 0.5
"""


def test_code_beside_train_py_is_shipped_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adversary is a worker, which has nothing of the folder in which the model was trained."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    train_py = write_model(tmp_path) / "train.py"
    (tmp_path / "cards" / "card_halves.py").write_text(OWN_MODULE)
    plain = train_py.read_text().replace("import time\n", "import time\nfrom card_halves import Halved\n")
    plain = plain.replace("make_pipeline(columns, ", "make_pipeline(columns, Halved(), ")
    train_py.write_text(plain)
    with pytest.raises(InputError, match=r"needs the module card_halves, which is not installed here"):
        trained(tmp_path)
    train_py.write_text(plain.replace("    folds=3,", "    folds=3,\n    code=[Path('card_halves.py')],"))
    manifest = trained(tmp_path)
    place = tmp_path / "cards/versions/1"
    rows = {"amount": [5.0, 400.0], "country": ["US", None], "night": [True, False]}
    said = joblib.load(place / "model.joblib").predict_proba(pd.DataFrame(rows).fillna(np.nan))[:, 1]
    script = (
        "import pyarrow as pa\nfrom udfs.model.loading import load_version\n"
        f"print(load_version({str(place)!r}).model.predict(pa.table({rows!r})).score.tolist())"
    )
    home = str(Path(udfs.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd="/", env={"PYTHONPATH": home}
    )
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout) == said.tolist()
    (tmp_path / "cards" / "card_halves.py").write_text(OWN_MODULE + "# changed\n")
    assert (
        lineage.code_version(train_py, [tmp_path / "cards" / "card_halves.py"])["code"]
        != manifest.training["code"]
    )
