"""Loads PyTorch programs of `torch.export.save`: tensors of floats in, probabilities or numbers out.

One matrix of all inputs, or a tensor for each column or vector.

Such a program needs no class of its maker. Its loading may unpickle all the same, so that jobs which refuse
pickles refuse it too.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from udfs.errors import ModelError
from udfs.model.contract import Floats
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, any_rows, need_codes, same_count
from udfs.model.formats.neural import as_output, check_kind
from udfs.model.manifest import Signature

_NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}


def load(data: bytes, signature: Signature) -> TorchModel:
    """Load an exported program. `data` must have been verified before: loading may run code."""
    return TorchModel(read(data), signature)


def read(data: bytes) -> torch.export.ExportedProgram:
    """The library's own program."""
    _check_file(data)
    return torch.export.load(io.BytesIO(data))


def _check_file(data: bytes) -> None:
    """PyTorch has other files, and says of none what it is."""
    names = zipfile.ZipFile(io.BytesIO(data)).namelist() if data.startswith(b"PK") else []
    ends = {name.partition("/")[2] for name in names}
    if "constants.pkl" in ends and "archive_format" not in ends:
        found = "a TorchScript module (torch.jit.save)"
    elif "data.pkl" in ends and "archive_format" not in ends:
        found = "what torch.save wrote, weights or a pickled module"
    else:
        return
    raise ModelError(
        f"the torch file must be a program that torch.export.save wrote; got {found}: export the module with "
        "torch.export.export, as docs/models.md says"
    )


@dataclass(frozen=True)
class Tensor:
    """One input of a program: the signature's inputs that it is made of, and how it is laid out."""

    columns: Sequence[str]
    number: Any
    dimensions: int

    def of(self, rows: Floats, names: Sequence[str]) -> Any:
        """The tensor, from the matrix of all inputs, (n, d), of these names."""
        places = [list(names).index(name) for name in self.columns]
        taken = rows[:, places].astype(self.number)
        return torch.from_numpy(taken if self.dimensions == 2 else taken[:, 0])


class TorchModel(FormatModel):
    """A program on tensors; null is NaN. One thread."""

    def __init__(self, program: torch.export.ExportedProgram, signature: Signature) -> None:
        super().__init__(signature)
        torch.set_num_threads(1)
        check_kind(signature)
        need_codes(signature)
        self._tensors = tensors_of(program, signature)
        self._categories = arrow.categories(signature)
        self._rounded = arrow.rounding(signature)
        self._run = program.module()

    def infer(self, inputs: pa.Table) -> Raw:
        rows = self._rounded(arrow.matrix(inputs, self._categories))
        given = [tensor.of(rows, self.signature.names) for tensor in self._tensors]
        with torch.inference_mode():
            values = self._run(*given)
        return Raw(as_output(values.numpy(), self.signature))


def column_names(program: torch.export.ExportedProgram) -> list[str] | None:
    """The names of its inputs if it has one for each column or vector; None where it takes one matrix."""
    inputs = _inputs(program)
    if len(inputs) == 1 and next(iter(inputs.values())).ndim == 2:
        return None
    shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
    return [name for names in arrow.tensor_columns(shapes).values() for name in names]


def tensors_of(program: torch.export.ExportedProgram, signature: Signature) -> list[Tensor]:
    """The program's inputs, which must be those of the signature: in one matrix, or by their names.

    Raises ModelError.
    """
    inputs, names = _inputs(program), column_names(program)
    for name, tensor in inputs.items():
        if tensor.dtype not in _NUMBERS or tensor.ndim not in ((2,) if names is None else (1, 2)):
            found = f"{tensor.dtype} of {tensor.ndim} dimensions"
            raise ModelError(
                "the program's inputs must be a matrix of floats, or one for each column or vector; "
                f"got {found} for {name}"
            )
        any_rows(tensor.shape, f"the program's input {name}")
    if names is None:
        (tensor,) = inputs.values()
        same_count(int(tensor.shape[1]), signature)
        return [Tensor(signature.names, _NUMBERS[tensor.dtype], 2)]
    if sorted(names) != sorted(signature.names):
        raise ModelError(f"the signature's inputs must be the program's: {names}; got {signature.names}")
    taken = arrow.tensor_columns({name: tuple(tensor.shape) for name, tensor in inputs.items()})
    return [Tensor(taken[name], _NUMBERS[each.dtype], each.ndim) for name, each in inputs.items()]


def _inputs(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """What the forward takes, by the names of its parameters, in their order. Raises ModelError for none."""
    wanted = program.graph_signature.user_inputs
    found = {node.name: node.meta["val"] for node in program.graph.nodes if node.name in wanted}
    if not found:
        raise ModelError("the program must have an input; got none")
    return {name: found[name] for name in wanted}
