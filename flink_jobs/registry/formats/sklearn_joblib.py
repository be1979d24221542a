"""Writes and inspects scikit-learn estimators as joblib files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import joblib

from flink_jobs.registry.formats.base import ClientFormat, Facts
from flink_jobs.registry.formats.estimators import TO_ONNX, estimator_facts


def _dump(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


def _inspect(data: bytes, _trusted_types: Sequence[str]) -> Facts:
    return estimator_facts(joblib.load(io.BytesIO(data)))


FORMAT = ClientFormat(_dump, _inspect, TO_ONNX)
