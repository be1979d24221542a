"""Drift of vectors by their norm and their distance to the reference's centre, held to NumPy on the raw rows.

The adversaries are embeddings of another model, which are as long as the old ones but lie elsewhere, and a
profile that was made before there were such measures.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression

from flink_jobs.errors import InputError, JobFileError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from flink_jobs.registry import Registry
from flink_jobs.spec import JobSpec
from flink_jobs.training import load_trainer, train
from flink_jobs.training.data import Computed, Note
from tests.helpers.payments import JOB as JOB_OF_PAYMENTS
from tests.helpers.payments import in_memory, write_model
from tests.helpers.payments import settings as training_settings
from udfs.drift.judge import judge_window
from udfs.drift.params import JudgeSettings
from udfs.errors import ModelError
from udfs.model.manifest import PROFILE_FILE, Input, Output, Signature
from udfs.profile.counts import NumericCounts, WindowCounts
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import parse_reference
from udfs.profile.vectors import measures
from udfs.profile.wire import decode_partial_profiles
from udfs.records.vectors import part_names
from udfs.scoring.params import ScoreParams
from udfs.scoring.scorer import Batch, Scorer

SIZE = 6
PARTS = part_names("emb", SIZE)
NAMES = [*PARTS, "age"]
JOB = """
job: search
source:
  topic: search
  schema:
    age: {type: double, required: true}
    emb: {type: "vector<float, 6>", required: true}
model: {name: m, registry: models, use: VERSION}
drift: {window: 1h}
"""
GENERATOR = np.random.default_rng(141)
MIDDLE = np.array([3.0, -2.0, 0.5, 0.0, 1.0, 4.0])
ROWS = np.column_stack([GENERATOR.normal(size=(4_000, SIZE)) + MIDDLE, GENERATOR.normal(size=4_000)])
NOON = 1_767_268_800_000
MEASURES = ["emb.norm", "emb.distance"]


def table(rows: np.ndarray[Any, Any] = ROWS) -> pa.Table:
    return pa.table({name: rows[:, place] for place, name in enumerate(NAMES)})


def made_profile(**options: Any) -> dict[str, Any]:
    return reference_profile(table(), vectors=["emb"], **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 has the measures, version 2 a profile of before."""
    base = tmp_path_factory.mktemp("vectors")
    registry = Registry(base / "models")
    for profile in (made_profile(), reference_profile(table())):
        registry.write_version(
            "m",
            model=LogisticRegression().fit(ROWS, ROWS[:, 0] > 3),
            signature=Signature(
                inputs=tuple(Input(name=name, type="double", nullable=False) for name in NAMES),
                output=Output(kind="binary", classes=(False, True)),
            ),
            golden_inputs=table(ROWS[:50]),
            profile=profile,
            metrics={},
            training={},
        )
    registry.promote("m", 1)
    return base


def plan(folder: Path, version: str = "1", text: str = JOB) -> Plan:
    return make_plan(load_job_text(text.replace("VERSION", version), "job.yaml", folder))


def counted(made: Plan, rows: np.ndarray[Any, Any], batches: int) -> WindowCounts:
    """What the workers tell of the rows, in so many batches."""
    (params,) = (
        each.params for each in made.views.functions.values() if isinstance(each.params, ScoreParams)
    )
    scorer, total = Scorer(pickle.loads(pickle.dumps(params))), WindowCounts()
    for part in np.array_split(rows, batches):
        raws: list[bytes | None] = [
            json.dumps({"emb": row[:SIZE].tolist(), "age": row[SIZE]}).encode() for row in part
        ]
        times, count = np.full(len(part), NOON), len(part)
        batch = Batch(
            raws, times, np.zeros(count, np.bool_), np.zeros(count, np.int64), np.arange(count), times
        )
        told = scorer.score(batch).profile
        assert told
        for found in decode_partial_profiles(told):
            total = total.merged(found.counts)
    scorer.close()
    return total


