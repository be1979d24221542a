"""A month of real flights: what the stream computes is what training gets, and what was computed offline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flink_jobs.demo import batch as demo
from flink_jobs.demo import flights
from flink_jobs.jobfile import load_job
from flink_jobs.testing import Broker, JobHarness, Message
from flink_jobs.training.data import features_on_flink
from tests.helpers.flight_model import FlightFiles, flight_files
from udfs.model.explain import explainer
from udfs.model.loading import load_version

__all__ = ["flight_files"]

TOLERANCE = 1e-9


def job_text(files: FlightFiles) -> str:
    """The committed job file with explanations and all features in its predictions, the session's model."""
    text = demo.JOB_FILE.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("  include:")]
    lines.insert(lines.index("predictions:") + 1, f"  include: [flight_id, {', '.join(flights.FEATURES)}]")
    lines.insert(lines.index("predictions:") + 1, "  explain: 3")
    edited = "\n".join(lines).replace("registry: ../models", f"registry: {files.models}")
    assert str(files.models) in edited
    return edited


@pytest.fixture(scope="module")
def july() -> pd.DataFrame:
    return flights.events([7])


@pytest.mark.timeout(600)
def test_features_for_training_are_those_computed_offline(
    broker: Broker, flight_files: FlightFiles, july: pd.DataFrame
) -> None:
    """By the way of `tailrace train`: the records of a table, through the job file on Flink."""
    job = load_job(demo.JOB_FILE, flight_files.environ(broker.bootstrap))
    records = flights.records_table(july)
    found = features_on_flink(job, records, list(flights.FEATURES), print, broker.bootstrap)
    assert (found.lost, found.rows.tolist()) == (0, list(range(len(july))))
    departed = pd.to_datetime(july["departed_at"]).dt.tz_localize(None).to_numpy("datetime64[ms]")
    assert (found.times == departed).all()
    offline = flights.offline_features(july)
    for name in flights.FEATURES:
        assert_equal(name, found.table[name].to_pylist(), offline[name])


@pytest.mark.timeout(600)
def test_offline_and_streamed_features_and_scores_agree(
    broker: Broker, flight_files: FlightFiles, july: pd.DataFrame
) -> None:
    rows = [
        Message(value, origin.encode())
        for value, origin in zip(flights.payloads(july), july["origin"], strict=True)
    ]
    environ = flight_files.environ(broker.bootstrap)
    harness = JobHarness(broker, partitions=2)
    results = harness.run(job_text(flight_files), rows, environ=environ, base=demo.JOB_FILE.parent)
    assert results.accounts() == {"read": 28_485, "predicted": 28_485, "dead": 0, "late": 0}

    streamed = {row.json["flight_id"]: row.json for row in results.predictions}
    ordered = [streamed[flight] for flight in july["flight_id"]]
    offline = flights.offline_features(july)
    for name in flights.FEATURES:
        assert_equal(name, [row[name] for row in ordered], offline[name])
    model = load_version(flight_files.models / "flight_delay" / "versions" / "1").model
    scored = model.predict(offline)
    assert_equal("score", [row["score"] for row in ordered], pa.chunked_array([scored.score]))
    assert [row["prediction"] for row in ordered] == list(scored.prediction)
    explained = explainer(model)(offline, scored)
    raw = explained.base + explained.values.sum(axis=1)
    np.testing.assert_allclose([raw_score(row["explanation"]) for row in ordered], raw, atol=1e-9)


def raw_score(explanation: dict[str, Any]) -> float:
    """What an explanation adds up to; it names three inputs."""
    contributions = explanation["contributions"]
    assert len(contributions.keys() & flights.FEATURES.keys()) == len(contributions) == 3
    return float(explanation["base"] + sum(contributions.values()) + explanation["rest"])


def assert_equal(name: str, streamed: list[Any], offline: pa.ChunkedArray) -> None:
    """Nulls in the same places, text and whole numbers the same, doubles within the tolerance."""
    expected = offline.to_pylist()
    if not pa.types.is_floating(offline.type):
        assert streamed == expected, name
        return
    assert [value is None for value in streamed] == [value is None for value in expected], name
    pairs = zip(streamed, expected, strict=True)
    apart = [abs(got - wanted) for got, wanted in pairs if got is not None]
    assert np.max(apart) <= TOLERANCE, name
