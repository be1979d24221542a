"""Fits graphs and networks on columns `a` and `q`, each with its own library's predictions of a DataFrame.

Their makers make tensors of the columns; what a missing or unknown category is there, docs/models.md says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Fitted:
    """A model, and its own library's probability of the positive class for a DataFrame.

    `frame`: what it was fitted on, where that was made of the rows.
    """

    model: Any
    oracle: Callable[[pd.DataFrame], Any]
    frame: pd.DataFrame | None = None


Fit = Callable[[pd.DataFrame, Any], Fitted]


def onnx_columns(frame: pd.DataFrame, y: Any) -> Fitted:
    """A graph with an input of its own type for each column, as converters make it of a DataFrame."""
    kind = tensor_kind(frame["q"])
    encode, node = {
        "text": (OneHotEncoder(handle_unknown="ignore"), StringTensorType),
        "whole": (OneHotEncoder(handle_unknown="ignore"), Int64TensorType),
        "bool": (FunctionTransformer(), BooleanTensorType),
        "number": (SimpleImputer(), FloatTensorType),
    }[kind]

    def tensors(rows: pd.DataFrame) -> dict[str, Any]:
        return {"a": column(rows["a"], "number"), "q": column(rows["q"], kind)}

    made = tensors(frame)
    fitted = pd.DataFrame({name: values[:, 0] for name, values in made.items()})
    columns = make_column_transformer((encode, ["q"]), (SimpleImputer(), ["a"]))
    logistic = LogisticRegression()
    pipeline = make_pipeline(columns, logistic).fit(fitted, y)
    types = [("a", FloatTensorType([None, 1])), ("q", node([None, 1]))]
    graph = to_onnx(pipeline, initial_types=types, options={id(logistic): {"zipmap": False}})
    return asked(graph, tensors)


def onnx_matrix(frame: pd.DataFrame, y: Any) -> Fitted:
    """A graph of one matrix of floats, in which a category is its code."""
    codes = coder(frame)
    trees = HistGradientBoostingClassifier(max_iter=10, random_state=0)
    fitted = make_pipeline(SimpleImputer(), trees).fit(codes(frame), y)
    graph = to_onnx(fitted, codes(frame)[:1], options={id(trees): {"zipmap": False}})
    return asked(graph, lambda rows: {"X": codes(rows)})


def onnx_codes(frame: pd.DataFrame, y: Any) -> Fitted:
    """A graph with an input of whole numbers for the codes, as an embedding takes them."""
    known = frame["q"].cat.categories

    def tensors(rows: pd.DataFrame) -> dict[str, Any]:
        codes = pd.Categorical(rows["q"], categories=known).codes.astype("int64")
        if (codes < 0).any():
            raise ValueError("an embedding has no row for this")
        return {"a": column(rows["a"], "number"), "q": codes.reshape(-1, 1)}

    made = tensors(frame)
    fitted = pd.DataFrame({name: values[:, 0] for name, values in made.items()})
    columns = make_column_transformer((OneHotEncoder(), ["q"]), (SimpleImputer(), ["a"]))
    logistic = LogisticRegression()
    pipeline = make_pipeline(columns, logistic).fit(fitted, y)
    types = [("a", FloatTensorType([None, 1])), ("q", Int64TensorType([None, 1]))]
    return asked(to_onnx(pipeline, initial_types=types, options={id(logistic): {"zipmap": False}}), tensors)


def asked(graph: Any, tensors: Callable[[pd.DataFrame], dict[str, Any]]) -> Fitted:
    """A graph, and what ONNX Runtime says of tensors."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return Fitted(graph, lambda rows: session.run(None, tensors(rows))[-1][:, 1])


def tensor_kind(values: pd.Series[Any]) -> str:
    """The type that a tensor of this column has."""
    plain = values.cat.categories.to_series() if isinstance(values.dtype, pd.CategoricalDtype) else values
    if plain.dtype.kind == "O":
        return "number" if set(plain.dropna()) <= {True, False} else "text"
    return {"b": "bool", "i": "whole"}.get(plain.dtype.kind, "number")


def column(values: pd.Series[Any], kind: str) -> Any:
    """(n, 1). Raises where a tensor of the kind cannot hold a missing value."""
    if kind == "text":
        made = values.astype(object).where(values.notna(), "").to_numpy(object)
    elif kind == "number":
        made = values.to_numpy("float32", na_value=np.nan)
    elif values.isna().any():
        raise ValueError("a tensor of this type has no missing value")
    else:
        made = values.to_numpy({"whole": "int64", "bool": "bool"}[kind])
    return made.reshape(-1, 1)


def coder(fitted: pd.DataFrame) -> Callable[[pd.DataFrame], Floats]:
    """Makes a matrix of floats; what is no category of the fit is NaN."""
    categories = fitted["q"].cat.categories if isinstance(fitted["q"].dtype, pd.CategoricalDtype) else None

    def made(rows: pd.DataFrame) -> Floats:
        a, q = rows["a"].to_numpy("float32"), rows["q"]
        if categories is None:
            return np.column_stack([a, q.to_numpy("float32", na_value=np.nan)])
        codes = pd.Categorical(q, categories=categories).codes.astype("float32")
        return np.column_stack([a, np.where(codes < 0, np.nan, codes)]).astype("float32")

    return made


def torch_program(frame: pd.DataFrame, y: Any) -> Fitted:
    """An exported module, and that module itself; its weights are drawn, not fitted."""
    import torch

    codes = coder(frame)

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, rows: Any) -> Any:
            return torch.sigmoid(self.layer(torch.nan_to_num(rows, nan=-1.0)))

    network = Network().eval()
    shapes = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(network, (torch.zeros(4, 2),), dynamic_shapes=shapes)

    def oracle(rows: pd.DataFrame) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(codes(rows))).numpy()[:, 0]

    return Fitted(program, oracle)


def keras_model(*, filled: bool) -> Fit:
    """One matrix; `filled`: missing numbers count as -1, where else all that they touch is NaN."""

    def fit(frame: pd.DataFrame, y: Any) -> Fitted:
        from udfs.model.formats import keras_zip

        keras, codes = keras_zip.import_keras(), coder(frame)
        keras.utils.set_random_seed(0)
        rows = keras.Input((2,))
        known = keras.ops.nan_to_num(rows, nan=-1.0) if filled else rows
        model = keras.Model(rows, keras.layers.Dense(1, activation="sigmoid")(known))
        return Fitted(model, lambda rows: model.predict(codes(rows), verbose=0, batch_size=4096)[:, 0])

    return fit


def known_values(frame: pd.DataFrame) -> Sequence[Any]:
    """The categories of `q`, as a signature has them for a model that takes their codes."""
    return list(frame["q"].cat.categories) if isinstance(frame["q"].dtype, pd.CategoricalDtype) else []
