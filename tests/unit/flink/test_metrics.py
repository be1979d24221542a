"""The counters: all are documented, all there from the first batch on, and times are those of the clock."""

from __future__ import annotations

import re
import resource
from collections import defaultdict
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from sklearn.linear_model import LinearRegression

from flink_jobs.system.jars import PROJECT
from tests.helpers import models
from udfs.drift.params import MonitorParams
from udfs.features import FeatureParams
from udfs.flink.drift import MonitorFunction
from udfs.flink.functions import ScoreFunction
from udfs.flink.quality import QualityFunction
from udfs.model.manifest import digest, read_manifest
from udfs.quality.params import QualityCount, QualityParams
from udfs.records.contract import Contract, Field
from udfs.scoring.latency import BUCKETS
from udfs.scoring.params import ModelParams, OutputParams, ScoreParams, SourceParams
from udfs.scoring.scorer import RowBatch, Scorer

DOCS = (PROJECT / "docs" / "metrics.md").read_text()


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> ScoreParams:
    inputs = pa.table({"size": [1.0, 2.0]})
    root = tmp_path_factory.mktemp("models")
    outputs = pa.table({"prediction": [10.0, 20.0]})
    folder = models.write(
        root, "prices", LinearRegression(), inputs, [10.0, 20.0], "regression", profiled=outputs
    )
    return ScoreParams(
        SourceParams("homes", Contract((Field("size", "double"),))),
        FeatureParams((), ()),
        ModelParams(str(folder), digest(read_manifest(folder)), 1, (("size", "size", "double"),)),
        OutputParams(),
    )


class Group:
    """A metric group that remembers what its counters were told."""

    def __init__(self, told: defaultdict[str, list[int]] | None = None, scope: tuple[str, ...] = ()) -> None:
        self.told: defaultdict[str, list[int]] = defaultdict(list) if told is None else told
        self.scope = scope

    def add_group(self, name: str, label: str | None = None) -> Group:
        assert (name == "tailrace") == (not self.scope)
        assert (name == "le") == (label is not None)
        return Group(self.told, (*self.scope, name))

    def counter(self, name: str) -> Any:
        told = self.told["_".join((*self.scope[1:], name))]
        return SimpleNamespace(inc=lambda n=1: told.append(n), name=told)

    def gauge(self, name: str, value: Any) -> None:
        self.told[name].append(value())


def sizes(*values: float | None) -> dict[str, pa.Array]:
    rows = range(len(values))
    return {"size": pa.array(values, pa.float64()), "_partition": pa.array(rows), "_offset": pa.array(rows)}


def score_once(params: ScoreParams) -> Group:
    group, function = Group(), ScoreFunction(params)
    function.open(SimpleNamespace(get_metric_group=lambda: group))
    values, numbers = pa.array([b'{"size":1}', b'{"size":2}']), pa.array([0, 1])
    times, late = pa.array([1, 1], pa.timestamp("ms")), pa.array([False, False])
    function.eval(values, times, late, numbers, numbers, times)
    return group


def test_every_counter_is_documented(params: ScoreParams) -> None:
    monitored = Group()
    assert params.model is not None
    monitor = MonitorFunction(MonitorParams("j", "prices", {1: params.model.folder}, 1, {}, ()), live=False)
    quality = QualityFunction(QualityParams("j", "prices", QualityCount(1)), live=False)
    for function in (monitor, quality):
        function.open(
            SimpleNamespace(
                get_metrics_group=lambda: monitored, get_map_state=lambda _: None, get_state=lambda _: None
            )
        )
    documented = re.findall(r"^\| `([a-z_]+)` \|", DOCS, re.MULTILINE)
    assert documented == [*score_once(params).told, *monitored.told]


def test_all_counters_are_published_from_the_first_batch_on(params: ScoreParams) -> None:
    told = score_once(params).told
    assert told.pop("worker_ms")[0] >= told.pop("model_ms")[0] >= 0
    # By another account of the kernel's, the most that it ever was, in KB, which lags a little.
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert largest / 10 < told.pop("worker_bytes")[0] < largest * 1.1
    assert told.pop("model_load_ms")[0] > 0
    # The events are of 1970.
    assert told.pop("latency_le_bucket") == [0] * 12 + [2]
    counted = {"predicted": [2], "batches": [1], "model_loads": [1]}
    assert told == {name: counted.get(name, [0]) for name in told}


def test_scoring_counts_nothing_that_is_not_published(params: ScoreParams) -> None:
    scorer = Scorer(params)
    scorer.score_rows(RowBatch(np.array([1]), sizes(None)))
    assert scorer.counts["dead_inference"] == 1
    assert scorer.counts.keys() <= {*score_once(params).told, *BUCKETS}


def test_the_models_time_counts_also_where_it_fails(params: ScoreParams) -> None:
    ticks = count(step=700_000)
    scorer = Scorer(params, clock=lambda: next(ticks))
    scorer.score_rows(RowBatch(np.array([1, 1]), sizes(1.0, 2.0)))
    assert scorer.counts["model_ms"] == 0  # 0.7
    scorer.score_rows(RowBatch(np.array([1, 1]), sizes(1.0, None)))
    assert scorer.counts["dead"] == 1
    assert scorer.counts["model_ms"] == 2  # 2.8: both together, then each alone


def test_every_alert_is_documented_with_its_severity() -> None:
    groups = YAML(typ="safe").load((PROJECT / "conf" / "prometheus" / "rules.yml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    documented = re.findall(r"^\| `(Tailrace\w+)` \| (\w+) \|", DOCS, re.MULTILINE)
    assert documented == [(rule["alert"], rule["labels"]["severity"]) for rule in alerts]
