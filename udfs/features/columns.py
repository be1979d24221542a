"""Matches a job's columns with a model's inputs; workers do it for later versions too."""

from __future__ import annotations

from collections.abc import Mapping

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


def match_inputs(
    signature: Signature, columns: Mapping[str, Column], renamed: Mapping[str, str]
) -> tuple[ModelInput, ...]:
    """The column for each input of the signature, in its order; `renamed` maps inputs to columns.

    Raises ModelError that lists every input that the job cannot feed, one a line, and why.
    """
    problems: list[str] = []
    matched: list[ModelInput] = []
    names = set(signature.names)
    for name in sorted(renamed.keys() - names):
        problems.append(f"{name}: the model has no such input{hint(name, names)}")
    for item in signature.inputs:
        wanted = renamed.get(item.name, item.name)
        column = columns.get(wanted)
        if column is None:
            problems.append(f"{item.name} ({item.type}): no column {wanted!r}{hint(wanted, columns)}")
        elif column.type not in FEEDS[item.type]:
            problems.append(f"{item.name}: must be {item.type}; got {column.type} ({column.origin})")
        elif not item.nullable and column.nullable and column.origin.startswith("field"):
            problems.append(f"{item.name}: must never be null; {wanted} is not required in source.schema")
        else:
            matched.append(ModelInput(item.name, item.type, column))
    if problems:
        raise ModelError("".join(f"\n  {problem}" for problem in problems))
    return tuple(matched)
