"""`tailrace profile`: a reference profile from any Parquet or CSV file."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from udfs.profile.profile import encode_profile, reference_profile

runner = CliRunner()
TABLE = pa.table(
    {
        "delay": [1.5, 2.5, None, 4.0],
        "origin": ["EWR", "JFK", "EWR", None],
        "late": [True, False, True, True],
        "score": [0.1, 0.2, 0.3, 0.4],
    }
)


def run(file: Path, *options: str) -> Result:
    return runner.invoke(app, ["profile", str(file), "--out", str(file.parent / "made.json"), *options])


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pyarrow.parquet.write_table(TABLE, tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_a_parquet_file_becomes_the_profile_of_its_rows(parquet: Path) -> None:
    result = run(parquet, "--outputs", "score", "--bins", "3", "--top", "1")
    assert result.exit_code == 0
    inputs, outputs = TABLE.select(["delay", "origin", "late"]), TABLE.select(["score"])
    made = (parquet.parent / "made.json").read_bytes()
    assert made == encode_profile(reference_profile(inputs, outputs, bins=3, top=1))
    assert result.output.splitlines()[0] == "4 rows, 3 inputs, 1 outputs; 2 of them numeric"
    assert result.output.splitlines()[-1] == f"wrote {parquet.parent / 'made.json'}"


def test_a_csv_file_and_chosen_columns(tmp_path: Path) -> None:
    file = tmp_path / "rows.CSV"
    pyarrow.csv.write_csv(TABLE, file)
    assert run(file, "--columns", "origin, delay").exit_code == 0
    made = json.loads((tmp_path / "made.json").read_bytes())
    assert list(made["columns"]) == ["delay", "origin"]
    assert made["columns"]["delay"]["null"] == 1
    assert made["outputs"] == {}


def test_vectors_are_profiled_by_their_norm_and_distance(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    rows = pa.table({"v_0": [3.0, 0.0], "v_1": [4.0, 0.0], "name": ["a", "b"]})
    pyarrow.parquet.write_table(rows, file)
    assert run(file, "--vectors", "v").exit_code == 0
    made = json.loads((tmp_path / "made.json").read_bytes())
    assert {*made["columns"]} == {"name", "v.norm", "v.distance"}
    assert made["vectors"] == {"v": {"center": [1.5, 2.0]}}
    assert (made["columns"]["v.norm"]["max"], made["columns"]["v.distance"]["max"]) == (5.0, 2.5)
    for name, said in {"w": "such as w_0; got w", "name": "such as name_0; got name"}.items():
        found = run(file, "--vectors", name)
        assert isinstance(found.exception, InputError)
        assert said in str(found.exception)


def test_a_column_without_any_value_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1, 2], "b": pa.nulls(2)}), file)
    assert "without any value: b\n" in run(file).output


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("none.parquet", None, [], "there is no such file"),
        ("rows.txt", b"a\n1\n", [], "must end in .parquet or .csv; got '.txt'"),
        ("rows", b"a\n1\n", [], "got 'no ending'"),
        ("rows.parquet", b"a\n1\n", [], "must be a Parquet file"),
        ("rows.csv", b"a,b\n1\n", [], "must be a CSV file"),
        ("rows.csv", b"", [], "must be a CSV file"),
        ("rows.csv", b"a,b\n", [], "must have rows; got none"),
        ("rows.csv", b"a,a\n1,2\n", [], "must have a column that occurs once; got 'a' twice"),
        ("rows.csv", b"delay\n1\n", ["--columns", "dela"], "has no column 'dela'; did you mean 'delay'?"),
        ("rows.csv", b"delay\n1\n", ["--outputs", "x"], "has no column 'x'; it has delay"),
        ("rows.csv", b"day\n2013-01-01\n", [], "'day' must be numbers, text or booleans; got timestamp"),
    ],
)
def test_what_cannot_be_profiled_is_an_error(
    tmp_path: Path, name: str, content: bytes | None, options: list[str], said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run(tmp_path / name, *options)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)
    assert not (tmp_path / "made.json").exists()


def test_a_profile_that_cannot_be_written_is_an_error(parquet: Path) -> None:
    result = runner.invoke(app, ["profile", str(parquet), "--out", str(parquet.parent / "none" / "p.json")])
    assert isinstance(result.exception, InputError)
    assert "cannot be written" in str(result.exception)


def test_references_of_segments_and_hours(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "delay": [float(i % 17) for i in range(800)],
            "origin": ["EWR", "JFK", "LGA", "EWR"] * 200,
            "at": [f"2013-07-0{i % 7 + 1}T{i % 24:02}:30:00Z" for i in range(800)],
        }
    )
    pyarrow.parquet.write_table(rows, tmp_path / "rows.parquet")
    result = run(tmp_path / "rows.parquet", "--segments", "origin", "--event-time", "at")
    assert result.exit_code == 0, result.output
    made = json.loads((tmp_path / "made.json").read_bytes())
    assert list(made["columns"]) == ["delay", "origin"]
    assert {value: part["rows"] for value, part in made["segments"]["origin"].items()} == {
        "EWR": 400,
        "JFK": 200,
        "LGA": 200,
    }
    assert len(made["hour_of_week"]) == 168
    assert "values of origin: 3 of 3 have the 200 rows" in result.output
    assert "hours of the week: 168 of 168, of 4 to 5 rows" in result.output


def test_times_must_be_times(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(TABLE, tmp_path / "rows.parquet")
    result = run(tmp_path / "rows.parquet", "--event-time", "origin")
    assert isinstance(result.exception, InputError)
    assert "must be timestamps" in str(result.exception)


def test_what_a_job_calls_personal_data_is_left_out(parquet: Path) -> None:
    """Its most frequent values would stand in the profile."""
    job = parquet.parent / "job.yaml"
    job.write_text(
        "job: a\nsource: {topic: t, schema: {home: {type: string, pii: hash}, delay: double}}\n"
        "features: {derive: {from: UPPER(home)}}\nmodel: {name: m, inputs: {origin: from}}\n"
    )
    result = run(parquet, "--outputs", "score", "--segments", "origin", "--job", str(job))
    assert result.exit_code == 0, result.output
    assert "left out, as personal data: origin" in result.output
    made = (parquet.parent / "made.json").read_text()
    assert list(json.loads(made)["columns"]) == ["delay", "late"]
    assert "EWR" not in made
