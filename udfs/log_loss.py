"""Computes the log loss of predicted probabilities, which are kept away from 0 and 1 so that it is finite.

>>> round(log_loss(0.5), 6)
0.693147
>>> round(log_loss(0.0, floor=1e-6), 6)
13.815511
>>> log_losses(np.array([0.5, 0.25])).round(6).tolist()
[0.693147, 1.386294]
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

# As scikit-learn's `log_loss` has it for doubles, on both sides.
EPSILON = float(np.finfo(np.float64).eps)


def log_loss(probability: float, floor: float = EPSILON) -> float:
    """-ln of what the true class was given."""
    return -math.log(min(max(probability, floor), 1 - floor))


def log_losses(probabilities: npt.NDArray[Any], floor: float = EPSILON) -> npt.NDArray[np.float64]:
    """(n,) -ln of what each row's true class was given."""
    return np.asarray(-np.log(np.clip(probabilities, floor, 1 - floor)))
