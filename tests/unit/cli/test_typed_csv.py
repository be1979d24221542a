"""Each place that reads CSV reads zip 02139 as the text that signature, schema or a person says it is.

The adversary is a reader that guesses from the values: 2139 is another zip, "" another text than none. The
oracle is the table as pandas reads it when told the types.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from typer.testing import CliRunner, Result

from flink_jobs.backtest.labels import read_labels
from flink_jobs.cli import app
from flink_jobs.errors import InputError, JobFileError
from flink_jobs.history import read_records
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.plan.columns import job_columns
from flink_jobs.registry import Registry
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import read_history
from tests.helpers import registered
from tests.helpers.foreign import dumped
from udfs.features import FeatureBuilder
from udfs.model.loading import load_version
from udfs.model.manifest import Input, Output, Signature

ROWS = "zip,vip,seats,late\n02139,True,3,no\n10001,,,yes\n,False,1,no\n00501,True,2,yes\n"
WANTED = pd.read_csv(
    io.StringIO(ROWS), dtype={"zip": "string", "vip": "string", "seats": "Int64"}, keep_default_na=False,
    na_values={"zip": [""], "vip": [""], "seats": [""]},
)  # fmt: skip
ZIPS = [None if value is pd.NA else str(value) for value in WANTED["zip"]]
VIPS = [None if value is pd.NA else str(value) for value in WANTED["vip"]]
SEATS = [None if value is pd.NA else int(value) for value in WANTED["seats"]]
SIGNATURE = """
inputs: [{name: zip, type: string}, {name: vip, type: string}]
output: {kind: binary, classes: ["no", "yes"]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(ROWS)
    Path("signature.yaml").write_text(SIGNATURE)
    return tmp_path


def ran(*arguments: str) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"
    return result


def a_model() -> Any:
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["zip", "vip"]))
    frame = pd.DataFrame({"zip": ZIPS, "vip": VIPS})
    return make_pipeline(encoder, LogisticRegression()).fit(frame, ["no", "yes", "no", "yes"])


@pytest.mark.parametrize(
    "how", [("--signature", "signature.yaml"), ("--type", "zip=string", "--type", "vip=string")]
)
def test_rows_of_a_version(how: tuple[str, ...], folder: Path) -> None:
    Path("m.joblib").write_bytes(dumped(a_model()))
    ran("models", "import", "m", "m.joblib", "--rows", "rows.csv", *how)
    golden = pq.read_table(folder / "models/m/versions/1/golden.parquet")
    count = len(ZIPS)
    assert (golden["zip"].to_pylist()[:count], golden["vip"].to_pylist()[:count]) == (ZIPS, VIPS)
    profile = json.loads((folder / "models/m/versions/1/profile.json").read_text())
    assert profile["columns"]["zip"]["null"] == profile["columns"]["vip"]["null"] == 1
    assert load_version(folder / "models/m/versions/1").manifest.signature.names == ["zip", "vip"]


def test_rows_that_are_not_what_the_signature_says(folder: Path) -> None:
    Path("m.joblib").write_bytes(dumped(a_model()))
    pq.write_table(pa.table({"zip": [2139], "vip": ["True"]}), "rows.parquet")
    command = ["models", "import", "m", "m.joblib", "--signature", "signature.yaml", "--rows", "rows.parquet"]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, InputError)
    assert "rows.parquet must have a column of string; got 'zip' of int64" in str(error)


@pytest.mark.parametrize(
    "how", [("--signature", "signature.yaml"), ("--type", "zip=string", "--type", "vip=string")]
)
def test_profiles(how: tuple[str, ...], folder: Path) -> None:
    ran("profile", "rows.csv", *how)
    columns = json.loads(Path("profile.json").read_text())["columns"]
    assert set(columns["zip"]["values"]) == {"02139", "10001", "00501"}
    assert set(columns["vip"]["values"]) == {"True", "False"}
    ran("profile", "rows.csv", "--type", "vip=boolean")
    columns = json.loads(Path("profile.json").read_text())["columns"]
    assert set(columns["vip"]["values"]) == {"true", "false"}


def test_types_that_are_none(folder: Path) -> None:
    for given, said in [
        ("zip", "COLUMN=TYPE"),
        ("zip=text", "COLUMN=TYPE"),
        ("zip=strin", "did you mean 'string'"),
    ]:
        error = CliRunner().invoke(app, ["profile", "rows.csv", "--type", given]).exception
        assert isinstance(error, InputError)
        assert said in str(error)
    error = CliRunner().invoke(app, ["profile", "rows.csv", "--type", "zip=long"]).exception
    assert error is None, "zips of digits alone may be numbers, where a person says so"
    error = CliRunner().invoke(app, ["profile", "rows.csv", "--type", "late=double"]).exception
    assert "rows.csv must have a column of double; got 'late' with 'no'" in str(error)


JOB = """
job: shop
source:
  topic: orders
  event_time: {field: at, unit: UNIT}
  schema:
    zip: string
    vip: string
    seats: long
    at: {type: KIND, required: true}
model: {name: fraud}
"""
TIMES = ("2026-01-01 05:30:00", "2026-01-01T05:30:00Z", "2026-01-01 06:30:00+01:00", "1767245400000")


