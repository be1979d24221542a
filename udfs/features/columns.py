"""Matches a job's columns with a model's inputs; workers do it for later versions too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from udfs.errors import ModelError
from udfs.model.manifest import Signature
from udfs.suggest import hint
from udfs.types import ColumnType

FEEDS: dict[ColumnType, tuple[ColumnType, ...]] = {
    "double": ("double", "long", "boolean"),
    "long": ("long", "boolean"),
    "string": ("string",),
    "boolean": ("boolean",),
}


class Column(msgspec.Struct, frozen=True):
    """One column; `origin` says where it comes from in the words of the job file."""

    name: str
    type: ColumnType
    origin: str
    nullable: bool = True


class ModelInput(msgspec.Struct, frozen=True):
    """A model's input and the column that feeds it."""

    name: str
    type: ColumnType
    column: Column


class Mismatch(NamedTuple):
    """Why a column, by its name, cannot feed a model's input; `text` says it in full.

    `unknown`: the model has no such input. `missing`: no such column. `type`: a column of another type.
    `null`: a column that may be null, for an input that never is.
    """

    kind: Literal["unknown", "missing", "type", "null"]
    input: str
    column: str
    text: str


def match_inputs(
    signature: Signature, columns: Mapping[str, Column], renamed: Mapping[str, str]
) -> tuple[ModelInput, ...]:
    """The column for each input of the signature, in its order; `renamed` maps inputs to columns.

    Raises ModelError that lists every input that the job cannot feed, one a line, and why.
    """
    matched, problems = match_each(signature, columns, renamed)
    if problems:
        raise ModelError("".join(f"\n  {problem.text}" for problem in problems))
    return tuple(matched)


def match_each(
    signature: Signature, columns: Mapping[str, Column], renamed: Mapping[str, str]
) -> tuple[list[ModelInput], list[Mismatch]]:
    """As `match_inputs`, with the inputs that have no column of their own apart."""
    problems: list[Mismatch] = []
    matched: list[ModelInput] = []
    names = set(signature.names)
    for name in sorted(renamed.keys() - names):
        text = f"{name}: the model has no such input{hint(name, names)}"
        problems.append(Mismatch("unknown", name, renamed[name], text))
    for item in signature.inputs:
        wanted = renamed.get(item.name, item.name)
        column = columns.get(wanted)
        if column is None:
            text = f"{item.name} ({item.type}): no column {wanted!r}{hint(wanted, columns)}"
            problems.append(Mismatch("missing", item.name, wanted, text))
        elif column.type not in FEEDS[item.type]:
            text = f"{item.name}: must be {item.type}; got {column.type} ({column.origin})"
            problems.append(Mismatch("type", item.name, wanted, text))
        elif not item.nullable and column.nullable and column.origin.startswith("field"):
            text = f"{item.name}: must never be null; {wanted} is not required in source.schema"
            problems.append(Mismatch("null", item.name, wanted, text))
        else:
            matched.append(ModelInput(item.name, item.type, column))
    return matched, problems
