"""A classifier whose errors quote the rows that it was given, as those of many libraries do."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

LIMIT = 100.0


class Quoting(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Raises on amounts above 100, or, `always`, on each row with an address."""

    def __init__(self, *, always: bool = False) -> None:
        self.always = always

    def fit(self, rows: Any, targets: Any) -> Self:
        self.model_ = LogisticRegression().fit(rows[["amount"]].to_numpy(), targets)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, rows: Any) -> Any:
        addresses = rows["who"].astype(str)
        bad = (rows["amount"] > LIMIT) | (addresses.str.contains("@") & self.always)
        if bad.any():
            raise ValueError(
                f"cannot encode {addresses[bad].tolist()} with amounts {rows['amount'].tolist()}"
            )
        return np.asarray(self.model_.predict_proba(rows[["amount"]].to_numpy()))
