"""Writes the model of the proof's job into a registry, as the Tailrace does that Python finds.

python -P tests/proof/model.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
from sklearn.linear_model import LinearRegression

from tests.helpers import models


def write(registry: Path) -> None:
    """One that gives back twice its input."""
    inputs, outputs = pa.table({"n": [1.0, 2.0, 3.0]}), pa.table({"prediction": [2.0, 4.0, 6.0]})
    models.write(
        registry, "sums", LinearRegression(), inputs, [2.0, 4.0, 6.0], "regression", profiled=outputs
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
