"""Loads PyTorch programs of `torch.export.save`: one tensor of floats in, probabilities or numbers out.

Such a program needs no class of its maker. Its loading may unpickle all the same, so that jobs which refuse
pickles refuse it too.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from udfs.errors import ModelError
from udfs.model.formats import inputs as arrow
from udfs.model.formats.base import FormatModel, Raw, need_codes, same_count
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


class TorchModel(FormatModel):
    """A program on a matrix; null is NaN. One thread."""

    def __init__(self, program: torch.export.ExportedProgram, signature: Signature) -> None:
        super().__init__(signature)
        torch.set_num_threads(1)
        check_kind(signature)
        need_codes(signature)
        self._number = number_type(program, signature)
        self._categories = arrow.categories(signature)
        self._rounded = arrow.rounding(signature)
        self._run = program.module()

    def infer(self, inputs: pa.Table) -> Raw:
        rows = self._rounded(arrow.matrix(inputs, self._categories)).astype(self._number)
        with torch.inference_mode():
            values = self._run(torch.from_numpy(rows))
        return Raw(as_output(values.numpy(), self.signature))


def number_type(program: torch.export.ExportedProgram, signature: Signature) -> Any:
    """The NumPy type of the program's only input, which must have a column for each of the signature's."""
    names = program.graph_signature.user_inputs
    tensors = [node.meta["val"] for node in program.graph.nodes if node.name in names]
    if len(tensors) != 1 or tensors[0].ndim != 2 or tensors[0].dtype not in _NUMBERS:
        found = ", ".join(f"{tensor.dtype} of {tensor.ndim} dimensions" for tensor in tensors)
        raise ModelError(f"the program's only input must be a matrix of floats; got {found or 'none'}")
    same_count(int(tensors[0].shape[1]), signature)
    return _NUMBERS[tensors[0].dtype]
