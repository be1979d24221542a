"""Builds models from verified bytes, whatever their format.

A format has an entry in `udfs.model.format_table` and a module here with `load(data, signature) -> Model`,
which takes `trusted_types` too where its entry says so. The module, and with it the format's libraries, is
imported only when a model of that format is loaded: workers start fast and small.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from udfs.errors import ModelError
from udfs.model.contract import Model
from udfs.model.format_table import FORMATS, Format
from udfs.model.formats.causes import cause
from udfs.model.manifest import Signature


def build(name: Format, data: bytes, signature: Signature, trusted_types: Sequence[str] = ()) -> Model:
    """Build the model that `data` holds; `trusted_types` is for formats that check types.

    Raises `ModelError` when it cannot, or when the model does not fit `signature`.
    """
    try:
        entry = FORMATS[name]
        module = importlib.import_module(f"{__name__}.{entry.module}")
        extra = (trusted_types,) if entry.types else ()
        return cast(Model, module.load(data, signature, *extra))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(why_not(name, error, data)) from error


def why_not(name: Format, error: Exception, data: bytes) -> str:
    """Why a model could not be loaded, for its maker."""
    told = cause(error, data) if FORMATS[name].estimator else None
    if isinstance(error, ImportError) and told is None:
        return f"the {name} model needs a library that is not installed: {error}"
    return f"the {name} model cannot be loaded: {told or f'{type(error).__name__}: {error}'}"


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of `names` in this environment; "python" is the interpreter's."""
    return {name: _installed_version(name) for name in names}


@cache
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
