"""A tiny model for sample jobs, whose predictions a test can work out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Manifest, Output, Signature


def write_model(root: Path, name: str, *inputs: str, profile: Mapping[str, Any] | None = None) -> Manifest:
    """Writes and promotes a model of these double inputs: the higher their sum, the higher its score."""
    model = LogisticRegression().fit(np.array([[-1.0] * len(inputs), [1.0] * len(inputs)]), [False, True])
    rows = pa.table({column: [-1.0, 0.5, 2.0] for column in inputs})
    registry = Registry(root)
    manifest = registry.write_version(
        name,
        model=model,
        signature=Signature(
            inputs=tuple(Input(name=column, type="double", nullable=False) for column in inputs),
            output=Output(kind="binary", classes=(False, True)),
        ),
        golden_inputs=rows,
        profile=dict(profile or {}),
        metrics={},
        training={},
    )
    registry.promote(name, manifest.version)
    return manifest
