"""Writes, inspects and asks PyTorch programs; the library is loaded only when it is used."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

from flink_jobs.errors import InputError
from flink_jobs.registry.formats.base import ClientFormat, Facts, network_output
from flink_jobs.registry.formats.tensors import vector
from udfs.model.formats.base import Raw
from udfs.model.formats.neural import as_output
from udfs.model.manifest import Signature

# What hands on values as they are, in another shape.
_SHAPES = ("view", "reshape", "squeeze", "unsqueeze", "flatten", "clone", "alias", "_to_copy")
_ENDS = {"sigmoid": "sigmoid", "softmax": "softmax", "_softmax": "softmax"}


def _worker() -> Any:
    # Start-up: optional and slow to load.
    from udfs.model.formats import torch_export  # noqa: PLC0415

    return torch_export


def _dump(program: Any) -> bytes:
    torch = _worker().torch
    if not isinstance(program, torch.export.ExportedProgram):
        raise InputError(
            f"a torch model must be given as torch.export.export gives it; got a {type(program).__name__}"
        )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    return _worker().read(data)


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    """The names of its inputs, where it has one for each column or vector, and what its output is.

    Of its output a program tells the shape, and by its last operation what that is.
    """
    program = _read(data, trusted_types)
    output = next(node for node in program.graph.nodes if node.op == "output").args[0]
    if len(output) != 1:
        raise InputError(f"the program must have one output, as a version has; got {len(output)}")
    node, shape = output[0], output[0].meta["val"].shape
    while _name(node) in _SHAPES:
        node = node.args[0]
    width = int(shape[1]) if len(shape) == 2 and isinstance(shape[1], int) else 1
    names = _worker().column_names(program)
    return Facts(None if names is None else tuple(names), network_output(_ENDS.get(_name(node), ""), width))


def _name(node: Any) -> str:
    """`softmax` of `aten.softmax.int`."""
    return str(node.target).split(".")[1] if str(node.target).startswith("aten.") else ""


def _says(program: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """The forward of the module that was exported."""
    worker = _worker()
    inputs = {item.name: item for item in signature.inputs}
    made = []
    for tensor in worker.tensors_of(program, signature):
        rows = vector(frame, tensor.columns, inputs).astype(tensor.number)
        made.append(worker.torch.from_numpy(rows if tensor.dimensions == 2 else rows[:, 0]))
    with worker.torch.no_grad():
        said = program.module()(*made)
    return Raw(as_output(said.numpy(), signature))


FORMAT = ClientFormat(_dump, _inspect, read=_read, says=_says, coded=True, tensors=True)
