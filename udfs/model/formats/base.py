"""Checks batches, and what models make of them, for all formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.contract import Floats, Scored
from udfs.model.formats.causes import shape_hint
from udfs.model.manifest import Signature

# Softmax and averages in 32 bits overstep 1 by less than this.
_SLACK = 1e-5


class Raw(NamedTuple):
    """What a model made of n rows, by the kind of its output.

    `values`: binary (n,) probability of the positive class, multiclass (n, k) probabilities, regression (n,),
    anomaly (n,) score; `flags`: (n,) only for anomaly, true where the row is one.
    """

    values: npt.NDArray[np.floating[Any]]
    flags: npt.NDArray[np.bool_] | None = None


class FormatModel(ABC):
    """A `Model` whose format only has to say what `infer` returns.

    A format whose models can be explained also has `native`, the library's model, and `rows(inputs)`, what
    that takes.
    """

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._schema = signature.schema()
        self._classes = np.array(signature.output.classes, dtype=object)

    @property
    def signature(self) -> Signature:
        return self._signature

    @abstractmethod
    def infer(self, inputs: pa.Table) -> Raw:
        """The model's raw output for the one or more rows of `inputs`."""

    def predict(self, inputs: pa.Table, threshold: float = 0.5) -> Scored:
        if not inputs.schema.equals(self._schema):
            raise ModelError(f"model inputs must be {_show(self._schema)}; got {_show(inputs.schema)}")
        raw = self.infer(inputs) if inputs.num_rows else self._nothing()
        values = self._checked(raw.values, inputs.num_rows)
        kind = self._signature.output.kind
        if kind == "binary":
            return Scored(self._classes[(values >= threshold).astype(np.intp)].tolist(), score=values)
        if kind == "multiclass":
            return Scored(self._classes[values.argmax(axis=1)].tolist(), probabilities=values)
        if kind == "anomaly" and raw.flags is not None:
            return Scored(raw.flags.tolist(), score=values)
        return Scored(values.tolist())

    def _nothing(self) -> Raw:
        return Raw(np.zeros(self._shape(0)), np.zeros(0, dtype=bool))

    def _shape(self, rows: int) -> tuple[int, ...]:
        return (rows, len(self._classes)) if self._signature.output.kind == "multiclass" else (rows,)

    def _checked(self, values: npt.NDArray[np.floating[Any]], rows: int) -> Floats:
        if values.shape != self._shape(rows):
            raise ModelError(
                f"the model's output must have the shape {self._shape(rows)}; got {values.shape}"
                f"{shape_hint(values.shape)}"
            )
        checked = values.astype(np.float64, copy=False)
        finite = np.isfinite(checked)
        if not finite.all():
            raise ModelError(f"the model's output must be finite; got {checked[~finite][0]}")
        if len(self._classes) and rows:
            low, high = checked.min(), checked.max()
            if low < -_SLACK or high > 1 + _SLACK:
                raise ModelError(f"the model's output must be probabilities; got {low if low < 0 else high}")
        return checked


def _show(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def same_names(fitted: list[str], signature: Signature) -> None:
    """Raise `ModelError` unless the columns that a model was fitted with are the signature's, in order."""
    if fitted != signature.names:
        raise ModelError(
            f"the signature's inputs must be the columns that the model was fitted with, in order: {fitted}; "
            f"got {signature.names}"
        )


def same_count(fitted: int, signature: Signature) -> None:
    """Raise `ModelError` unless the model was fitted with as many columns as the signature has inputs."""
    if fitted != len(signature.inputs):
        raise ModelError(
            f"the signature must have {fitted} inputs as the model does; got {len(signature.inputs)}"
        )


def need_codes(signature: Signature) -> None:
    """Raise `ModelError` unless each string input has `values`, whose positions are its codes."""
    for item in signature.inputs:
        if item.type == "string" and not item.values:
            raise ModelError(f"the string input {item.name} must have values: the model takes their codes")
