"""Writes Keras models, which do not tell of their inputs and output."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flink_jobs.registry.formats.base import ClientFormat


def _dump(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


FORMAT = ClientFormat(_dump)
