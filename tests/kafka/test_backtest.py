"""A backtest of two versions says what live jobs of these versions say, of windows and classes too."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.metrics import measure
from flink_jobs.backtest.outputs import Predictions
from flink_jobs.backtest.run import Request, backtest
from flink_jobs.cli import app
from flink_jobs.demo import batch as demo
from flink_jobs.demo import flights
from flink_jobs.jobfile import load_job_text
from flink_jobs.registry import Registry
from flink_jobs.testing import Broker, JobHarness, Message
from tests.helpers import models
from tests.helpers.flight_model import FlightFiles, add_version, flight_files
from udfs.model.loading import load_version

__all__ = ["flight_files"]

ROWS = 3_000
DAY = 86_400_000


@pytest.fixture
def registry(flight_files: FlightFiles, tmp_path: Path) -> Registry:
    """The trained version, and another one."""
    shutil.copytree(flight_files.models, tmp_path / "models")
    registry = Registry(tmp_path / "models")
    add_version(registry)
    return registry


def job_text(registry: Registry) -> str:
    """The committed job file with this registry, and nothing that watches."""
    lines = demo.JOB_FILE.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("drift:", "alerts:"))]
    return "\n".join(kept).replace("registry: ../models", f"registry: {registry.root}")


@pytest.mark.timeout(600)
def test_a_backtest_says_what_live_jobs_say(
    broker: Broker, flight_files: FlightFiles, registry: Registry, tmp_path: Path
) -> None:
    july = flights.events([7]).head(ROWS)
    flights.write_departures(tmp_path / "july.parquet", [7])
    text = job_text(registry)
    environ = flight_files.environ(broker.bootstrap)
    request = Request(
        *(tmp_path / "july.parquet", "champion", "2"),
        label="late",
        by="origin",
        window_ms=DAY,
        limit=ROWS,
        draws=Draws(resamples=100),
    )
    job = load_job_text(text, "job.yaml", demo.JOB_FILE.parent, environ)
    found = backtest(job, request, brokers=broker.bootstrap)

    known = july["late"].notna().to_numpy()
    truth = july["late"][known].to_numpy(np.float64)
    said = []
    for version in (1, 2):
        fixed = text.replace("use: champion", f"use: {version}")
        rows = [Message(value) for value in flights.payloads(july)]
        live = JobHarness(broker).run(fixed, rows, environ=environ, base=demo.JOB_FILE.parent)
        ordered = sorted((row.json for row in live.predictions), key=lambda row: row["offset"])
        assert len(ordered) == ROWS
        scores = np.array([row["score"] for row in ordered])
        said.append(Predictions("binary", np.array([float(row["prediction"]) for row in ordered]), scores))
        run = (found.a, found.b)[version - 1]
        assert (run.version, run.digest, run.predicted, run.dead) == (version, ordered[0]["digest"], ROWS, ())

    a, b = said
    for side, predictions in (("a", a), ("b", b)):
        expected = measure(truth, predictions.take(known))
        assert {m.name: getattr(m, side).value for m in found.total.metrics} == expected
    assert (found.total.rows, found.total.labelled) == (ROWS, int(known.sum()))
    assert found.total.differences.changed == np.mean(a.prediction != b.prediction)
    assert len(found.changed) == 50
    for row in found.changed:
        assert row.row is not None
        assert (row.score_a, row.score_b) == (a.score[row.row], b.score[row.row])
        assert row.columns["flight_id"] == july["flight_id"][row.row]
    assert abs(found.changed[0].change) == np.abs(b.score - a.score).max()
    assert [part.start for part in found.windows][:2] == ["2013-07-01T00:00:00Z", "2013-07-02T00:00:00Z"]
    assert found.segments is not None
    origins = {part.value: part.rows for part in found.segments.slices}
    assert origins == july["origin"].value_counts().to_dict()


START = 1_767_225_600_000
MINUTE = 60_000
WEATHER = ("cold", "hot", "mild")
CLIMATE = """
job: climate
score: per_window
source:
  topic: readings
  event_time: {field: at, unit: ms, out_of_order: 10s}
  schema:
    at: {type: long, required: true}
    site: {type: string, required: true}
    degrees: {type: double, required: true}
