"""What predictions look like for each kind of model, with lookups, hashed columns and either delivery."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs.testing import Broker, JobHarness, Results, record
from tests.helpers import models
from udfs.model.manifest import OutputKind, digest, read_manifest

NOW = 1_767_225_600_000
PARTITIONS, ROWS = 2, 400
KEY = "a key of more than 16 bytes"
JOB = """
job: outputs
source:
  topic: homes
  schema:
    id: {type: long, required: true}
    owner: {type: string, pii: hash}
    town: string
    rooms: long
    size: double
    garden: boolean
features:
  lookups:
    towns: {file: towns.csv, by: town, key: name, select: {people: population, coast: sea}}
  derive: {density: people / 2.0}
model: {name: MODEL, registry: models, inputs: {area: size}, use: USE, THRESHOLD}
predictions: {include: [id, owner, town, garden, people, coast, density], pii_key: "${PII_KEY}"}
runtime: {parallelism: 2, delivery: DELIVERY, checkpoint: {interval: 1s}}
"""
TOWNS = {"rome": (2800, True), "bonn": (330, False), "ghost": (None, None)}
INPUTS = ["town", "rooms", "area", "garden", "density"]
Row = dict[str, Any]


class Kind(NamedTuple):
    """A model, what it learns for rows of inputs, its kind, and the job's `use`, delivery and threshold."""

    estimator: Callable[[], Any]
    targets: list[Any] | None
    kind: OutputKind
    use: str
    delivery: str
    threshold: float | None = None


def homes(rows: int, seed: int) -> list[Row]:
    """Every column may be null; `oslo` and the one that needs escapes are in no lookup."""
    draw = random.Random(seed)
    towns = ["rome", "bonn", "ghost", "oslo", 'São "Paulo"\n\\', None]

    def home(number: int) -> Row:
        values = {
            "owner": draw.choice(["ann", "bob", "čeněk"]),
            "town": draw.choice(towns),
            "rooms": draw.randrange(1, 9),
            "size": draw.uniform(20, 300),
            "garden": draw.random() < 0.5,
        }
        return {"id": number} | {
            name: None if draw.random() < 0.15 else value for name, value in values.items()
        }

    return [home(number) for number in range(rows)]


def looked_up(row: Row) -> Row:
    people, coast = TOWNS.get(row["town"], (None, None))
    return {"people": people, "coast": coast, "density": None if people is None else people / 2.0}


def as_inputs(rows: list[Row]) -> pa.Table:
    kinds = (pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.float64())
    full = [row | looked_up(row) | {"area": row["size"]} for row in rows]
    return pa.table(
        {n: pa.array([row[n] for row in full], kind) for n, kind in zip(INPUTS, kinds, strict=True)}
    )


def with_codes(model: Any) -> Pipeline:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(make_column_transformer((codes, ["town", "garden"]), remainder="passthrough"), model)


