"""Edits ONNX graphs that a converter made: inputs get back their names, anomaly scores their scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def edited(data: bytes, *, inputs: Sequence[str], offset: float = 0.0) -> bytes:
    """The graph with these names of inputs, in its order, and `offset` added to its last output.

    Converters make identifiers of names: `sepal length (cm)` becomes `sepal_length__cm_`.
    """
    # Start-up: optional and slow to load.
    import onnx  # noqa: PLC0415

    model = onnx.load_model_from_string(data)
    for node, name in zip(model.graph.input, inputs, strict=True):
        if node.name != name:
            _rename_input(onnx, model.graph, node, name)
    if offset:
        _shift(onnx, model.graph, offset)
    return bytes(model.SerializeToString())


def _rename_input(onnx: Any, graph: Any, node: Any, name: str) -> None:
    """By a node that hands it on, so that nothing within the graph has to be renamed."""
    graph.node.insert(0, onnx.helper.make_node("Identity", [name], [node.name], name=f"named_{node.name}"))
    node.name = name


def _shift(onnx: Any, graph: Any, offset: float) -> None:
    """Subtracts the negative: a converter's own last Add tells that a graph lacks its offset."""
    output = graph.output[-1]
    before, constant = f"{output.name}_without_offset", f"{output.name}_offset"
    for node in graph.node:
        node.output[:] = [before if name == output.name else name for name in node.output]
        node.input[:] = [before if name == output.name else name for name in node.input]
    kind = output.type.tensor_type.elem_type
    graph.initializer.append(onnx.helper.make_tensor(constant, kind, [1], [-offset]))
    graph.node.append(onnx.helper.make_node("Sub", [before, constant], [output.name], name="with_offset"))
