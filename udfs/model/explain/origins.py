"""Traces each column that a scikit-learn transformer makes to the input that it comes from.

>>> from sklearn.preprocessing import OneHotEncoder
>>> origins(OneHotEncoder().fit([["a", 1], ["b", 1]]), 2)
array([0, 0, 1])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, OneHotEncoder

from udfs.errors import ModelError
from udfs.model.explain.base import Indices


def origins(transformer: Any, inputs: int) -> Indices:
    """(m,) for the m columns that a fitted transformer makes of `inputs` columns.

    Raises `ModelError` for a transformer whose columns mix several inputs, or that is not known.
    """
    for kind, find in _FINDERS:
        if isinstance(transformer, kind):
            return find(transformer, inputs)
    if transformer == "passthrough":
        return np.arange(inputs)
    known = isinstance(transformer, OneToOneFeatureMixin) and not isinstance(transformer, Normalizer)
    if not known:
        name = type(transformer).__name__
        raise ModelError(f"the columns that a {name} makes cannot be traced to the model's inputs")
    return np.arange(inputs)


def _pipeline(pipeline: Pipeline, inputs: int) -> Indices:
    found = np.arange(inputs)
    for _, step in pipeline.steps:
        found = found[origins("passthrough" if step is None else step, len(found))]
    return found


def _column_transformer(transformer: ColumnTransformer, _inputs: int) -> Indices:
    slices = transformer.output_indices_
    found = np.zeros(max(part.stop for part in slices.values()), dtype=np.intp)
    for name, step, _ in transformer.transformers_:
        part = slices[name]
        if part.stop > part.start:
            # Names, positions, masks, slices and callables, as the transformer itself resolved them.
            taken = np.asarray(transformer._transformer_to_input_indices[name], dtype=np.intp)
            found[part] = taken[origins(step, len(taken))]
    return found


def _union(union: FeatureUnion, inputs: int) -> Indices:
    steps = [step for _, step in union.transformer_list if not (isinstance(step, str) and step == "drop")]
    return np.concatenate([origins(step, inputs) for step in steps])


def _one_hot(encoder: OneHotEncoder, inputs: int) -> Indices:
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * inputs
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * inputs
    widths = [
        len(categories) - (len(few) - 1 if few is not None else 0) - (gone is not None)
        for categories, few, gone in zip(encoder.categories_, rare, dropped, strict=True)
    ]
    return np.repeat(np.arange(inputs), widths)


def _imputer(imputer: SimpleImputer, inputs: int) -> Indices:
    """A column that was empty in training is left out unless the imputer keeps it."""
    statistics = imputer.statistics_
    numbers = statistics.dtype.kind == "f" and not imputer.keep_empty_features
    kept = np.flatnonzero(~np.isnan(statistics)) if numbers else np.arange(inputs)
    if imputer.indicator_ is None:
        return kept
    return np.concatenate([kept, imputer.indicator_.features_])


def _function(transformer: FunctionTransformer, inputs: int) -> Indices:
    if transformer.func is not None and transformer.feature_names_out != "one-to-one":
        raise ModelError(
            "a FunctionTransformer must have feature_names_out='one-to-one' for its columns to be explained"
        )
    return np.arange(inputs)


_FINDERS: tuple[tuple[type, Callable[[Any, int], Indices]], ...] = (
    (Pipeline, _pipeline),
    (ColumnTransformer, _column_transformer),
    (FeatureUnion, _union),
    (OneHotEncoder, _one_hot),
    (SimpleImputer, _imputer),
    (MissingIndicator, lambda indicator, _inputs: np.asarray(indicator.features_, dtype=np.intp)),
    (FunctionTransformer, _function),
    (SelectorMixin, lambda selector, _inputs: np.asarray(selector.get_support(indices=True), dtype=np.intp)),
)
