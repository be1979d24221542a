"""Defines the contract that all explainers fulfil."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.model.contract import Floats, Scored

Indices = npt.NDArray[np.intp]


class Contributions(NamedTuple):
    """What the raw scores of n rows are made of.

    `base`: (n,) the raw score before anything is known of the row. `values`: (n, d) what each input adds, in
    the order of the signature's inputs. `base + values.sum(axis=1)` is the raw score.
    """

    base: Floats
    values: Floats


class Explainer(Protocol):
    """Explains what a model scored."""

    def __call__(self, inputs: pa.Table, scored: Scored) -> Contributions:
        """Contributions to the scores that the model gave to `inputs`; raises whatever the library raises."""


class ModelExplainer(Protocol):
    """The same for what a library takes: a matrix or DataFrame of n rows."""

    def __call__(self, rows: Any, chosen: Indices) -> Contributions:
        """`chosen`: (n,) position of the class to explain; 0 for regression."""


def folding(origins: Indices, inputs: int) -> Floats:
    """(m, d) matrix that adds the contributions of m columns to those of the d inputs that they came from."""
    matrix = np.zeros((len(origins), inputs))
    matrix[np.arange(len(origins)), origins] = 1.0
    return matrix
