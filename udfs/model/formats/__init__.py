"""The model formats: each turns verified bytes into a `udfs.model.loading.Model`.

    model = build("joblib", data, signature)

A format is a module with `load(data: bytes, signature: Signature) -> Model`; its libraries are imported
only when a model of that format is loaded.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from udfs.errors import ModelError
from udfs.model.contract import Model
from udfs.model.manifest import Format, Signature

_MODULES: dict[Format, str] = {
    "joblib": "udfs.model.formats.sklearn_joblib",
    "skops": "udfs.model.formats.sklearn_skops",
    "lightgbm": "udfs.model.formats.lightgbm_text",
    "xgboost": "udfs.model.formats.xgboost_binary",
    "onnx": "udfs.model.formats.onnx_runtime",
    "torch": "udfs.model.formats.torch_export",
    "keras": "udfs.model.formats.keras_zip",
}
MODEL_FILES: dict[Format, str] = {
    "joblib": "model.joblib",
    "skops": "model.skops",
    "lightgbm": "model.txt",
    "xgboost": "model.ubj",
    "onnx": "model.onnx",
    "torch": "model.pt2",
    "keras": "model.keras",
}
LIBRARIES: dict[Format, tuple[str, ...]] = {
    "joblib": ("python", "numpy", "pandas", "scikit-learn", "joblib"),
    "skops": ("python", "numpy", "pandas", "scikit-learn", "skops"),
    "lightgbm": ("python", "numpy", "lightgbm"),
    "xgboost": ("python", "numpy", "xgboost"),
    "onnx": ("python", "numpy", "onnxruntime"),
    "torch": ("python", "numpy", "torch"),
    "keras": ("python", "numpy", "keras"),
}
# Loading one of these runs code that its maker chose.
PICKLED: frozenset[Format] = frozenset(["joblib", "torch"])
# Formats that compute in 32 bits differ in the last of them between processors.
TOLERANCES: dict[Format, float] = {
    "joblib": 1e-9,
    "skops": 1e-9,
    "lightgbm": 1e-9,
    "xgboost": 1e-5,
    "onnx": 1e-5,
    "torch": 1e-5,
    "keras": 1e-5,
}


def build(name: Format, data: bytes, signature: Signature, trusted_types: Sequence[str] = ()) -> Model:
    """Build the model that `data` holds; `trusted_types` is for skops.

    Raises `ModelError` when it cannot, or when the model does not fit `signature`.
    """
    try:
        module = importlib.import_module(_MODULES[name])
        extra = (trusted_types,) if name == "skops" else ()
        return cast(Model, module.load(data, signature, *extra))
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(f"the {name} model needs a library that is not installed: {error}") from error
    except Exception as error:
        raise ModelError(f"the {name} model cannot be loaded: {type(error).__name__}: {error}") from error


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of `names` in this environment; "python" is the interpreter's."""
    return {name: _installed_version(name) for name in names}


def _installed_version(name: str) -> str:
    if name == "python":
        return platform.python_version()
    # xgboost's CPU-only build is a distribution of its own.
    for distribution in (name, f"{name}-cpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "none"
