"""Estimators that behave on their golden rows, and badly on amounts above 100."""

from __future__ import annotations

import os
import time
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression

LIMIT = 100


class Trap(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """`how`: raise, hang, slow (1.5 s a batch) or crash (of the whole process)."""

    def __init__(self, how: str = "raise") -> None:
        self.how = how

    def fit(self, rows: Any, targets: Any) -> Self:
        self.model_ = LogisticRegression().fit(np.asarray(rows), targets)
        self.classes_ = self.model_.classes_
        self.n_features_in_ = np.asarray(rows).shape[1]
        return self

    def predict_proba(self, rows: Any) -> Any:
        values = np.asarray(rows, dtype=float)
        if values.max(initial=0) > LIMIT:
            self._misbehave()
        return self.model_.predict_proba(np.minimum(values, LIMIT))

    def _misbehave(self) -> None:
        if self.how == "raise":
            raise ValueError("too much")
        if self.how == "crash":
            os._exit(3)
        time.sleep(3600 if self.how == "hang" else 1.5)


class Doubling(LinearRegression):  # type: ignore[misc]
    """A class that skops does not know."""

    def predict(self, rows: Any) -> Any:
        return 2 * super().predict(rows)
