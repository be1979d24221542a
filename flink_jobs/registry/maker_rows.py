"""The maker's rows: the DataFrame that a model's library takes, and the same rows in a signature's schema.

frame = as_frame(table, signature)         # as pandas itself holds them: no code of the workers
signature = described(signature, frame)    # with the dtypes, categories and missing values of the DataFrame
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from msgspec import UNSET, structs

from flink_jobs.errors import InputError
from udfs.model.manifest import Input, Missing, Signature, Value
from udfs.types import ARROW

_STANDS: dict[Any, Any] = {UNSET: None, "none": None, "nan": np.nan, "NA": pd.NA}
_NARROW = ("float32", "float16")
_CATEGORIES = {"object": "", "int64": "", "float64": "", "bool": ""}


def as_frame(rows: pa.Table, signature: Signature, *, coded: bool) -> pd.DataFrame:
    """Rows in the signature's schema as pandas makes them, with the dtypes and missing values it says.

    `coded`: inputs with values are category columns, as the library of a booster wants them.
    """
    made: pd.DataFrame = rows.to_pandas()
    for item in signature.inputs:
        column = made[item.name]
        if coded and item.values:
            made[item.name] = pd.Categorical(column, categories=list(item.values))
        elif item.pandas is not UNSET:
            made[item.name] = _of_dtype(column, item)
        elif is_object(column):
            made[item.name] = column.where(column.notna(), _STANDS[item.missing])
    return made


def _of_dtype(column: pd.Series[Any], item: Input) -> Any:
    dtype = str(item.pandas)
    if dtype.startswith("category"):
        kind = dtype.removeprefix("category").strip("[]") or None
        return pd.Categorical(column, categories=pd.Index(list(item.values), dtype=kind))
    if dtype == "int64" and column.isna().any():
        return column
    values = column.astype(pd.api.types.pandas_dtype(dtype))
    return values.where(values.notna(), _STANDS[item.missing]) if dtype == "object" else values


def as_table(frame: pd.DataFrame, signature: Signature) -> pa.Table:
    """The rows in the signature's schema. Raises `InputError` where a column is of another type."""
    columns = {}
    for item in signature.inputs:
        if item.name not in frame.columns:
            raise InputError(
                f"golden_inputs must have the signature's inputs; {item.name} is not in {list(frame.columns)}"
            )
        column = frame[item.name]
        plain = column.astype(object) if _is_extension(column) else column
        if item.type == "boolean" and column.dtype.kind == "f":
            plain = column.map({0.0: False, 1.0: True}).astype(object)
        try:
            columns[item.name] = pa.array(plain, ARROW[item.type], from_pandas=True)
        except (pa.ArrowException, OverflowError) as error:
            raise InputError(f"the rows' {item.name} must be a {item.type}: {error}") from None
    return pa.table(columns, schema=signature.schema())


def _is_extension(column: pd.Series[Any]) -> bool:
    return isinstance(column.dtype, pd.api.extensions.ExtensionDtype)


def described(signature: Signature, frame: pd.DataFrame, *, coded: bool, objects: bool = True) -> Signature:
    """The signature with what the maker's DataFrame says of its columns, where the signature says nothing.

    For models that get `coded` rows that is only how wide their numbers are; without `objects` it is nothing
    of these.
    """

    def silent(column: pd.Series[Any]) -> bool:
        return (coded and str(column.dtype) not in _NARROW) or (not objects and is_object(column))

    inputs = tuple(
        item if silent(frame[item.name]) else _described(item, frame[item.name]) for item in signature.inputs
    )
    return structs.replace(signature, inputs=inputs)


def _described(item: Input, column: pd.Series[Any]) -> Input:
    if item.pandas is not UNSET:
        return item
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        index = dtype.categories.dtype
        name = "category" + _CATEGORIES.get(str(index), f"[{index}]")
        return structs.replace(item, pandas=name, values=item.values or plain_values(dtype.categories))
    if isinstance(dtype, pd.StringDtype):
        return structs.replace(item, pandas="string")
    if isinstance(dtype, pd.api.extensions.ExtensionDtype) or str(dtype) in _NARROW:
        return structs.replace(item, pandas=str(dtype))
    if item.type == "boolean" and dtype.kind == "f":
        return structs.replace(item, pandas="float64")
    if not is_object(column) or item.missing is not UNSET:
        return item
    kind = observed(column) or UNSET
    if item.type in ("double", "long"):
        return structs.replace(item, pandas="object", missing=kind)
    return structs.replace(item, missing=kind)


def restored(rows: pa.Table, frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """The frame with the columns that a Parquet file keeps as pandas had them, such as categories.

    It does not keep whether a missing string was None or NaN.
    """
    kept: pd.DataFrame = rows.select(signature.names).to_pandas()
    names = [
        i.name for i in signature.inputs if not (i.values and i.pandas is UNSET) and _is_kept(kept[i.name])
    ]
    return frame.assign(**{name: kept[name] for name in names})


def _is_kept(column: pd.Series[Any]) -> bool:
    return _is_extension(column) or str(column.dtype) in _NARROW


def is_object(column: pd.Series[Any]) -> bool:
    """Whether it holds Python objects."""
    return isinstance(column.dtype, np.dtype) and column.dtype.kind == "O"


def observed(column: pd.Series[Any]) -> Missing | None:
    """What stands for a missing value in a column of objects, if it is one thing."""
    found: set[Missing] = set()
    for value in column[column.isna()]:
        found.add("none" if value is None else "NA" if value is pd.NA else "nan")
    return found.pop() if len(found) == 1 else None


def plain_values(values: Any) -> tuple[Value, ...]:
    """Categories as plain Python values."""
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def without(column: pd.Series[Any], item: Input) -> pd.Series[Any]:
    """The column with a missing value in each row, as pandas holds it."""
    if _is_extension(column):
        return pd.Series([None] * len(column), dtype=column.dtype, index=column.index)
    if item.pandas == "float64":
        return pd.Series(np.nan, dtype="float64", index=column.index)
    if is_object(column) or column.dtype.kind == "b":
        return pd.Series([_STANDS[item.missing]] * len(column), dtype=object, index=column.index)
    return pd.Series(np.nan, dtype="float32" if column.dtype == "float32" else "float64", index=column.index)


def numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as boosters take them: booleans beside missing values as numbers."""
    objects = [name for name in frame.columns if is_object(frame[name])]
    return frame.astype(dict.fromkeys(objects, "float64")) if objects else frame
