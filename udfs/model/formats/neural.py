"""Shapes the output of PyTorch and Keras models, which take one matrix of floats and give one tensor."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from udfs.errors import ModelError
from udfs.model.manifest import Signature


def check_kind(signature: Signature) -> None:
    """Raise `ModelError` for kinds of output that a network's tensor cannot be."""
    if signature.output.kind == "anomaly":
        raise ModelError("a network must be binary, multiclass or regression; the signature says anomaly")


def as_output(values: npt.NDArray[Any], signature: Signature) -> npt.NDArray[Any]:
    """(n, 1) as (n,); for a binary output (n, 2) as the (n,) probabilities of the positive class."""
    if signature.output.kind == "multiclass" or values.ndim != 2:
        return values
    if signature.output.kind == "binary" and values.shape[1] == 2:
        return values[:, 1]
    return values[:, 0] if values.shape[1] == 1 else values
