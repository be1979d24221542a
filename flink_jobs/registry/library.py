"""The model's own library: what it says of the maker's rows, and what it needs these to look like.

own = library(model, data, "joblib", ())
signature = fitted_as(own, signature, frame)
own.say(frame, signature)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from msgspec import UNSET, structs

from flink_jobs.registry.formats import client_format
from flink_jobs.registry.formats.base import Facts, Says
from flink_jobs.registry.maker_rows import is_object, without
from udfs.errors import ModelError
from udfs.model.contract import Scored
from udfs.model.format_table import Format
from udfs.model.formats import why_not
from udfs.model.formats.base import scored
from udfs.model.manifest import Input, Missing, Signature, Value

_PROBED = 50


@dataclass(frozen=True)
class Library:
    """A model as its library has it. `coded`: inputs with values must be category columns."""

    model: Any
    says: Says
    facts: Facts
    coded: bool

    def say(self, frame: pd.DataFrame, signature: Signature) -> Scored:
        """Its predictions for the maker's DataFrame; raises whatever the library raises."""
        return scored(self.says(self.model, frame, signature), signature, len(frame))

    def takes(self, signature: Signature, frame: pd.DataFrame) -> bool:
        """Whether it predicts something for these rows."""
        return _tried(self, signature, frame) is not None


def library(model: Any, data: bytes, kind: Format, trusted_types: Sequence[str]) -> Library:
    """The maker's object, or what the library reads from its bytes. Raises `ModelError` if it cannot."""
    try:
        found = client_format(kind)
        own = found.read(data, trusted_types) if isinstance(model, bytes) else found.asked(model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(why_not(kind, error, data)) from error
    try:
        facts = found.inspect(data, trusted_types)
    except Exception:  # of what is no estimator or booster; the worker's half says so
        facts = Facts()
    return Library(own, found.says, facts, found.coded)


def with_categories(own: Library, signature: Signature) -> Signature:
    """The signature with the categories that the model holds. Raises `ModelError` where it says others."""
    inputs = list(signature.inputs)
    for place, values in own.facts.categories.items():
        item = inputs[place]
        if item.values and list(item.values) != list(values):
            raise ModelError(
                f"the values of {item.name} must be the model's own categories, in order: {list(values)}; "
                f"got {list(item.values)}"
            )
        if not item.values and not fits(values, item):
            continue  # the job has the codes themselves
        # Who gives a booster's categories has others taken for missing, as pandas does with given categories.
        known = item.pandas is not UNSET or (own.coded and (not own.facts.closed or bool(item.values)))
        item = structs.replace(item, values=typed(values, item))
        inputs[place] = item if known else structs.replace(item, pandas=_category(values))
    return structs.replace(signature, inputs=tuple(inputs))


def fits(values: Sequence[Value], item: Input) -> bool:
    """Whether the input's type can hold these categories."""
    kinds = {"string": (str,), "boolean": (bool,), "long": (int, float), "double": (int, float)}[item.type]
    return all(isinstance(v, kinds) and (item.type == "boolean" or not isinstance(v, bool)) for v in values)


def _category(values: Sequence[Value]) -> str:
    return "category[float64]" if values and isinstance(values[0], float) else "category"


def typed(values: Sequence[Value], item: Input) -> tuple[Value, ...]:
    """Whole categories that the library holds as floats, as integers where the input is a long."""
    if item.type == "long" and all(isinstance(v, float) and v.is_integer() for v in values):
        return tuple(int(value) for value in values)
    return tuple(values)


def fitted_as(own: Library, signature: Signature, frame: pd.DataFrame) -> Signature:
    """The signature with what the model tells apart in the maker's rows: missing values, whole numbers."""
    inputs = []
    for place, item in enumerate(signature.inputs):
        if item.type == "string" and item.missing is UNSET and is_object(frame[item.name]):
            told = own.facts.missing.get(place)
            item = structs.replace(item, missing=told or _probed(own, signature, frame, item))
        elif item.type == "long" and item.pandas is UNSET and frame[item.name].dtype.kind in "iu":
            item = _whole(own, signature, frame, item)
        elif item.type == "boolean" and item.pandas is UNSET and item.nullable:
            item = _boolean(own, signature, frame, item)
        inputs.append(structs.replace(item, missing=UNSET) if item.missing == "none" else item)
    return structs.replace(signature, inputs=tuple(inputs))


def _probed(own: Library, signature: Signature, frame: pd.DataFrame, item: Input) -> Missing:
    """What the model takes for a missing string; "none" where it makes no difference."""
    rows = frame.head(_PROBED)
    kinds: tuple[Missing, ...] = ("none", "nan")
    said = {}
    for kind in kinds:
        gone = without(rows[item.name], structs.replace(item, missing=kind))
        said[kind] = _tried(own, signature, rows.assign(**{item.name: gone}))
    none, nan = said["none"], said["nan"]
    if none is None or nan is None:
        return "nan" if none is None and nan is not None else "none"
    if not np.array_equal(_numbers(none), _numbers(nan)):
        raise ModelError(
            f"the model tells None from NaN in {item.name}: its signature must have `missing: nan` or "
            "`missing: none` there, as in the rows that the model was fitted on"
        )
    return "none"


def _boolean(own: Library, signature: Signature, frame: pd.DataFrame, item: Input) -> Input:
    """Boosters take no objects, which booleans are beside a missing value; then they are numbers."""
    rows = frame.head(1)
    for tried in (item, structs.replace(item, pandas="float64")):
        if own.takes(signature, rows.assign(**{item.name: without(rows[item.name], tried)})):
            return tried
    return item


def _whole(own: Library, signature: Signature, frame: pd.DataFrame, item: Input) -> Input:
    """Whether the model tells 5 from 5.0. Then a column that may be null, which is of floats, will not do."""
    rows = frame.head(_PROBED)
    said = own.say(rows, signature)
    floats = _tried(own, signature, rows.assign(**{item.name: rows[item.name].astype("float64")}))
    if floats is None:  # a row with a missing value, which is beside floats, is refused alone
        return structs.replace(item, pandas="int64")
    if np.array_equal(_numbers(floats), _numbers(said)):
        return item
    if item.nullable:
        raise ModelError(
            f"{item.name} must be nullable: false: the model tells 5 from 5.0, and beside a missing value "
            "pandas makes the one of the other"
        )
    return structs.replace(item, pandas="int64")


def _tried(own: Library, signature: Signature, rows: pd.DataFrame) -> Scored | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return own.say(rows, signature)
        except Exception:  # whatever a library raises for rows that it does not take
            return None


def _numbers(said: Scored) -> Any:
    if said.probabilities is not None:
        return said.probabilities
    return np.asarray(said.prediction if said.score is None else said.score)
