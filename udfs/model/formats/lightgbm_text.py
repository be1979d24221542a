"""Loads LightGBM boosters saved as text.

A booster takes codes. One that was fitted on a DataFrame holds the categories of its category columns: the
`values` of the signature's inputs must be these, in order.
"""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pyarrow as pa

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, need_codes, same_categories, same_count, same_names
from udfs.model.manifest import Signature

_OBJECTIVES = {"binary": ("binary", "cross_entropy"), "multiclass": ("multiclass", "multiclassova")}
_UNNAMED = re.compile(r"Column_\d+\Z")


def load(data: bytes, signature: Signature) -> LightGBMModel:
    """Parse a booster from the text that `Booster.save_model` writes."""
    return LightGBMModel(lightgbm.Booster(model_str=data.decode()), signature)


class LightGBMModel(FormatModel):
    """A booster on a float64 matrix; one thread."""

    def __init__(self, booster: lightgbm.Booster, signature: Signature) -> None:
        super().__init__(signature)
        self.native = booster
        self._categories = arrow.categories(signature)
        self._rounded = arrow.rounding(signature)
        need_codes(signature)
        same_count(booster.num_feature(), signature)
        _check_categories(booster, signature)
        names = booster.feature_name()
        if not all(_UNNAMED.match(name) for name in names):
            same_names(names, signature)
        _check_objective(booster, signature)

    def infer(self, inputs: pa.Table) -> Raw:
        return Raw(np.asarray(self.native.predict(self.rows(inputs), num_threads=1)))

    def rows(self, inputs: pa.Table) -> Floats:
        return self._rounded(arrow.matrix(inputs, self._categories))


def _check_categories(booster: lightgbm.Booster, signature: Signature) -> None:
    known = booster.pandas_categorical
    if not known:
        return
    places = category_columns(booster)
    if places is not None:
        for place, values in zip(places, known, strict=True):
            same_categories(signature.inputs[place], values)
        return
    given = [list(item.values) for item in signature.inputs if item.values]
    if given != known:
        raise ModelError(
            f"the inputs with values must have the model's own categories, in order: {known}; got {given}"
        )


def category_columns(booster: lightgbm.Booster) -> list[int] | None:
    """The columns of `pandas_categorical`, in order; None where the booster does not tell which they are.

    Ordered categories are numbers to LightGBM, and columns of numbers can be declared as categories.
    """
    places = booster.params.get("categorical_feature", booster.params.get("categorical_column"))
    known = booster.pandas_categorical or []
    places = [places] if isinstance(places, int) else places
    if not isinstance(places, list) or len(places) != len(known):
        return None
    return sorted(map(int, places))


def _check_objective(booster: lightgbm.Booster, signature: Signature) -> None:
    kind = signature.output.kind
    if kind == "anomaly":
        raise ModelError(
            "a lightgbm model must be binary, multiclass or regression; the signature says anomaly"
        )
    found = re.search(r"^objective=(\S+)", booster.model_to_string(num_iteration=1), re.MULTILINE)
    objective = found.group(1) if found else "none"
    classifies = any(objective in names for names in _OBJECTIVES.values())
    fits = objective in _OBJECTIVES[kind] if kind in _OBJECTIVES else not classifies
    if not fits:
        raise ModelError(f"the model's objective must fit a {kind} output; got {objective}")
