"""A model that takes its time, as on a machine that others use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Output, Signature


class Slow:
    """Takes two seconds for each batch of a stream, and none for a row or two."""

    n_features_in_ = 1

    def predict(self, rows: Any) -> Any:
        if len(rows) > 2:
            time.sleep(2)
        return np.asarray(rows, dtype=float)[:, 0]


def write_slow_model(root: Path) -> None:
    """Registers it as `slow`, whose input is x."""
    registry = Registry(root)
    manifest = registry.write_version(
        "slow",
        model=Slow(),
        signature=Signature(
            inputs=(Input(name="x", type="double", nullable=False),), output=Output(kind="regression")
        ),
        golden_inputs=pa.table({"x": [1.0, 2.0]}),
        profile={},
        metrics={},
        training={},
    )
    registry.promote("slow", manifest.version)
