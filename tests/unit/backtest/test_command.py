"""`tailrace backtest`: what is refused before anything runs, and what text, JSON and page say."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from flink_jobs.backtest import compare
from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.narrate import headline
from flink_jobs.backtest.outputs import Predictions
from flink_jobs.backtest.page import render
from flink_jobs.backtest.records import Backtest, DeadCount, VersionRun, encode
from flink_jobs.backtest.table import print_report
from flink_jobs.cli import app
from flink_jobs.errors import InputError
from tests.helpers import models
from tests.helpers.samples import write_model
from udfs.model.manifest import Output

JOB = """
job: tiny
source:
  topic: points
  event_time: {field: at, unit: ms}
  schema: {at: long, a: {type: double, required: true}, who: {type: string, pii: hash}}
model: {name: tiny}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for _ in range(2):
        write_model(tmp_path / "models", "tiny", "a")
    models.write(
        *(tmp_path / "models", "line", LinearRegression()),
        *(pa.table({"a": [0.0, 1.0]}), [0.0, 1.0], "regression"),
    )
    (tmp_path / "job.yaml").write_text(JOB)
    table = pa.table({"at": [1, 2], "a": [0.5, -1.0], "late": [True, False], "odd": ["x", "y"]})
    pq.write_table(table, tmp_path / "in.parquet")
    pq.write_table(table.append_column("who", [["ann", "bob"]]), tmp_path / "who.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "1"], "--model must be given twice, for A and for B; got 1"),
        (["--model", "1", "--model", "latst"], "must be a version, .*; got 'latst'; did you mean 'latest'"),
        (["--model", "2", "--model", "latest"], "must name two versions; both are tiny version 2"),
        (["--model", "1", "--model", "3"], "version 3 of model tiny must be one of 1, 2"),
        (["--model", "1", "--model", "line:1"], "must have the same output; got binary .* and regression"),
        (["--model", "1", "--model", "tin:2"], "model tin is not in .*; did you mean 'tiny'"),
        (["--model", "1", "--model", "2", "--label", "lat"], "has no column 'lat'; did you mean 'late'"),
        (["--model", "1", "--model", "2", "--label", "odd"], "the label 'odd' must be one of .*; got 'x'"),
        (["--model", "1", "--model", "2", "--labels", "x.parquet"], "--labels must be FILE:KEY"),
        (
            ["--model", "1", "--model", "2", "--labels", "x.parquet:id"],
            "x.parquet must be a Parquet or CSV file; there is no such file",
        ),
        (["--model", "1", "--model", "2", "--by", "who"], "must not be personal data; got 'who'"),
        (
            ["--input", "who.parquet", "--model", "1", "--model", "2", "--by", "who"],
            "must not be personal data; got 'who'",
        ),
        (["--model", "1", "--model", "2", "--by", "city"], "must name columns of the job .*; got 'city'"),
        (["--model", "1", "--model", "2", "--window", "1"], "--window must be a duration .* from 1s"),
        (["--model", "1", "--model", "2", "--html", "no/x.html"], "there is no folder .*/no"),
    ],
)
def test_mistakes_are_told_before_anything_starts(folder: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["backtest", "job.yaml", "--input", "in.parquet", *options])
    assert isinstance(result.exception, InputError)
    assert re.search(message, str(result.exception), re.DOTALL), result.exception


def found(kind: str, *, labelled: bool, hostile: str = "EWR") -> Backtest:
    """A backtest of 600 made-up rows."""
    rng, n = np.random.default_rng(4), 600
    score, other = rng.random(n), rng.random(n)
    truth = (rng.random(n) < score).astype(np.float64)
    output = Output(kind="binary", classes=("no", "yes"))
    a, b = (Predictions("binary", (s >= 0.5).astype(np.float64), s) for s in (score, (score + other) / 2))
    if kind == "regression":
        output, truth = Output(kind="regression"), rng.normal(0, 1, n)
        a, b = (Predictions("regression", truth + noise, truth + noise) for noise in (other, score * 3))
    times = np.arange(n, dtype=np.int64) * 3_600_000
    rows = compare.PairedRows(output, a, b, times, truth, np.full(n, labelled))
    settings = compare.ComparisonSettings(604_800_000, Draws(resamples=100))
    names = pa.chunked_array([[hostile, "JFK", None] * 200])
    outputs = [pa.table({"city": names, "prediction": s.prediction, "score": s.score}) for s in (a, b)]
    run = VersionRun("tiny", 1, "sha256:" + "0" * 64, n, 3, (DeadCount("decode", "not_json", 2),))
    return Backtest(
        job="tiny",
        input="in.parquet",
        read=n + 5,
        kind=output.kind,
        scored="per_event",
        label="late" if labelled else None,
        a=run,
        b=run,
        window="7d",
        block="6h",
        level=0.95,
        resamples=100,
        seed=0,
        total=compare.slice_of(rows, settings),
        windows=compare.over_time(rows, settings),
        segments=compare.by_segment(rows, "city", names, settings),
        changed=compare.changed_rows(rows, outputs[0], outputs[1], None, names),
    )


def shown(backtest: Backtest) -> str:
    out = StringIO()
    print_report(Console(file=out, width=160), backtest)
    return out.getvalue()


def test_the_report_of_a_worse_version() -> None:
    text = shown(found("binary", labelled=True))
    assert text.startswith("B is worse by")
    assert re.search(r"AUC +0\.8\d+ \(0\.\d+ to 0\.\d+\) .* A is better", text)
    assert "600 records predicted, 2 dead letters (2 decode/not_json), 3 late" in text
    assert "1970-01-08" in text
    assert "(missing)" in text
    assert re.search(r"other predictions +\d+%  \(yes → no: \d+, no → yes: \d+\)", text)


def test_the_report_without_labels_and_of_numbers() -> None:
    text = shown(found("binary", labelled=False))
    assert re.match(r"\d+% of the predictions are others; without labels nobody knows", text)
    assert "AUC" not in text
    assert "mean A" in text
    assert "MAE" in shown(found("regression", labelled=True))
    assert headline(found("regression", labelled=False)).verdict == "unknown"


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_page_needs_nothing_else_and_trusts_no_text(kind: str, labelled: bool) -> None:
    page = render(found(kind, labelled=labelled, hostile="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r"(?:src|href)=", page) == []
    assert ("<h2>Metrics</h2>" in page) == labelled
    assert page.count("<figure>") == {("binary", True): 7, ("binary", False): 3}.get(
        (kind, labelled), 6 if labelled else 2
    )
    assert not re.search(r"\bnan\b", page)


def test_the_json_is_the_backtest() -> None:
    made = found("binary", labelled=True)
    assert msgspec.json.decode(encode(made), type=Backtest) == made
    assert msgspec.json.decode(encode(made))["schema"] == "tailrace.backtest/1"
