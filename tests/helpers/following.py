"""A worker that follows a release log in this process, with real versions in a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry.releases import Activation
from tests.helpers import models
from udfs.features import FeatureParams
from udfs.features.columns import Column
from udfs.quality.params import QualityCount
from udfs.records.contract import Contract, Field
from udfs.rollout.version_metrics import MetricsReport, decode
from udfs.scoring.params import (
    FollowParams,
    ModelParams,
    OutputParams,
    RolloutParams,
    ScoreParams,
    SourceParams,
)
from udfs.scoring.scorer import PREDICTED, Batch, Outcomes, Scorer

INPUTS = pa.table({"amount": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
FIELDS = {"amount": "double", "customer": "string"}
NOW = int(time.time() * 1000)


def add(root: Path, estimator: Any = None, above: float = 2) -> Path:
    """A version of `fraud`; the first one is champion."""
    targets = [amount > above for amount in INPUTS["amount"].to_pylist()]
    first = not (root / "fraud").exists()
    return models.write(
        root, "fraud", estimator or LogisticRegression(), INPUTS, targets, "binary", promoted=first
    )


@contextmanager
def scorer(
    root: Path,
    *,
    timeout_ms: int = 400,
    refresh_ms: int = 100,
    label_key: str | None = None,
    quality: QualityCount | None = None,
) -> Iterator[Scorer]:
    folder = root / "fraud"
    columns = {name: Column(name, kind, "field of payments") for name, kind in FIELDS.items()}  # type: ignore[arg-type]
    follow = FollowParams("fraud", str(folder), columns, {}, refresh_ms, frozenset(FIELDS))
    made = Scorer(
        ScoreParams(
            SourceParams("payments", Contract(tuple(Field(n, k, required=True) for n, k in FIELDS.items()))),  # type: ignore[arg-type]
            FeatureParams(),
            ModelParams(str(folder / "versions" / "1"), "", 1, (), follow=follow),
            OutputParams(("customer",)),
            rollout=RolloutParams(60_000, timeout_ms),
            quality=quality,
            label_key=label_key,
        )
    )
    try:
        yield made
    finally:
        made.close()


def batch(amounts: list[float], at: int = NOW, timestamp: int | None = None) -> Batch:
    rows = len(amounts)
    raws = [json.dumps({"amount": a, "customer": f"c{i}"}).encode() for i, a in enumerate(amounts)]
    return Batch(
        raws,
        np.full(rows, at),
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.int64),
        np.arange(rows),
        np.full(rows, at if timestamp is None else timestamp),
    )


def versions(outcomes: Outcomes) -> list[int]:
    assert (outcomes.kind == PREDICTED).all()
    return [json.loads(line)["version"] for line in outcomes.prediction]


def two_versions(root: Path) -> Path:
    """Version 1 is champion; 2 has another threshold."""
    add(root)
    add(root, above=4)
    return root


def report(outcomes: Outcomes) -> MetricsReport:
    """What a batch tells the comparison of versions."""
    assert outcomes.rollout is not None
    return decode(outcomes.rollout)


def later(seconds: float) -> Activation:
    """So long after NOW."""
    return Activation(NOW + int(seconds * 1000), lead_ms=0, past=True)
