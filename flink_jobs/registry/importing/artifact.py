"""A model in a file or an MLflow folder, with what stands beside it.

find(Path("model.txt")).format          # "lightgbm"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from udfs.model.manifest import Format, Input

ENDINGS: dict[str, Format] = {
    ".joblib": "joblib",
    ".pkl": "joblib",
    ".pickle": "joblib",
    ".skops": "skops",
    ".txt": "lightgbm",
    ".lgb": "lightgbm",
    ".ubj": "xgboost",
    ".xgb": "xgboost",
    ".json": "xgboost",
    ".onnx": "onnx",
    ".pt2": "torch",
    ".keras": "keras",
}


@dataclass(frozen=True)
class Artifact:
    """A model's bytes, which nothing has loaded yet.

    `inputs` and `rows` are what the source says of the model's inputs, and examples of them.
    """

    data: bytes
    format: Format
    inputs: tuple[Input, ...] = ()
    rows: pa.Table | None = None
    trusted_types: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
