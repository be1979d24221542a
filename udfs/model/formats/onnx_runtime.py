"""Loads ONNX graphs: an input per column or vector, or one matrix of floats; classifiers, ZipMap or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import UNSET

from udfs.errors import ModelError
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, any_rows, need_codes, same_count
from udfs.model.manifest import Signature

NUMBERS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    **{
        f"tensor({kind.__name__})": kind
        for kind in (np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8)
    },
    "tensor(bool)": np.bool_,
}
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
Feed = dict[str, npt.NDArray[Any]]


def load(data: bytes, signature: Signature) -> OnnxModel:
    """Build a session on one thread that does not spin. Graphs with external data are refused."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return OnnxModel(session, signature)


class OnnxModel(FormatModel):
    """A null is NaN in a float input and "" in a string input; an integer input cannot have one."""

    def __init__(self, session: onnxruntime.InferenceSession, signature: Signature) -> None:
        super().__init__(signature)
        self._session = session
        self._categories = arrow.categories(signature)
        self._rounded = arrow.rounding(signature)
        self._narrow = {
            item.name: str(item.pandas) for item in signature.inputs if item.pandas in arrow.NARROW
        }
        self._feed = self._feeder()
        outputs = session.get_outputs()
        self._values = values_output(outputs)
        self._labels = next((item.name for item in outputs if item.name != self._values), None)
        offset = signature.output.offset
        self._offset = 0.0 if offset is UNSET else offset
        self._unchecked = bool(signature.output.classes) and self._labels is not None
        if signature.output.kind == "anomaly" and self._labels is None:
            raise ModelError(
                f"the graph of an anomaly model must have a label output; got only {self._values}"
            )

    def infer(self, inputs: pa.Table) -> Raw:
        feed = self._feed(inputs)
        if self.signature.output.kind == "anomaly":
            labels, values = self._session.run([self._labels, self._values], feed)
            return Raw(-np.asarray(values).ravel() - self._offset, np.asarray(labels).ravel() == -1)
        values = self._probabilities(self._session.run([self._values], feed)[0])
        if self._unchecked:
            labels = np.asarray(self._session.run([self._labels], feed)[0]).ravel().tolist()
            _check_labels(labels, values, self.signature.output.classes)
            self._unchecked = False
        return Raw(values)

    def _probabilities(self, values: Any) -> npt.NDArray[Any]:
        """ZipMap's list of dicts or a tensor, as the shape that the output's kind has."""
        if isinstance(values, list):
            classes = list(values[0])
            values = [[row[label] for label in classes] for row in values]
        table = np.asarray(values)
        kind = self.signature.output.kind
        if kind == "multiclass":
            return table
        return table[:, 1] if kind == "binary" and table.ndim == 2 and table.shape[1] == 2 else table.ravel()

    def _feeder(self) -> Callable[[pa.Table], Feed]:
        nodes = {node.name: node for node in self._session.get_inputs()}
        for name, node in nodes.items():
            any_rows(node.shape, f"the graph's input {name}")
        if nodes.keys() == set(self.signature.names):
            _check_texts(nodes, self.signature)
            return lambda table: {name: self._column(table[name], node) for name, node in nodes.items()}
        if len(nodes) != 1:
            return self._vector_feeder(nodes)
        return self._matrix_feeder(next(iter(nodes.values())))

    def _vector_feeder(self, nodes: Mapping[str, Any]) -> Callable[[pa.Table], Feed]:
        """Of several tensors, those that take a vector whole."""
        taken = arrow.tensor_columns({name: node.shape for name, node in nodes.items()})
        names = [column for columns in taken.values() for column in columns]
        if sorted(names) != sorted(self.signature.names):
            raise ModelError(
                f"the signature's inputs must be the graph's: {names[:100]}; got {self.signature.names[:100]}"
            )
        wide = {name for name, columns in taken.items() if columns != [name]}
        if odd := next((name for name in wide if nodes[name].type not in _FLOATS), None):
            raise ModelError(f"the graph's input {odd} of a vector must be of floats; got {nodes[odd].type}")
        _check_texts({name: nodes[of] for of, columns in taken.items() for name in columns}, self.signature)

        def feed(table: pa.Table) -> Feed:
            return {
                name: self._vector(table.select(taken[name]), node)
                if name in wide
                else self._column(table[name], node)
                for name, node in nodes.items()
            }

        return feed

    def _vector(self, columns: pa.Table, node: Any) -> npt.NDArray[Any]:
        made: npt.NDArray[Any] = np.empty((columns.num_rows, columns.num_columns), NUMBERS[node.type])
        for place, name in enumerate(columns.column_names):
            coded = self._categories.get(name)
            column = columns.column(place)
            made[:, place] = self._numbers(column, name) if coded is None else arrow.codes(column, coded)
        return made

    def _matrix_feeder(self, node: Any) -> Callable[[pa.Table], Feed]:
        kind = NUMBERS.get(node.type)
        if node.type not in _FLOATS or kind is None:
            raise ModelError(
                f"the graph's only input must be a tensor of floats; got {node.name} {node.type}"
            )
        need_codes(self.signature)
        if isinstance(node.shape[-1], int):
            same_count(node.shape[-1], self.signature)
        return lambda table: {node.name: self._rounded(arrow.matrix(table, self._categories)).astype(kind)}

    def _column(self, column: pa.ChunkedArray, node: Any) -> npt.NDArray[Any]:
        shape = (len(column), 1) if len(node.shape) == 2 else (len(column),)
        if node.type == "tensor(string)":
            return _strings(column).reshape(shape)
        if node.type not in NUMBERS:
            raise ModelError(f"the graph's input {node.name} must be a number or string; got {node.type}")
        coded = self._categories.get(node.name)
        values = self._numbers(column, node.name) if coded is None else arrow.codes(column, coded)
        if node.type in _FLOATS:
            return values.astype(NUMBERS[node.type]).reshape(shape)
        if column.null_count:
            raise ModelError(f"{node.name} must not be null: the graph's input is a {node.type}")
        if coded is not None and np.isnan(values).any():
            raise ModelError(f"{node.name} must be one of its values: the graph's input is a {node.type}")
        return arrow.exactly(values, NUMBERS[node.type], node.name).reshape(shape)

    def _numbers(self, column: pa.ChunkedArray, name: str) -> npt.NDArray[Any]:
        """Integers without null keep their 64 bits."""
        if pa.types.is_integer(column.type) and not column.null_count:
            return np.asarray(column.to_numpy())
        values = arrow.floats(column)
        return values.astype(self._narrow.get(name, values.dtype))


