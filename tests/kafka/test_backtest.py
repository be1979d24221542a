"""A backtest of two versions on real flights says what live jobs of these versions say, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flink_jobs import demo, flights
from flink_jobs.backtest.intervals import Draws
from flink_jobs.backtest.metrics import measure
from flink_jobs.backtest.outputs import Said
from flink_jobs.backtest.run import Request, backtest
from flink_jobs.loader import load_job_text
from flink_jobs.registry import Registry
from flink_jobs.testing import Broker, JobHarness, Message
from tests.flight_model import FlightFiles, add_version, flight_files

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
        said.append(Said("binary", np.array([float(row["prediction"]) for row in ordered]), scores))
        run = (found.a, found.b)[version - 1]
        assert (run.version, run.digest, run.predicted, run.dead) == (version, ordered[0]["digest"], ROWS, ())

    a, b = said
    for side, version in (("a", a), ("b", b)):
        expected = measure(truth, version.take(known))
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
