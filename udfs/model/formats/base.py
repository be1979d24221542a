"""Checks batches, and what models make of them, for all formats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from udfs.errors import ModelError
from udfs.model.contract import Floats, Scored
from udfs.model.formats.causes import shape_hint
from udfs.model.manifest import Input, Signature, Value

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
        # XGBoost 3.2 scores an unseen string as the next one in the alphabet, and raises only after the last.
        self.closed: dict[str, pa.Array] = {}
        self._never = [item.name for item in signature.inputs if not item.nullable]

    @property
    def signature(self) -> Signature:
        return self._signature

    @abstractmethod
    def infer(self, inputs: pa.Table) -> Raw:
        """The model's raw output for the one or more rows of `inputs`."""

    def predict(self, inputs: pa.Table, threshold: float = 0.5) -> Scored:
        if not inputs.schema.equals(self._schema):
            raise ModelError(f"model inputs must be {_show(self._schema)}; got {_show(inputs.schema)}")
        for name in self._never:
            if inputs[name].null_count:
                raise ModelError(f"{name} must not be missing: the model's signature says so")
        for name, values in self.closed.items():
            column = inputs[name]
            if pc.index_in(column, value_set=values).null_count > column.null_count:
                raise ModelError(f"{name} must be one of the categories of the fit: XGBoost takes no others")
        raw = self.infer(inputs) if inputs.num_rows else self._nothing()
        return scored(raw, self._signature, inputs.num_rows, threshold)

    def _nothing(self) -> Raw:
        return Raw(np.zeros(_shape(self._signature, 0)), np.zeros(0, dtype=bool))


def scored(raw: Raw, signature: Signature, rows: int, threshold: float = 0.5) -> Scored:
    """What `raw` says of n rows. Raises `ModelError` when it is not finite, or no probability."""
    kind, classes = signature.output.kind, np.array(signature.output.classes, dtype=object)
    values = _checked(raw.values, _shape(signature, rows), classes=bool(len(classes)))
    if kind == "binary":
        return Scored(classes[(values >= threshold).astype(np.intp)].tolist(), score=values)
    if kind == "multiclass":
        return Scored(classes[values.argmax(axis=1)].tolist(), probabilities=values)
    if kind == "anomaly" and raw.flags is not None:
        return Scored(raw.flags.tolist(), score=values)
    return Scored(values.tolist())


def _shape(signature: Signature, rows: int) -> tuple[int, ...]:
    output = signature.output
    return (rows, len(output.classes)) if output.kind == "multiclass" else (rows,)


def _checked(values: npt.NDArray[np.floating[Any]], shape: tuple[int, ...], *, classes: bool) -> Floats:
    if values.shape != shape:
        hint = shape_hint(values.shape)
        raise ModelError(f"the model's output must have the shape {shape}; got {values.shape}{hint}")
    checked = values.astype(np.float64, copy=False)
    finite = np.isfinite(checked)
    if not finite.all():
        raise ModelError(f"the model's output must be finite; got {checked[~finite][0]}")
    if classes and len(checked):
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


def any_rows(shape: Sequence[Any], what: str) -> None:
    """Raise `ModelError` for a tensor whose shape fixes how many rows come at once."""
    if shape and isinstance(shape[0], int):
        raise ModelError(
            f"{what} must take any number of rows; it takes {shape[0]}: leave its first size open"
        )


def need_codes(signature: Signature) -> None:
    """Raise `ModelError` unless each string input has `values`, whose positions are its codes."""
    for item in signature.inputs:
        if item.type == "string" and not item.values:
            raise ModelError(f"the string input {item.name} must have values: the model takes their codes")


def same_categories(item: Input, known: Sequence[Value]) -> None:
    """Raise `ModelError` unless the input has the categories that the model itself holds, in their order.

    Codes may come as numbers, where they cannot be taken for the categories.
    """
    numbers = all(isinstance(value, int | float) for value in known)
    as_codes = not numbers or list(known) == list(range(len(known)))
    fed = not item.values and item.type != "string" and as_codes
    if not fed and list(item.values) != list(known):
        got = _listed(item.values) if item.values else f"none, and the type {item.type}"
        raise ModelError(
            f"the values of the input {item.name} must be the model's own categories, in order: "
            f"{_listed(known)}; got {got}"
        )


def _listed(values: Sequence[Value], most: int = 20) -> str:
    shown = ", ".join(map(repr, values[:most]))
    return f"[{shown}, …]" if len(values) > most else f"[{shown}]"