def _check_texts(nodes: Mapping[str, Any], signature: Signature) -> None:
    for item in signature.inputs:
        if item.type == "string" and not item.values and nodes[item.name].type != "tensor(string)":
            raise ModelError(
                f"the string input {item.name} must have values, as the graph takes their codes: a "
                f"{nodes[item.name].type}"
            )


def _strings(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if not pa.types.is_string(column.type):
        raise ModelError(f"the graph's string inputs must be strings in the signature; got {column.type}")
    filled: npt.NDArray[Any] = pc.fill_null(column, "").to_pandas().to_numpy(dtype=object)
    return filled


def values_output(outputs: list[Any]) -> str:
    """The output with probabilities, scores or predictions: the last that is not a label."""
    floats = [item.name for item in outputs if "float" in item.type or "double" in item.type]
    if not floats:
        raise ModelError(f"the graph must have an output of floats; got {[item.type for item in outputs]}")
    return str(floats[-1])


def _check_labels(labels: list[Any], values: npt.NDArray[Any], classes: tuple[Any, ...]) -> None:
    """Once per model: classes in another order than the signature's would give wrong labels for ever.

    Rows that are nearly a tie say nothing, and the labels of an SVC are not always its most probable classes:
    of each class, the rows whose label it is must outweigh the others. Graphs may number classes that the
    signature names.
    """
    table = values if values.ndim == 2 else np.column_stack([1 - values, values])
    top = np.sort(table, axis=1)[:, -2:]
    margins = np.where(top[:, 1] - top[:, 0] > 1e-3, top[:, 1] - top[:, 0], 0.0)
    numbered = all(isinstance(name, str) for name in classes) and all(isinstance(x, int) for x in labels)
    for index, chosen in enumerate(table.argmax(axis=1) == k for k in range(table.shape[1])):
        expected = index if numbered else classes[index]
        signs = np.array([1.0 if label == expected else -1.0 for label in labels])
        if (signs * margins)[chosen].sum() < 0:
            odd = next(label for label, row in zip(labels, chosen, strict=True) if row and label != expected)
            raise ModelError(f"the signature's classes must be in the graph's order: {odd!r} is at {index}")
