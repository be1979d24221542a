"""Lists the client half of each model format, by the names of `udfs.model.format_table`.

>>> format_of("model.onnx")
'onnx'

The code of a format is `flink_jobs/registry/formats/<module>.py`, named as its module of workers. It is
imported only when a model of that format is written or read: its libraries are large.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple, cast

from flink_jobs.errors import InputError
from flink_jobs.registry.formats.base import ClientFormat, Facts
from udfs.errors import ModelError
from udfs.model.format_table import FORMATS, Format
from udfs.model.formats import why_not


class ClientEntry(NamedTuple):
    """How a format's files are found: the endings of their names, and the flavor of MLflow that has them."""

    endings: tuple[str, ...]
    flavor: str | None = None


CLIENT_FORMATS: dict[Format, ClientEntry] = {
    "joblib": ClientEntry((".joblib", ".pkl", ".pickle"), "sklearn"),
    "skops": ClientEntry((".skops",), "sklearn"),
    "lightgbm": ClientEntry((".txt", ".lgb"), "lightgbm"),
    "xgboost": ClientEntry((".ubj", ".xgb", ".json"), "xgboost"),
    "catboost": ClientEntry((".cbm", ".cb"), "catboost"),
    "onnx": ClientEntry((".onnx",), "onnx"),
    "torch": ClientEntry((".pt2", ".pt", ".pth")),
    "keras": ClientEntry((".keras",)),
    "pyfunc": ClientEntry((".pyfunc",), "python_function"),
}
ENDINGS: dict[str, Format] = {
    ending: name for name, entry in CLIENT_FORMATS.items() for ending in entry.endings
}


def client_format(name: Format) -> ClientFormat:
    """The client half of a format. Raises `ImportError` when its library is not installed."""
    module = importlib.import_module(f"{__name__}.{FORMATS[name].module}")
    return cast(ClientFormat, module.FORMAT)


def format_of(file_name: str) -> Format | None:
    """The format that a file's ending tells."""
    return ENDINGS.get(PurePath(file_name).suffix.lower())


def inspect(name: Format, data: bytes, trusted_types: Sequence[str] = ()) -> Facts:
    """Load the model as its library does. A joblib file is unpickled, which runs code of its maker.

    Raises `InputError` when it cannot be loaded.
    """
    try:
        return client_format(name).inspect(data, trusted_types)
    except ModelError as error:
        hint = "; --trust-type NAME trusts one" if "in trusted_types" in str(error) else ""
        raise InputError(f"{error}{hint}") from error
    except Exception as error:
        raise InputError(why_not(name, error, data)) from error
