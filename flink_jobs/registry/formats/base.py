"""Defines what a client does with a model format: write it, read what it tells of itself, convert it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import pandas as pd

from udfs.model.formats.base import Raw
from udfs.model.manifest import Missing, Output, Signature, Value

Says = Callable[[Any, pd.DataFrame, Signature], Raw]
Convert = Callable[[Any, Signature], bytes]


@dataclass(frozen=True)
class Facts:
    """What a model file tells of its own inputs and output.

    `names` and `output` are None where the file does not tell. `categories` are those of columns, by place;
    `unplaced` those of which the file tells the order of their columns, but not which they are. `missing` is
    what stands for a missing value, by place. `closed`: the library takes no other categories.
    """

    names: tuple[str, ...] | None = None
    output: Output | None = None
    categories: Mapping[int, tuple[Value, ...]] = field(default_factory=dict)
    unplaced: tuple[tuple[Value, ...], ...] = ()
    missing: Mapping[int, Missing] = field(default_factory=dict)
    closed: bool = False


def as_given(model: Any) -> Any:
    """The maker's object, where that predicts itself."""
    return model


@dataclass(frozen=True)
class ClientFormat:
    """The client half of a model format.

    `dump` gives a model's bytes. `inspect` loads them as the format's library does, with the types that are
    trusted by name. `to_onnx` has converters by what tells them apart, the likeliest first.

    `read` makes the library's own model of the bytes, and `says` gives its predictions for a DataFrame as the
    maker has it; `coded` libraries want category columns there for inputs with values. `asked` makes what
    predicts of the maker's object, where that does not do so itself. `tensors`: it takes numbers alone, which
    have no names if they are one matrix.
    """

    dump: Callable[[Any], bytes]
    inspect: Callable[[bytes, Sequence[str]], Facts]
    to_onnx: Mapping[str, Convert] = field(default_factory=dict)
    _: KW_ONLY
    read: Callable[[bytes, Sequence[str]], Any]
    says: Says
    coded: bool = False
    asked: Callable[[Any], Any] = as_given
    tensors: bool = False


def classifier(classes: Sequence[Any]) -> Output:
    """The output of a model of these classes, in order; whole numbers that are floats are integers.

    >>> classifier([0.0, 1.0])
    Output(kind='binary', classes=(0, 1), offset=UNSET)
    """
    if all(isinstance(label, float) and label.is_integer() for label in classes):
        classes = [int(label) for label in classes]
    return Output(kind="binary" if len(classes) == 2 else "multiclass", classes=tuple(classes))


def network_output(end: str, width: int) -> Output | None:
    """The output of a network by its last function and how many numbers that gives; None if they do not tell.

    Classes are numbered, as networks know them.

    >>> network_output("softmax", 3)
    Output(kind='multiclass', classes=(0, 1, 2), offset=UNSET)
    """
    if (end == "sigmoid" and width == 1) or (end == "softmax" and width > 1):
        return classifier(range(max(width, 2)))
    return None
