"""Writes, inspects and asks scikit-learn estimators as joblib files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import joblib

from flink_jobs.registry.formats.base import ClientFormat, Facts
from flink_jobs.registry.formats.estimators import TO_ONNX, estimator_facts, says


def _dump(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    return joblib.load(io.BytesIO(data))


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    return estimator_facts(_read(data, trusted_types))


FORMAT = ClientFormat(_dump, _inspect, TO_ONNX, read=_read, says=says)
