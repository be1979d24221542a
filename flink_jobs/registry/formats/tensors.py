"""Makes tensors of the maker's DataFrame, as the maker of a graph or network would: with pandas alone.

Inputs with `values` are their codes, missing ones NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from udfs.model.contract import Floats
from udfs.model.manifest import Input, Signature


def matrix(frame: pd.DataFrame, signature: Signature) -> Floats:
    """(n, d) float64: the inputs side by side, in the signature's order."""
    return np.column_stack([numbers(frame[item.name], item) for item in signature.inputs])


def vector(frame: pd.DataFrame, names: Sequence[str], inputs: Mapping[str, Input]) -> Floats:
    """(n, d) float64: the inputs of these names side by side."""
    return np.column_stack([numbers(frame[name], inputs[name]) for name in names])


def numbers(column: pd.Series[Any], item: Input) -> Floats:
    """(n,) float64. Raises `ValueError` for a text without a code."""
    if not item.values:
        return np.asarray(column.to_numpy("float64", na_value=np.nan))
    known = column if isinstance(column.dtype, pd.CategoricalDtype) else _coded(column, item)
    codes = known.cat.codes.to_numpy("float64")
    return np.where(codes < 0, np.nan, codes)


def whole(column: pd.Series[Any], item: Input) -> npt.NDArray[np.int64]:
    """(n,) with all 64 bits. Raises for a missing value, and for numbers that are not whole."""
    values = column if not item.values else pd.Series(numbers(column, item))
    plain = values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values
    return np.asarray(plain.astype("Int64").to_numpy("int64"))


def texts(column: pd.Series[Any]) -> npt.NDArray[Any]:
    """(n,) Python strings: a tensor has no missing one, so that it is empty."""
    plain = column.astype(object)
    found = plain.where(plain.notna(), "").to_numpy(object)
    if odd := next((value for value in found if not isinstance(value, str)), None):
        raise ValueError(f"{column.name} must be of strings; got a {type(odd).__name__}")
    return np.asarray(found, dtype=object)


def _coded(column: pd.Series[Any], item: Input) -> pd.Series[Any]:
    return pd.Series(pd.Categorical(column, categories=list(item.values)))
