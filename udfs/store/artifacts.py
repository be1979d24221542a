"""Files that came along with a job, or that workers fetch: named by their SHA-256, which no other file has.

A parameter says artifact:NAME. Where the file is, each worker finds for itself: in a folder beside the code
on its path, or, where that has a file that says which, in a store.

>>> path_of("/srv/planes.parquet")
'/srv/planes.parquet'
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path

from udfs.errors import StoreError
from udfs.store import open_store

SCHEME = "artifact:"
FOLDER = "tailrace-artifacts"
# In the folder: the URI of the store, and the name of the archive with the code.
STORE_FILE = "store"
CODE_FILE = "code"


def artifact_name(data: bytes, suffix: str) -> str:
    """What a file of this content is called.

    >>> artifact_name(b"", ".csv")
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.csv'
    """
    return f"{hashlib.sha256(data).hexdigest()}{suffix.lower()}"


def path_of(place: str, search: Iterable[str] | None = None) -> str:
    """The file's path on this machine; what is no artifact is a path already.

    Raises FileNotFoundError for an artifact that has not come along, StoreError for one that a store lacks.
    """
    if not place.startswith(SCHEME):
        return place
    name = place.removeprefix(SCHEME)
    folders = [Path(each) / FOLDER for each in (sys.path if search is None else search)]
    for folder in folders:
        if (path := folder / name).is_file():
            return str(path)
    for folder in folders:
        if (folder / STORE_FILE).is_file():
            return str(_kept(folder / name, _fetched(folder, name)))
    raise FileNotFoundError(
        f"{name} did not come along with the job: it was changed while the job was submitted; submit again"
    )


def code_folder() -> str:
    """The folder with all of `udfs`, fetched once for each folder that Flink unpacks. Raises StoreError."""
    folder = Path(__file__).parents[2] / FOLDER
    name = (folder / CODE_FILE).read_text()
    unpacked = folder / Path(name).stem
    if not unpacked.is_dir():
        _unpack(_fetched(folder, name), unpacked)
    return str(unpacked / "udfs")


def _fetched(folder: Path, name: str) -> bytes:
    store = open_store((folder / STORE_FILE).read_text())
    try:
        data = store.read(name)
    except FileNotFoundError:
        raise StoreError(
            f"{store.where(name)} is missing: the job was submitted with it; submit again"
        ) from None
    if (found := artifact_name(data, Path(name).suffix)) != name:
        raise StoreError(
            f"{store.where(name)} was changed: its SHA-256 must be {Path(name).stem}; got {Path(found).stem}"
        )
    return data


def _kept(path: Path, data: bytes) -> Path:
    """Whole at once: workers of one machine fetch beside each other."""
    part = path.with_name(f".{uuid.uuid4().hex}")
    part.write_bytes(data)
    os.replace(part, path)
    return path


def _unpack(data: bytes, folder: Path) -> None:
    part = folder.with_name(f".{uuid.uuid4().hex}")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(part)  # which is ours: its hash came with the job
    try:
        part.rename(folder)
    except OSError:  # another worker was first
        shutil.rmtree(part)