features: {windows: {minute: {by: site, tumble: 1m, select: {n: count(*), mean: avg(degrees)}}}}
model: {name: climate}
predictions: {include: [site, n]}
"""
Means = dict[tuple[int, str], float]


def readings(folder: Path) -> Means:
    """Writes four a minute of three sites; gives the mean of each minute and site, in their order."""
    draw = random.Random(5)
    rows: list[dict[str, Any]] = [
        {"at": START + minute * MINUTE + second, "site": site, "degrees": draw.uniform(-10, 40)}
        for minute in range(40)
        for second in range(0, MINUTE, MINUTE // 4)
        for site in ("north", "south", "west")
    ]
    lines = [json.dumps(row).encode() for row in rows]
    late = json.dumps({"at": START, "site": "north", "degrees": 99.0}).encode()
    (folder / "readings.jsonl").write_bytes(b"\n".join([*lines, b"oops", late]))
    inside: dict[tuple[int, str], list[float]] = defaultdict(list)
    for row in rows:
        inside[row["at"] // MINUTE * MINUTE, row["site"]].append(row["degrees"])
    return {key: fmean(degrees) for key, degrees in sorted(inside.items())}


def weather(mean: float) -> str:
    return "cold" if mean < 10 else "mild" if mean < 20 else "hot"


def write_climate(root: Path, means: Means) -> None:
    """A version that knows the weather, and one that takes the site for it."""
    inputs = pa.table({"mean": list(means.values()), "n": [4] * len(means)})
    truth = [weather(mean) for mean in means.values()]
    for depth, targets in ((None, truth), (2, truth[1:] + truth[:1])):
        tree = DecisionTreeClassifier(max_depth=depth, random_state=0)
        models.write(root, "climate", tree, inputs, targets, "multiclass")


@pytest.mark.timeout(300)
def test_windows_and_many_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, with labels of windows from a file; one of them is not known."""
    monkeypatch.chdir(tmp_path)
    means = readings(tmp_path)
    write_climate(tmp_path / "models", means)
    (tmp_path / "job.yaml").write_text(CLIMATE)
    truth = [weather(mean) for mean in means.values()]
    starts = pa.array([start for start, _ in means], pa.timestamp("ms", tz="UTC"))
    labels = {"window_start": starts, "site": [site for _, site in means], "weather": [*truth[:-1], None]}
    pq.write_table(pa.table(labels), "labels.parquet")
    command = ["backtest", "job.yaml", "--input", "readings.jsonl", "--model", "1", "--model", "2"]
    asked = ["--labels", "labels.parquet:site", "--by", "site", "--window", "10m"]
    done = CliRunner().invoke(app, [*command, *asked, "--json", "out.json", "--html", "page.html"])
    assert done.exit_code == 0, done.output + str(done.exception)

    found = json.loads(Path("out.json").read_text())
    assert (found["kind"], found["scored"], found["read"], found["label"]) == (
        *("multiclass", "per_window"),
        *(len(means) * 4 + 2, "weather"),
    )
    codes = np.array([WEATHER.index(name) for name in truth], np.float64)
    inputs = pa.table({"mean": list(means.values()), "n": [4] * len(means)})
    said = []
    for side, version in (("a", 1), ("b", 2)):
        model = load_version(tmp_path / "models" / "climate" / "versions" / str(version)).model
        scored = model.predict(inputs)
        assert scored.probabilities is not None
        picked = np.array([WEATHER.index(name) for name in scored.prediction])
        chosen = scored.probabilities[np.arange(len(picked)), picked]
        said.append(Predictions("multiclass", picked.astype(np.float64), chosen, scored.probabilities))
        expected = measure(codes[:-1], said[-1].take(np.arange(len(codes) - 1)))
        assert {m["name"]: m[side]["value"] for m in found["total"]["metrics"]} == pytest.approx(expected)
        assert (found[side]["predicted"], found[side]["late"]) == (len(means), 1)
        assert found[side]["dead"] == [{"stage": "decode", "reason": "not_json", "count": 1}]
    assert (found["total"]["rows"], found["total"]["labelled"]) == (len(means), len(means) - 1)
    assert found["total"]["differences"]["changed"] == np.mean(said[0].prediction != said[1].prediction)
    assert [part["rows"] for part in found["windows"]] == [30] * 4
    assert {part["value"]: part["rows"] for part in found["segments"]["slices"]} == {
        "north": 40,
        "south": 40,
        "west": 40,
    }
    first = found["changed"][0]
    place = (START + MINUTE * _minute(first["event_time"]), first["columns"]["site"])
    assert (first["row"], first["columns"]["n"]) == (None, 4)
    assert first["label"] in (weather(means[place]), None)
    assert re.search(r"^accuracy .* A is better", done.output, re.MULTILINE)
    assert "<h2>By site</h2>" in Path("page.html").read_text()


def _minute(time: str) -> int:
    return int(time[14:16])