def by_numpy(rows: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    vectors = rows[:, :SIZE]
    center = ROWS[:, :SIZE].mean(axis=0)
    return {
        "emb.norm": np.linalg.norm(vectors, axis=1),
        "emb.distance": np.linalg.norm(vectors - center, axis=1),
    }


def test_the_profile_has_numpys_measures_and_centre_in_place_of_elements() -> None:
    profile = made_profile(importance={"emb_0": 1.0, "emb_4": 2.0, "age": 1.0})
    assert profile["vectors"]["emb"]["center"] == pytest.approx(ROWS[:, :SIZE].mean(axis=0), rel=1e-14)
    assert set(profile["columns"]) == {"age", *MEASURES}
    assert profile["importance"] == pytest.approx({"age": 0.25, "emb.norm": 0.375, "emb.distance": 0.375})
    for name, values in by_numpy(ROWS).items():
        column = profile["columns"][name]
        assert column["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert column["std"] == pytest.approx(values.std(), rel=1e-9)
        assert np.histogram(values, column["edges"])[0] == pytest.approx(column["counts"], abs=2)
    shuffled = reference_profile(table(GENERATOR.permutation(ROWS)), vectors=["emb"])
    assert shuffled["vectors"] == profile["vectors"]


def test_workers_count_numpys_measures_of_raw_rows_in_any_batches(folder: Path) -> None:
    made = plan(folder)
    assert made.drift is not None
    assert made.drift.note is None
    assert [name for name in made.drift.monitor.roles if "." in name] == MEASURES
    rows = GENERATOR.permutation(ROWS)[:700]
    whole, parts = counted(made, rows, 1), counted(made, rows, 9)
    reference = parse_reference(encode_profile(made_profile()))
    for name, values in by_numpy(rows).items():
        found, again = whole.columns[name], parts.columns[name]
        assert isinstance(found, NumericCounts)
        assert isinstance(again, NumericCounts)
        assert (found.counts == again.counts).all()
        assert (found.sums == again.sums).all()
        edges = reference.columns[name].edges  # type: ignore[union-attr]
        assert np.histogram(values, [-np.inf, *edges, np.inf])[0] == pytest.approx(found.counts, abs=2)
        assert (found.low, found.high) == pytest.approx((values.min(), values.max()))


def test_vectors_that_lie_elsewhere_drift_where_scipy_says_so(folder: Path) -> None:
    made = plan(folder)
    assert made.drift is not None
    flipped = GENERATOR.permutation(ROWS)[:1_000] * ([-1.0] * SIZE + [1.0])
    same = GENERATOR.permutation(ROWS)[:1_000]
    verdicts: dict[str, dict[str, str]] = {}
    reference = parse_reference(encode_profile(made_profile()))
    for kind, rows in {"flipped": flipped, "same": same}.items():
        counts = counted(made, rows, 2)
        key = (None, None, 1)
        (found,) = judge_window({key: reference}, {}, {key: counts}, {}, JudgeSettings()).values()
        verdicts[kind] = {each.name: each.verdict for each in found.columns if each.name in MEASURES}
        for name, values in by_numpy(rows).items():
            p = ks_2samp(values, by_numpy(ROWS)[name]).pvalue
            assert (p < 1e-6) == (verdicts[kind][name] == "drift")
    assert verdicts == {
        "flipped": {"emb.norm": "ok", "emb.distance": "drift"},
        "same": {"emb.norm": "ok", "emb.distance": "ok"},
    }


def test_a_profile_of_before_goes_on_without_and_says_so(folder: Path) -> None:
    made = plan(folder, "2")
    assert made.drift is not None
    assert made.drift.collect.vectors == ()
    assert [name for name, _ in made.drift.collect.columns] == ["age"]
    assert made.drift.note == (
        "drift: the vectors emb are not watched, as the reference profile was made without them: "
        "reference_profile(..., vectors=[...]), or tailrace profile --vectors emb"
    )
    assert counted(made, ROWS[:50], 1).columns.keys() == {"age"}


def test_one_measure_can_be_asked_for_and_personal_vectors_have_none(folder: Path) -> None:
    one = plan(folder, text=JOB.replace("window: 1h", "window: 1h, columns: [emb.distance]")).drift
    assert one is not None
    assert one.collect.columns == ()
    assert [each.measures for each in one.collect.vectors] == [("emb.distance",)]
    with pytest.raises(JobFileError, match=r"age, emb\.norm, emb\.distance"):
        plan(folder, text=JOB.replace("window: 1h", "window: 1h, columns: [emb.cosine]"))
    private = plan(folder, text=JOB.replace('6>", req', '6>", pii: hash, req')).drift
    assert private is not None
    assert private.collect.vectors == ()
    assert private.note is None


def test_a_version_that_the_release_log_names_is_counted_about_its_centre(folder: Path) -> None:
    made = plan(folder, "champion")
    assert counted(made, ROWS[:100], 2).columns.keys() >= {"age", *MEASURES}


def test_null_and_overflow_are_counted_as_such() -> None:
    columns = [pa.array([1e200, None, 3.0]), pa.array([0.0, None, 4.0])]
    found = measures("v", columns, [0.0, 0.0])["v.norm"]
    assert found.to_pylist() == [float("inf"), None, 5.0]


@pytest.mark.parametrize("center", [[], [float("1e400")], ["x"]])
def test_a_centre_that_is_none_is_refused(center: list[Any]) -> None:
    profile = made_profile()
    raw = json.dumps(profile | {"vectors": {"emb": {"center": center}}}).encode()
    with pytest.raises(ModelError):
        parse_reference(raw)
    with pytest.raises(ValueError, match="vectors must have elements"):
        reference_profile(table(), vectors=["other"])


def test_training_makes_the_measures_of_the_jobs_vectors(tmp_path: Path) -> None:
    text = JOB_OF_PAYMENTS.replace(
        "  schema:\n", '  schema:\n    at_map: {type: "vector<float, 2>", required: true}\n'
    )
    inputs = '("amount", "at_map_0", "at_map_1")'
    write_model(tmp_path, inputs=inputs, history="lambda: with_places(payments())")
    trainer = tmp_path / "cards" / "train.py"
    trainer.write_text(f"from {__name__} import with_places\n{trainer.read_text()}")
    (tmp_path / "job.yaml").write_text(text)
    registry = Registry(tmp_path)
    nowhere = (
        "the vector 'at_map' must be there in at least one of the [0-9]+ held-out rows; it is null in all"
    )
    with pytest.raises(InputError, match=nowhere):
        train(
            load_trainer(tmp_path / "cards"),
            registry,
            training_settings(tmp_path / "none"),
            features=no_places,
        )
    train(load_trainer(tmp_path / "cards"), registry, training_settings(tmp_path), features=placed)
    profile = parse_reference((registry.folder("cards", 1) / PROFILE_FILE).read_bytes())
    assert {*profile.columns} == {"amount", "at_map.norm", "at_map.distance"}
    held_out = profile.vectors["at_map"]
    assert held_out == pytest.approx([2.0, -1.0], abs=0.3)


def with_places(records: pa.Table) -> pa.Table:
    places = np.random.default_rng(3).normal((2.0, -1.0), size=(records.num_rows, 2))
    return records.append_column("at_map", pa.array(places.tolist(), pa.list_(pa.float64())))


def placed(job: JobSpec, records: pa.Table, columns: Sequence[str], note: Note) -> Computed:
    found = in_memory(job, records, ["amount"], note)
    places = np.array(records["at_map"].to_pylist())[found.rows]
    table_ = pa.table({"amount": found.table["amount"], "at_map_0": places[:, 0], "at_map_1": places[:, 1]})
    return Computed(table_.select(list(columns)), found.rows, found.times, found.lost)


def no_places(job: JobSpec, records: pa.Table, columns: Sequence[str], note: Note) -> Computed:
    found = placed(job, records, columns, note)
    nothing = pa.nulls(found.table.num_rows, pa.float64())
    table_ = found.table.set_column(1, columns[1], nothing).set_column(2, columns[2], nothing)
    return Computed(table_, found.rows, found.times, found.lost)
