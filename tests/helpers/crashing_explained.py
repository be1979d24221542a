"""A pipeline that predicts, and takes the process down where it explains."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from tests.helpers.crashing import DEADLY


class Halved(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A step that calls abort() of the C library."""

    def fit(self, rows: Any, y: Any = None) -> Halved:
        self.n_features_in_ = 1
        return self

    def transform(self, rows: Any) -> Any:
        if (np.asarray(rows) == DEADLY).any():
            ctypes.CDLL(None).abort()
        return np.asarray(rows) / 2


class CrashingExplained(Pipeline):  # type: ignore[misc]
    """Predicts without its first step, which an explanation goes through."""

    def predict(self, rows: Any) -> Any:
        return np.asarray(rows, dtype=float)[:, 0] / 2


def fitted() -> CrashingExplained:
    rows = np.array([[0.0], [1.0]])
    fitted = CrashingExplained([("halved", Halved()), ("linear", LinearRegression())])
    return fitted.fit(rows, [0.0, 0.5])  # type: ignore[no-any-return]
