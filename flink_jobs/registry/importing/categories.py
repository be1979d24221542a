"""Finds the columns and the types of the categories that a model holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from flink_jobs.errors import InputError
from udfs.model.manifest import InputType, Value

Categories = tuple[Value, ...]


def type_of(values: Categories, kind: InputType) -> InputType:
    """The input's type: that of its categories; `kind` is what the rows hold.

    >>> type_of((10.0, 20.0), "long")
    'long'
    """
    first = values[0] if values else ""
    if isinstance(first, str):
        return "string"
    if isinstance(first, bool):
        return "boolean"
    return "long" if isinstance(first, int) or kind == "long" else "double"


def placed(lists: Sequence[Categories], columns: Sequence[pa.ChunkedArray]) -> Mapping[int, Categories]:
    """Lists of categories by the only columns, in the same order, whose values they hold.

    Raises `InputError` when there are several ways, or none.
    """
    if not lists:
        return {}
    seen = [set(column.unique().to_pylist()) - {None} for column in columns]
    text = {place for place, column in enumerate(columns) if not _is_number(column.type)}
    found = [ways for _, ways in zip(range(2), _ways(lists, seen, text, 0), strict=False)]
    if len(found) != 1:
        shown = "; ".join(str(list(values)) for values in lists)
        raise InputError(
            f"the model has categories ({shown}), but its file does not tell of which columns; "
            "give a --signature with values"
        )
    return found[0]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _ways(
    lists: Sequence[Categories], seen: Sequence[set[object]], text: set[int], start: int
) -> Iterator[dict[int, Categories]]:
    """Columns of text must have categories; others may be plain numbers."""
    if not lists:
        if not any(place >= start for place in text):
            yield {}
        return
    for place in range(start, len(seen)):
        if seen[place] <= set(lists[0]):
            for further in _ways(lists[1:], seen, text, place + 1):
                yield {place: lists[0], **further}
        if place in text:
            return
