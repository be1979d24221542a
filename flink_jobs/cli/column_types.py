"""The option that says of which types the columns of a CSV file are."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from flink_jobs.errors import InputError
from udfs.suggest import hint
from udfs.types import ColumnType, TableType

Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="COLUMN=TYPE",
        help="Type of a column of the file: string, double, long, boolean or timestamp; repeatable.",
        show_default=False,
    ),
]

_KINDS: tuple[TableType, ...] = get_args(TableType)


def declared_types(given: list[str] | None) -> dict[str, ColumnType]:
    """The types by column. Raises InputError.

    >>> declared_types(["zip=string"])
    {'zip': 'string'}
    """
    types: dict[str, ColumnType] = {}
    for text in given or []:
        column, _, name = text.rpartition("=")
        kind = next((known for known in _KINDS if known == name), None)
        if not column or kind is None:
            expected = f"COLUMN=TYPE with one of the types {', '.join(_KINDS)}"
            raise InputError(f"--type must be {expected}; got {text!r}{hint(name, _KINDS)}")
        types[column] = kind
    return types
