"""Writes, inspects and asks ONNX graphs. Writing one needs no library; `onnx` is for inspection."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from msgspec import UNSET, structs

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from flink_jobs.registry.formats.tensors import matrix, numbers, texts, vector, whole
from udfs.model.formats.base import Raw
from udfs.model.formats.inputs import tensor_columns
from udfs.model.manifest import Input, Output, Signature


def _dump(model: Any) -> bytes:
    return bytes(model.SerializeToString())


def _inspect(data: bytes, _trusted_types: Sequence[str]) -> Facts:
    # Start-up: optional, not needed by those who register graphs with a signature.
    import onnx  # noqa: PLC0415

    graph = onnx.load_model_from_string(data).graph
    inputs = graph.input
    shapes = {item.name: [each.dim_value for each in item.type.tensor_type.shape.dim] for item in inputs}
    columns = tensor_columns(shapes).values()
    names = tuple(name for taken in columns for name in taken) if len(inputs) > 1 else None
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith(("classlabels_", "classlabels")) and node.domain == "ai.onnx.ml":
                value = onnx.helper.get_attribute_value(attribute)
                return Facts(names, classifier([v.decode() if isinstance(v, bytes) else v for v in value]))
    offset = _offset(onnx, graph)
    if offset is not None:
        return Facts(names, Output(kind="anomaly", offset=offset))
    floats = [item for item in graph.output if item.type.tensor_type.elem_type in (1, 11)]
    return Facts(names, Output(kind="regression") if len(graph.output) == len(floats) == 1 else None)


def with_offset(data: bytes, signature: Signature) -> Signature:
    """An anomaly signature with the graph's offset, where it is not given, has none of its own, and tells it.

    skl2onnx writes `decision_function`; with its option `score_samples` that too, as the last output.
    """
    if signature.output.kind != "anomaly" or signature.output.offset is not UNSET or not find_spec("onnx"):
        return signature
    # Start-up: optional and slow to load.
    import onnx  # noqa: PLC0415

    offset = _offset(onnx, onnx.load_model_from_string(data).graph)
    if offset is None:
        return signature
    return structs.replace(signature, output=structs.replace(signature.output, offset=offset))


def _offset(onnx: Any, graph: Any) -> float | None:
    """scikit-learn's `offset_` of an outlier detector, as skl2onnx writes it."""
    if [item.type.tensor_type.elem_type for item in graph.output] not in ([7, 1], [7, 11]):
        return None
    made_by = {name: node for node in graph.node for name in node.output}
    constants = {item.name: item for item in graph.initializer}
    node = made_by.get(graph.output[1].name)
    while node is not None and node.op_type == "Cast":
        node = made_by.get(node.input[0])
    if node is None:
        return None
    if node.op_type == "Add" and node.input[1] in constants:
        added = onnx.numpy_helper.to_array(constants[node.input[1]])
        return -float(added.ravel()[0]) if added.size == 1 else None
    return _rho(onnx, node) if node.op_type == "SVMRegressor" else None


def _rho(onnx: Any, node: Any) -> float | None:
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    rho = found.get("rho", ())
    return -float(rho[0]) if len(rho) == 1 else None


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    """A session as anybody would make it, on one thread."""
    # Start-up: optional and slow to load.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _says(session: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """What ONNX Runtime gives for tensors of the maker's columns, or for one of all of them."""
    # Start-up: optional and slow to load.
    from udfs.model.formats.onnx_runtime import NUMBERS, values_output  # noqa: PLC0415

    nodes = {node.name: node for node in session.get_inputs()}
    inputs = {item.name: item for item in signature.inputs}
    if nodes.keys() != inputs.keys() and len(nodes) > 1:
        taken = tensor_columns({name: node.shape for name, node in nodes.items()})
        feed = {
            name: _column(frame[name], inputs[name], node)
            if taken[name] == [name]
            else vector(frame, taken[name], inputs).astype(NUMBERS[node.type])
            for name, node in nodes.items()
        }
    elif nodes.keys() != inputs.keys():
        (only,) = nodes.values()
        feed = {only.name: matrix(frame, signature).astype(NUMBERS[only.type])}
    else:
        feed = {name: _column(frame[name], inputs[name], node) for name, node in nodes.items()}
    names = [node.name for node in session.get_outputs()]
    said = dict(zip(names, session.run(None, feed), strict=True))
    values = _table(said[values_output(session.get_outputs())], signature.output.classes)
    if signature.output.kind == "anomaly":
        (labels,) = (np.ravel(found) for name, found in said.items() if "float" not in str(found.dtype))
        offset = 0.0 if signature.output.offset is UNSET else signature.output.offset
        return Raw(-values.ravel() - offset, labels == -1)
    if signature.output.kind == "multiclass":
        return Raw(values)
    return Raw(values[:, 1] if signature.output.classes and values.shape[1:] == (2,) else values.ravel())


def _column(column: pd.Series[Any], item: Input, node: Any) -> Any:
    # Start-up: optional and slow to load.
    from udfs.model.formats.onnx_runtime import NUMBERS  # noqa: PLC0415

    if node.type == "tensor(string)":
        made = texts(column)
    else:
        kind = np.dtype(NUMBERS[node.type])
        values = (numbers if kind.kind == "f" else whole)(column, item)
        made = values.astype(kind)
        if kind.kind != "f" and (made != values).any():
            raise ValueError(f"{item.name} must be of the graph's {kind}")
    return made.reshape(len(made), *(1 for _ in node.shape[1:]))


def _table(values: Any, classes: Sequence[Any]) -> Any:
    """A tensor, or ZipMap's dicts in the order of the classes that they name."""
    if not isinstance(values, list):
        return np.asarray(values)
    found = pd.DataFrame(values)
    return (found[list(classes)] if set(found.columns) == set(classes) else found).to_numpy()


FORMAT = ClientFormat(
    _dump,
    _inspect,
    read=_read,
    says=_says,
    coded=True,
    asked=lambda graph: _read(_dump(graph), ()),
    tensors=True,
)
