"""A small version, written to a registry as often as a test wants it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from flink_jobs.registry import Registry
from udfs.model.manifest import Input, Manifest, Output, Signature

SIGNATURE = Signature(inputs=(Input(name="a", type="double"),), output=Output(kind="binary", classes=(0, 1)))
ROWS = pa.table({"a": [-1.0, 0.2, 3.0]})
MODEL = LogisticRegression().fit(np.array([[-1.0], [1.0]]), [0, 1])


def write(registry: Registry, name: str = "fraud", **changes: Any) -> Manifest:
    parts: dict[str, Any] = {
        "model": MODEL,
        "signature": SIGNATURE,
        "golden_inputs": ROWS,
        "profile": {"rows": 3},
        "metrics": {"auc": 0.9},
        "training": {"rows": 2},
    }
    return registry.write_version(name, **parts | changes)
