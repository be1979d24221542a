"""Defines what a client does with a model format: write it, read what it tells of itself, convert it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from udfs.model.manifest import Output, Signature

Convert = Callable[[Any, Signature], bytes]


@dataclass(frozen=True)
class Facts:
    """What a model file tells of its own inputs and output.

    `names` and `output` are None where the file does not tell; `categories` are those of string inputs.
    """

    names: tuple[str, ...] | None = None
    output: Output | None = None
    categories: tuple[tuple[str, ...], ...] = ()


def no_facts(_data: bytes, _trusted_types: Sequence[str]) -> Facts:
    """The facts of a format whose files do not tell."""
    return Facts()


@dataclass(frozen=True)
class ClientFormat:
    """The client half of a model format.

    `dump` gives a model's bytes. `inspect` loads them as the format's library does, with the types that are
    trusted by name. `to_onnx` has converters by what tells them apart, the likeliest first.
    """

    dump: Callable[[Any], bytes]
    inspect: Callable[[bytes, Sequence[str]], Facts] = no_facts
    to_onnx: Mapping[str, Convert] = field(default_factory=dict)


def classifier(classes: Sequence[Any]) -> Output:
    """The output of a model of these classes, in order.

    >>> classifier(["no", "yes"]).kind
    'binary'
    """
    return Output(kind="binary" if len(classes) == 2 else "multiclass", classes=tuple(classes))
