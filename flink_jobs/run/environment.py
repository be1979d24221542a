"""Packs a virtual environment as an archive that runs under another path, where there is the same Python.

The work is venv-pack2's (extra `package`); the archive is named by what it holds, so that a job says which
one it wants and a changed one is never taken for it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

from flink_jobs.errors import InputError


def pack_environment(prefix: Path, folder: Path, python_prefix: str | None) -> Path:
    """The archive in the folder.

    `python_prefix` is where the workers' machines have Python: /usr/local of /usr/local/bin/python3.11.
    Raises InputError for what is no environment, or one that cannot be moved, as its packages are links.
    """
    library = _library()
    if not (prefix / "pyvenv.cfg").is_file():
        raise InputError(f"{prefix} must be a virtual environment; there is no {prefix / 'pyvenv.cfg'}")
    if links := sorted(path.name for path in prefix.glob("lib/python3*/site-packages/__editable__*.pth")):
        raise InputError(
            f"{prefix} must be an environment whose packages are in it; {links[0]} points at a checkout: "
            "install the wheel"
        )
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".tar.gz", prefix="environment.part.", dir=folder)
    os.close(handle)
    part = Path(name)
    try:
        library.pack(str(prefix), output=str(part), force=True, python_prefix=python_prefix)
        with part.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return part.rename(folder / f"environment-{content}.tar.gz")
    except library.VenvPackException as error:
        raise InputError(f"{prefix} cannot be packed: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _library() -> Any:
    try:
        return importlib.import_module("venv_pack")
    except ImportError:
        raise InputError("venv-pack2 is missing; pip install 'tailrace[package]'") from None