TRAINING = homes(200, seed=1)
SIZES = [row["size"] or 0.0 for row in TRAINING]
KINDS = {
    "multiclass": Kind(
        lambda: with_codes(HistGradientBoostingClassifier(max_iter=5)),
        [("small" if size < 90 else "large" if size > 200 else 'a "medium"') for size in SIZES],
        "multiclass",
        "champion",
        "at_least_once",
    ),
    "regression": Kind(
        lambda: with_codes(HistGradientBoostingRegressor(max_iter=5)),
        SIZES,
        "regression",
        "1",
        "exactly_once",
    ),
    "anomaly": Kind(
        lambda: with_codes(make_pipeline(SimpleImputer(), IsolationForest(n_estimators=5, random_state=0))),
        None,
        "anomaly",
        "latest",
        "exactly_once",
    ),
    "binary": Kind(
        lambda: with_codes(HistGradientBoostingClassifier(max_iter=5)),
        [size > 150 for size in SIZES],
        "binary",
        "champion",
        "exactly_once",
        0.8,
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Ran(NamedTuple):
    results: Results
    rows: list[Row]
    folder: Path
    estimator: Any


@pytest.fixture(scope="module")
def ran(broker: Broker, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    base = tmp_path_factory.mktemp(kind)
    (base / "towns.csv").write_text("name,population,sea\nrome,2800,true\nbonn,330,false\nghost,,\n")
    wanted = KINDS[kind]
    estimator = wanted.estimator()
    folder = models.write(base / "models", kind, estimator, as_inputs(TRAINING), wanted.targets, wanted.kind)
    threshold = "" if wanted.threshold is None else f"threshold: {wanted.threshold}"
    job = JOB.replace("MODEL", kind).replace("USE", wanted.use).replace("DELIVERY", wanted.delivery)
    if wanted.delivery == "at_least_once":
        job = job.replace("runtime: {", "runtime: {artifacts: flink, ")  # workers have no path of the file
    rows = homes(ROWS, seed=2)
    fed = [
        record(row, key=_key(row), timestamp=NOW + row["id"], partition=row["id"] % PARTITIONS)
        for row in rows
    ]
    harness = JobHarness(broker, partitions=PARTITIONS)
    results = harness.run(job.replace("THRESHOLD", threshold), fed, base=base, environ={"PII_KEY": KEY})
    return Ran(results, rows, folder, estimator)


def _key(row: Row) -> bytes | None:
    return None if row["id"] % 7 == 0 else b"\xff%d" % row["id"]


def test_each_row_is_predicted_once(ran: Ran) -> None:
    assert ran.results.accounts() == {"read": ROWS, "predicted": ROWS, "dead": 0, "late": 0}


def test_predictions_say_where_they_come_from(ran: Ran, kind: str) -> None:
    manifest = read_manifest(ran.folder)
    release = 1 if KINDS[kind].use == "champion" else None
    for made in ran.results.predictions:
        row = ran.rows[made.json["id"]]
        place = {
            "model": kind,
            "version": 1,
            "digest": digest(manifest),
            "release": release,
            "topic": ran.results.job.source.topic,
            "partition": row["id"] % PARTITIONS,
            "offset": row["id"] // PARTITIONS,
            "event_time": f"2026-01-01T00:00:00.{row['id']:03}Z",
        }
        assert {name: made.json[name] for name in place} == place
        assert made.key == _key(row)


def test_included_columns_lookups_and_hashes(ran: Ran) -> None:
    for made in ran.results.predictions:
        row = ran.rows[made.json["id"]]
        included = {name: row[name] for name in ("town", "garden")} | looked_up(row)
        assert {name: made.json[name] for name in included} == included
        assert made.json["owner"] == _hash(row["owner"])


def _hash(owner: str | None) -> str | None:
    """As docs/privacy.md says: a key of the field's own, after the name of the key."""
    key = KEY.encode()
    name = blake2b(key, digest_size=4, person=b"tailrace.key-id").hexdigest()
    of_field = blake2b(b"owner", key=key, digest_size=32, person=b"tailrace.field").digest()
    if owner is None:
        return None
    return f"{name}:{blake2b(owner.encode(), key=of_field, digest_size=16).hexdigest()}"


def test_scores_are_the_estimators_own(ran: Ran, kind: str) -> None:
    rows = sorted(ran.results.predictions, key=lambda made: made.json["id"])
    # as scikit-learn sees them: NaN for a missing number, None for a missing text
    frame = pd.DataFrame(as_inputs(ran.rows).to_pydict())
    frame["garden"] = frame["garden"].astype(object)
    made = [row.json for row in rows]
    expected = _expected(kind, ran.estimator, frame)
    assert [row["prediction"] for row in made] == expected.pop("prediction")
    for name, values in expected.items():
        found = [list(row[name].values()) if name == "probabilities" else row[name] for row in made]
        assert np.allclose(found, values, rtol=0, atol=1e-12)
    fields = {"prediction", *expected, "id", "owner", "town", "garden", "people", "coast", "density"}
    context = {"model", "version", "digest", "release", "topic", "partition", "offset", "event_time"}
    assert all(row.keys() == fields | context for row in made)


def _expected(kind: str, estimator: Any, frame: pd.DataFrame) -> dict[str, Any]:
    match kind:
        case "multiclass":
            return {
                "prediction": estimator.predict(frame).tolist(),
                "probabilities": estimator.predict_proba(frame),
            }
        case "binary":
            score = estimator.predict_proba(frame)[:, 1]
            return {"prediction": (score >= 0.8).tolist(), "score": score}
        case "anomaly":
            flags = estimator.predict(frame) == -1
            return {"prediction": flags.tolist(), "score": -estimator.score_samples(frame)}
    return {"prediction": estimator.predict(frame).tolist()}


def test_probabilities_are_named_by_class(ran: Ran, kind: str) -> None:
    if kind == "multiclass":
        classes = ['a "medium"', "large", "small"]
        assert all(list(made.json["probabilities"]) == classes for made in ran.results.predictions)
