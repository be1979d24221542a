"""Writes and inspects ONNX graphs. Writing one needs no library; `onnx` is for inspection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flink_jobs.registry.formats.base import ClientFormat, Facts, classifier
from udfs.model.manifest import Output


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
    floats = [item for item in graph.output if item.type.tensor_type.elem_type in (1, 11)]
    return Facts(names, Output(kind="regression") if len(graph.output) == len(floats) == 1 else None)


FORMAT = ClientFormat(_dump, _inspect)
