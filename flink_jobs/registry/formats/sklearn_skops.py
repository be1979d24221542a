"""Writes, inspects and asks scikit-learn estimators as skops files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skops import io as skops

from flink_jobs.registry.formats.base import ClientFormat, Facts
from flink_jobs.registry.formats.estimators import TO_ONNX, estimator_facts, says
from udfs.model.formats.sklearn_skops import read_estimator


def _dump(model: Any) -> bytes:
    return bytes(skops.dumps(model))


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    return estimator_facts(read_estimator(data, trusted_types))


FORMAT = ClientFormat(_dump, _inspect, TO_ONNX, read=read_estimator, says=says)
