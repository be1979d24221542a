"""Reads from a fitted scikit-learn pipeline what a missing value was in the columns that it was fitted on.

Encoders keep the categories that they saw, NaN or None among them, and imputers say what they replace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from udfs.model.manifest import Missing

Told = dict[int, Missing]


def missing_values(estimator: Any, names: Sequence[str]) -> Told:
    """By the places of columns, for those of which it tells one thing."""
    places = list(range(len(names) or int(getattr(estimator, "n_features_in_", 0))))
    found: dict[int, set[Missing]] = {}
    for place, kind in _told(estimator, places, list(names)):
        found.setdefault(place, set()).add(kind)
    return {place: kinds.pop() for place, kinds in found.items() if len(kinds) == 1}


def _told(estimator: Any, places: list[int], names: list[str]) -> Iterator[tuple[int, Missing]]:
    """`places`: of the model's columns, those that the estimator gets."""
    if hasattr(estimator, "steps"):
        yield from _of_pipeline(estimator, places, names)
    elif hasattr(estimator, "transformers_"):
        for _, part, columns in estimator.transformers_:
            if part not in ("drop", "passthrough"):
                yield from _told(part, _chosen(columns, places, names), names)
    elif hasattr(estimator, "categories_"):
        for place, values in zip(places, estimator.categories_, strict=False):
            yield from ((place, kind) for kind in _kinds(values))
    elif hasattr(estimator, "statistics_") and hasattr(estimator, "missing_values"):
        yield from ((place, kind) for place in places for kind in _kinds([estimator.missing_values]))
    else:
        inner = _inner(estimator)
        if inner is not None:
            yield from _told(inner, places, names)


def _of_pipeline(pipeline: Any, places: list[int], names: list[str]) -> Iterator[tuple[int, Missing]]:
    """The first step that tells: those after it get what it made."""
    for _, step in pipeline.steps:
        if step == "passthrough":
            continue
        yield from _told(step, places, names)
        return


def _chosen(columns: Any, places: list[int], names: list[str]) -> list[int]:
    if isinstance(columns, slice):
        return places[columns]
    listed = [columns] if isinstance(columns, str | int) else list(columns)
    if listed and isinstance(listed[0], bool | np.bool_):
        return [place for place, wanted in zip(places, listed, strict=True) if wanted]
    return [names.index(each) if isinstance(each, str) else places[int(each)] for each in listed]


def _kinds(values: Any) -> Iterator[Missing]:
    for value in values:
        if value is None:
            yield "none"
        elif value is pd.NA:
            yield "NA"
        elif isinstance(value, float) and np.isnan(value):
            yield "nan"


def _inner(estimator: Any) -> Any:
    """What a wrapper such as a calibration or a search holds, or gradient boosting puts before itself."""
    fitted = getattr(estimator, "calibrated_classifiers_", None)
    if fitted:
        return fitted[0].estimator
    for name in ("best_estimator_", "estimator_", "estimator", "_preprocessor"):
        found = getattr(estimator, name, None)
        if found is not None:
            return found
    return None
