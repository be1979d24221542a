"""Writes, inspects and asks MLflow's pyfunc models; MLflow, which is optional, is loaded when it is used."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flink_jobs.errors import InputError
from flink_jobs.registry.formats.base import ClientFormat, Facts
from udfs.model.formats.base import Raw
from udfs.model.manifest import Output, Signature

_EPOCH = (1980, 1, 1, 0, 0, 0)
_NUMBERS = ("double", "float", "long", "integer")


def _dump(model: Any) -> bytes:
    """A folder that MLflow saved, as an archive: equal for equal contents."""
    if not isinstance(model, str | Path) or not (Path(model) / "MLmodel").is_file():
        raise InputError(f"a pyfunc model must be given as the folder that MLflow saved; got {model!r:.80}")
    folder = Path(model)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            place = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            archive.writestr(place, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _worker() -> Any:
    # Start-up: optional and slow to load.
    from udfs.model.formats import mlflow_pyfunc  # noqa: PLC0415

    return mlflow_pyfunc


def _read(data: bytes, _trusted_types: Sequence[str]) -> Any:
    return _worker().read(data)


def _inspect(data: bytes, trusted_types: Sequence[str]) -> Facts:
    """A single column of numbers may be a regression or a probability: only the former is assumed."""
    model = _read(data, trusted_types)
    schema = model.metadata.get_output_schema()
    columns = [] if schema is None or schema.is_tensor_spec() else schema.inputs
    numbers = len(columns) == 1 and getattr(columns[0].type, "name", "") in _NUMBERS
    return Facts(tuple(_worker().column_types(model)), Output(kind="regression") if numbers else None)


def _says(model: Any, frame: pd.DataFrame, signature: Signature) -> Raw:
    """What MLflow says of the rows, which must have its own dtypes where it converts nothing itself."""
    worker = _worker()
    types = worker.column_types(model)
    narrow = {name: worker.DTYPES[kind] for name, kind in types.items() if kind in ("integer", "float")}
    return Raw(worker.numbers(model.predict(frame[list(types)].astype(narrow)), signature))


FORMAT = ClientFormat(_dump, _inspect, read=_read, says=_says, asked=lambda folder: _read(_dump(folder), ()))
