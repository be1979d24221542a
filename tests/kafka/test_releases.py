"""Versions that change in the middle of a stream: at an exact event time, on every worker.

Their registry is in an object store.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.testing import Broker, JobHarness, Results, record
from tests.helpers import models
from tests.helpers.s3 import SECRET, bucket_uri
from udfs.releases.log import BEGINNING
from udfs.store import objects as object_store

START = 1_767_268_800_000
SECOND = 1_000
JOB = """
job: payments
source:
  topic: payments
  event_time: {field: at, unit: ms, out_of_order: 1m}
  schema:
    customer: {type: string, required: true}
    amount: {type: double, required: true}
    at: {type: long, required: true}
model: {name: fraud, registry: REGISTRY, refresh: 1s}
predictions: {include: [customer, amount]}
comparisons: {window: 10m, gate: {records: 100, drift: null}}
runtime: {parallelism: 2, checkpoint: {interval: 1s}}
"""
INPUTS = pa.table({"amount": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})


@pytest.fixture(scope="module")
def registry(s3: str) -> Iterator[Registry]:
    """Three versions of `fraud`: 1 is champion, with 3 as shadow; then 2 is, with 3 as canary at last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_store, "SETTLE_SECONDS", 0.5)
        yield _fill(Registry(bucket_uri(s3, f"releases-{uuid.uuid4().hex}")))


def _fill(registry: Registry) -> Registry:
    for threshold in (2, 3, 4):
        targets = [amount > threshold for amount in INPUTS["amount"].to_pylist()]
        models.register(registry, "fraud", LogisticRegression(), INPUTS, targets, "binary")
    releases = Releases(registry, "fraud")
    releases.promote(1, Activation(BEGINNING))
    releases.shadow((3,), Activation(START + 300 * SECOND, past=True))
    releases.promote(2, Activation(START + 600 * SECOND, past=True))
    releases.canary(3, 0.3, "customer", Activation(START + 900 * SECOND, past=True))
    return registry


@pytest.fixture(scope="module")
def results(broker: Broker, registry: Registry) -> Results:
    rows = [
        record(
            {"customer": f"c{i % 500}", "amount": float(i % 7), "at": START + i * SECOND // 4},
            key=f"c{i % 500}",
            partition=i % 2,
        )
        for i in range(4800)
    ]
    text = JOB.replace("REGISTRY", str(registry.root))
    return JobHarness(broker, partitions=2).run(text, rows)


def expected_version(at: int) -> set[int]:
    if at < START + 600 * SECOND:
        return {1}
    return {2} if at < START + 900 * SECOND else {2, 3}


def test_each_record_has_the_version_of_its_event_time(results: Results) -> None:
    assert results.accounts() == {"read": 4800, "predicted": 4800, "dead": 0, "late": 0}
    seen: dict[str, set[int]] = {}
    for row in results.predictions:
        at = START + (row.json["offset"] * 2 + row.json["partition"]) * SECOND // 4
        assert row.json["version"] in expected_version(at)
        assert row.json["release"] == 1 + sum(at >= START + s * SECOND for s in (300, 600, 900))
        if at >= START + 900 * SECOND:
            seen.setdefault(row.json["customer"], set()).add(row.json["version"])
    assert all(len(versions) == 1 for versions in seen.values())
    share = sum(versions == {3} for versions in seen.values()) / len(seen)
    assert 0.2 < share < 0.4


def test_shadows_say_something_of_each_record_of_their_time(results: Results) -> None:
    times = [START + (r.json["offset"] * 2 + r.json["partition"]) * SECOND // 4 for r in results.shadows]
    shadowed = [at for at in times if at < START + 900 * SECOND]
    assert len(shadowed) == 4 * 600 == len(set(shadowed))
    assert min(times) == START + 300 * SECOND
    assert all([s["version"] for s in row.json["shadows"]] == [3] for row in results.shadows)
    by_place = {row.origin: row.json for row in results.predictions}
    for row in results.shadows:
        own = by_place[row.origin]
        assert {**row.json, "shadows": None, "schema": None} == {
            **{k: v for k, v in own.items() if k not in ("customer", "amount")},
            "shadows": None,
            "schema": None,
        }


def test_windows_compare_the_versions(results: Results) -> None:
    windows = {row.json["window"]["start"]: row.json for row in results.comparisons}
    first, second = (windows[start] for start in sorted(windows))
    roles = {(v["role"], v["version"]): v["records"] for v in first["versions"]}
    assert roles == {("champion", 1): 2400, ("shadow", 3): 1200}
    (pair,) = first["pairs"]
    assert pair["n"] == 1200
    assert pair["agreement"] == pytest.approx(5 / 7, abs=0.01)
    assert first["gate"]["outcome"] == "pass"
    assert {(v["role"], v["version"]) for v in second["versions"]} == {
        ("champion", 2),
        ("canary", 3),
        ("shadow", 3),
    }


def test_the_keys_of_the_store_are_in_no_output(results: Results) -> None:
    every = (*results.predictions, *results.shadows, *results.comparisons, *results.alerts)
    assert not any(SECRET in f"{row.value!r}{row.headers}" for row in every)
