"""Makes golden rows of the maker's rows, with the predictions of the model's own library.

inputs, said = golden_rows(frame, signature, say)    # say(frame) is what the library predicts

Besides the rows they hold, as far as the library takes it: a missing value in each input that may be null,
each category, and for each input rows that differ in nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.registry.maker_rows import as_table, without
from udfs.isolate import isolate_spans
from udfs.model.contract import Scored
from udfs.model.manifest import Input, Signature

Say = Callable[[pd.DataFrame], Scored]
# Of strings that are no categories, as many as a file can hold without growing.
MOST_VALUES = 1_000
# With more inputs than this, each is varied to fewer values.
MANY_INPUTS = 200


class Part(NamedTuple):
    """Rows in the signature's schema, and what the library says of them."""

    inputs: pa.Table
    said: Scored


def golden_rows(frame: pd.DataFrame, signature: Signature, say: Say) -> Part:
    """Raises `InputError` where the rows cannot tell the inputs apart, and whatever the library raises."""
    made = [Part(as_table(frame, signature), say(frame))]
    for further in _further(frame.head(1), frame, signature):
        made += _those_that_work(further, signature, say)
    inputs = pa.concat_tables([part.inputs for part in made]).combine_chunks()
    _check_apart(inputs, signature)
    return Part(inputs, _joined([part.said for part in made]))


def _further(base: pd.DataFrame, frame: pd.DataFrame, signature: Signature) -> Iterator[pd.DataFrame]:
    count = len(signature.inputs)
    varied = [_varied(base, item, _values(frame[item.name], item, count)) for item in signature.inputs]
    whole = [rows for rows in varied if len(rows)]
    if whole:
        yield pd.concat(whole, ignore_index=True)
    categories = _categories(base, frame, signature)
    if len(categories):
        yield categories
    for item in signature.inputs:
        if item.nullable:
            yield base.assign(**{item.name: without(base[item.name], item)})


def _varied(base: pd.DataFrame, item: Input, values: Sequence[Any]) -> pd.DataFrame:
    rows = base.loc[base.index.repeat(len(values))].reset_index(drop=True)
    if len(values):
        rows[item.name] = pd.Series(list(values), dtype=base[item.name].dtype)
    return rows


def _values(column: pd.Series[Any], item: Input, inputs: int) -> list[Any]:
    """Other values than that of the first row: of the other rows, and numbers beyond these."""
    first, others = column.iloc[0], column.dropna()
    if item.type == "boolean" and not _has_categories(column, item):
        return [value for value in (True, False) if pd.isna(first) or value != bool(first)]
    if item.type in ("string", "boolean") or _has_categories(column, item):
        return [value for value in _known(column, item) if pd.isna(first) or value != first][:1]
    if others.empty:
        return [0, 1]
    low, high = others.min(), others.max()
    span = high - low or 1
    wanted = [low, high] if inputs > MANY_INPUTS else [low, high, low - span, high + span]
    if item.type == "long":
        wanted = [value for value in map(int, wanted) if -(2**53) < value < 2**53]
    return [value for value in wanted if pd.isna(first) or value != first] or [first + 1]


def _categories(base: pd.DataFrame, frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """Rows in which each input that has categories takes all of them, side by side."""
    named = [i for i in signature.inputs if i.type == "string" or _has_categories(frame[i.name], i)]
    known = {item.name: values for item in named if (values := _known(frame[item.name], item))}
    count = max(map(len, known.values()), default=0)
    rows = base.loc[base.index.repeat(count)].reset_index(drop=True)
    for name, values in known.items():
        cycled = [values[row % len(values)] for row in range(count)]
        rows[name] = pd.Series(cycled, dtype=base[name].dtype)
    return rows


def _has_categories(column: pd.Series[Any], item: Input) -> bool:
    return bool(item.values) or isinstance(column.dtype, pd.CategoricalDtype)


def _known(column: pd.Series[Any], item: Input) -> list[Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.dtype.categories)
    return list(item.values) or list(pd.unique(column.dropna()))[:MOST_VALUES]


def _those_that_work(rows: pd.DataFrame, signature: Signature, say: Say) -> list[Part]:
    """Without those that the library itself refuses: they have no prediction."""

    def part(start: int, stop: int) -> Part:
        chosen = rows.iloc[start:stop]
        return Part(as_table(chosen, signature), say(chosen))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spans, _ = isolate_spans(part, len(rows))
    return [found for _, _, found in spans]


def _check_apart(inputs: pa.Table, signature: Signature) -> None:
    for item in signature.inputs:
        if len(inputs[item.name].unique()) < 2:
            raise InputError(
                f"golden rows must have two values of {item.name} that the model takes, to tell it from "
                f"others; got {inputs[item.name][0].as_py()!r} only"
            )
    groups: dict[str, list[str]] = {}
    for item in signature.inputs:
        groups.setdefault(item.type, []).append(item.name)
    for names in groups.values():
        for place, name in enumerate(names):
            for other in names[place + 1 :]:
                if inputs[name].equals(inputs[other]):
                    raise InputError(f"golden rows must tell {name} from {other}; they are equal in all rows")


def _joined(parts: Sequence[Scored]) -> Scored:
    labels = [label for part in parts for label in part.prediction]
    scores = [part.score for part in parts if part.score is not None]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Scored(
        labels,
        np.concatenate(scores) if scores else None,
        np.concatenate(probabilities) if probabilities else None,
    )
