"""Defines the contract that all model formats fulfil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.model.manifest import Signature

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """The outcome of a batch of n rows.

    `prediction`: n class labels, floats (regression) or booleans (anomaly).
    `score`: (n,) probability of the positive class, or anomaly score (higher is stranger); else None.
    `probabilities`: (n, k) for k classes when there may be more than two; else None.
    """

    prediction: Sequence[object]
    score: Floats | None = None
    probabilities: Floats | None = None


class Model(Protocol):
    """Something that scores a batch."""

    @property
    def signature(self) -> Signature: ...

    def predict(self, inputs: pa.Table, threshold: float = 0.5) -> Scored:
        """Score the rows of `inputs`, whose schema is `signature.schema()`.

        `threshold` is the least probability of the positive class at which a binary model predicts it.
        Raises `ModelError` when an output is not finite or not a probability, and whatever the model raises.
        """
