"""Writes and inspects ONNX graphs. Writing one needs no library; `onnx` is for inspection."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from msgspec import UNSET, structs

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from udfs.model.manifest import Output, Signature


def _dump(model: Any) -> bytes:
    return bytes(model.SerializeToString())


def _inspect(data: bytes, _trusted_types: Sequence[str]) -> Facts:
    # Start-up: optional, not needed by those who register graphs with a signature.
    import onnx  # noqa: PLC0415

    graph = onnx.load_model_from_string(data).graph
    inputs = graph.input
    names = tuple(item.name for item in inputs) if len(inputs) > 1 else None
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


FORMAT = ClientFormat(_dump, _inspect)
