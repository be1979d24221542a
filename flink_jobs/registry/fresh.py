"""Whether a pickled model loads where its maker's script is not: in a process of its own.

A pickle names its classes by their modules. Those of libraries are where these are installed; others are
looked for, before a version is written that no worker could load.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import udfs
from flink_jobs.errors import InputError
from udfs.errors import ModelError
from udfs.model import formats
from udfs.model.code import pack
from udfs.model.format_table import FORMATS, Format
from udfs.model.manifest import Signature

_LIBRARIES = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
# It ends at once: threads of libraries can take down an interpreter that winds up, and have the last word.
_LOAD = """
import os, sys, warnings
warnings.simplefilter("ignore")
sys.path.append(sys.argv[2])
from udfs.errors import ModelError
from udfs.model.loading import load_version
try:
    load_version(sys.argv[1])
except ModelError as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(1)
os._exit(0)
"""


def packed(code: Sequence[Path] | bytes) -> bytes | None:
    """The archive of a version's code, None without any. Raises `InputError` for what is no module."""
    if isinstance(code, bytes):
        return code or None
    try:
        return pack(code) if code else None
    except ModelError as error:
        raise InputError(str(error)) from None


def needs_own_modules(model: Any, kind: Format, signature: Signature, trusted_types: Sequence[str]) -> bool:
    """Whether a model, or one given as bytes, needs modules that a worker may not have."""
    if kind == "pyfunc":
        return True  # what it is made of, only MLflow can tell
    if not FORMATS[kind].estimator:
        return False
    if isinstance(model, bytes):
        model = getattr(formats.build(kind, model, signature, trusted_types), "native", None)
    return bool(own_modules(model))


def own_modules(model: Any) -> dict[str, set[str]]:
    """The modules outside libraries that a pickle of the model would name, each with what it needs of it."""
    found = _Pickler()
    found.dump(model)
    return {name: needed for name, needed in found.needed.items() if _is_own(name)}


def check_loads(files: Mapping[str, bytes]) -> None:
    """Raise `InputError` unless a new process loads the version of these files."""
    with tempfile.TemporaryDirectory(prefix="tailrace-version-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        home = str(Path(udfs.__file__).parents[1])
        command = [sys.executable, "-c", _LOAD, folder, home]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            reason = said[-1].removeprefix(f"{folder} cannot be used: ")
            raise InputError(f"the model does not load in a process of its own: {reason}")


class _Nowhere:
    def write(self, data: Any) -> int:
        """Of bytes, and of large arrays' buffers."""
        return memoryview(data).nbytes


class _Pickler(pickle.Pickler):
    """Writes nothing, and remembers what a pickle would name."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), protocol=5)
        self.needed: dict[str, set[str]] = {}

    def persistent_id(self, obj: Any) -> None:
        named = obj if isinstance(obj, type | FunctionType | BuiltinFunctionType) else type(obj)
        self.needed.setdefault(str(named.__module__), set()).add(named.__qualname__)


def _is_own(name: str) -> bool:
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if name.rpartition(".")[2] == "__main__":
        return True
    return module is not None and file is not None and not str(file).startswith(_LIBRARIES)