def history_job(unit: str) -> Any:
    return load_job_text(
        JOB.replace("UNIT", unit).replace("KIND", "string" if unit == "iso8601" else "long"),
        "job.yaml",
        Path(),
    )


@pytest.mark.parametrize(
    ("unit", "written", "read"),
    [
        ("iso8601", TIMES[0], TIMES[0]),
        ("iso8601", TIMES[1], TIMES[1]),
        ("iso8601", TIMES[2], "2026-01-01T05:30:00.000Z"),
        ("ms", TIMES[3], 1767245400000),
        ("ms", TIMES[0], 1767245400000),
        ("s", TIMES[2], 1767245400),
    ],
)
def test_records_of_history(unit: str, written: str, read: object, folder: Path) -> None:
    lines = ROWS.splitlines()
    Path("rows.csv").write_text("\n".join([f"{lines[0]},at", *(f"{line},{written}" for line in lines[1:])]))
    found = read_records(history_job(unit), Path("rows.csv"), types={"late": "string"})
    records = [json.loads(message.value or b"") for message in found.records]
    assert [record["zip"] for record in records] == ZIPS
    assert [record["vip"] for record in records] == VIPS
    assert [record["seats"] for record in records] == SEATS
    assert {record["at"] for record in records} == {read}
    assert found.columns["late"].to_pylist() == ["no", "yes", "no", "yes"]
    assert len(read_records(history_job(unit), Path("rows.csv"), 2).records) == 2


def test_training_history_and_labels(folder: Path) -> None:
    Path("rows.csv").write_text(ROWS.replace("late", "code").replace("no", "007").replace("yes", "1"))
    trainer = Trainer(
        name="shop",
        job=Path("job.yaml"),
        inputs=("zip",),
        label="code",
        output=Output(kind="binary", classes=("007", "1")),
        history=lambda: Path("rows.csv"),
        build=lambda _: None,
    )
    table = read_history(trainer, history_job("iso8601"))
    assert table["zip"].to_pylist() == ZIPS
    assert table["code"].to_pylist() == ["007", "1", "007", "1"]
    Path("labels.csv").write_text("zip,paid\n02139,True\n00501,1\n")
    labels = read_labels(Path("labels.csv"), "zip", None, types={"zip": "string", "paid": "boolean"})
    assert labels.of({"zip": pa.chunked_array([ZIPS], pa.string())}).to_pylist() == [True, None, None, True]


LOOKUP_JOB = """
job: shop
source:
  topic: orders
  event_time: {field: at, unit: ms}
  schema: {shop: {type: string, required: true}, at: {type: long, required: true}}
features:
  lookups: {shops: {file: shops.csv, by: shop, select: SELECT}}
DERIVE
model: {name: fraud, registry: models, use: 1}
"""
SHOPS = "shop,zip,vip\n07,10001,True\n7,20001,\n"


def lookup_job(folder: Path, select: str, derive: str = "") -> Any:
    (folder / "shops.csv").write_text(SHOPS)
    text = LOOKUP_JOB.replace("SELECT", select).replace("DERIVE", f"  derive: {derive}" if derive else "")
    return load_job_text(text, "job.yaml", folder)


def joined(job: Any) -> dict[str, list[Any]]:
    """What a worker joins to orders of two shops, with the plan's own parameters."""
    from flink_jobs.plan.params import feature_params

    table = pa.table({"shop": ["07", "7"]})
    found, problems = FeatureBuilder(feature_params(job, make_plan(job).columns)).compute(table)
    assert not problems
    wide: dict[str, list[Any]] = found.to_pydict()
    return wide


def test_a_lookup_is_what_the_model_takes(folder: Path) -> None:
    """Guessed from its values, zip would be a long, which no string input takes."""
    inputs = (Input(name="zip", type="string"), Input(name="vip", type="string"))
    output = Output(kind="binary", classes=("no", "yes"))
    registered.write(
        Registry(folder / "models"),
        model=a_model(),
        signature=Signature(inputs=inputs, output=output),
        golden_inputs=pa.table({"zip": ["10001", None], "vip": [None, "True"]}),
    )
    job = lookup_job(folder, "[zip, vip]")
    assert joined(job) == {"shop": ["07", "7"], "zip": ["10001", "20001"], "vip": ["True", None]}
    declared = "{zip: zip, vip: {column: vip, type: boolean}}"
    with pytest.raises(JobFileError, match="vip"):
        make_plan(lookup_job(folder, declared))


def test_a_lookup_is_what_is_declared(folder: Path) -> None:
    job = lookup_job(folder, "{zip: {column: zip, type: string}, vip: vip}")
    assert {name: job_columns(job)[name].type for name in ("zip", "vip")} == {
        "zip": "string",
        "vip": "boolean",
    }
    job = lookup_job(folder, "{area: {column: zip, type: string}, vip: {column: vip, type: string}}")
    assert {name: job_columns(job)[name].type for name in ("area", "vip")} == {
        "area": "string",
        "vip": "string",
    }
    with pytest.raises(
        JobFileError, match=r"features\.lookups\.shops\.select: .*column of long.* 'vip' with 'True'"
    ):
        job_columns(lookup_job(folder, "{vip: {column: vip, type: long}}"))
