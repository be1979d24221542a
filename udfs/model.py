"""The contract that all model formats fulfil, and the loading of a version that can be trusted.

    loaded = load_version(Path("models/flight_delay/versions/1"))
    loaded.model.predict(inputs).score

A format (`udfs/formats/`) turns verified bytes into a `Model`. Nothing of a version is unpickled or parsed
before the SHA-256 of every file was found right, and nothing is used before its golden rows are reproduced.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from udfs.errors import ModelError
from udfs.manifest import MANIFEST_FILE, Manifest, Signature, digest, read_manifest

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """The outcome of a batch of n rows.

    `prediction`: n class labels, floats (regression) or booleans (anomaly).
    `score`: (n,) probability of the positive class, or anomaly score (higher is stranger); else None.
    `probabilities`: (n, k) for k classes when there may be more than two; else None.
    """

    prediction: Sequence[object]
    score: Floats | None = None
    probabilities: Floats | None = None


class Model(Protocol):
    """Something that scores a batch."""

    @property
    def signature(self) -> Signature: ...

    def predict(self, inputs: pa.Table, threshold: float = 0.5) -> Scored:
        """Score the rows of `inputs`, whose schema is `signature.schema()`.

        `threshold` is the least probability of the positive class at which a binary model predicts it.
        Raises `ModelError` when an output is not finite or not a probability, and whatever the model raises.
        """


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that is ready to score: its files are the manifest's and its golden rows are reproduced."""

    model: Model
    manifest: Manifest
    digest: str


def load_version(folder: Path) -> LoadedModel:
    """Load the version in `folder`.

    Raises `ModelError` when a file is missing, extra or changed, when the model cannot be loaded or does
    not fit its signature, and when its golden rows are not reproduced in this environment.
    """
    from udfs import formats, golden

    folder = Path(folder)
    manifest = read_manifest(folder)
    contents = _verified(folder, manifest)
    try:
        model = formats.build(manifest.format, contents[manifest.model_file], manifest.signature)
        golden.check(model, contents[golden.GOLDEN_FILE], manifest.golden_tolerance)
    except ModelError as error:
        raise ModelError(f"{folder} cannot be used: {error}{_library_changes(manifest)}") from error
    return LoadedModel(model, manifest, digest(manifest))


def _verified(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """The version's files. Hashed and later parsed from the same bytes, so nothing can be swapped between."""
    found = {entry.name for entry in os.scandir(folder)} - {MANIFEST_FILE}
    for name in sorted(manifest.files.keys() - found):
        raise ModelError(f"{folder / name} is missing: the manifest lists it")
    for name in sorted(found - manifest.files.keys()):
        raise ModelError(f"{folder / name} must not be there: the manifest does not list it")
    contents = {name: _read(folder / name) for name in manifest.files}
    for name, sha in manifest.files.items():
        actual = hashlib.sha256(contents[name]).hexdigest()
        if actual != sha:
            raise ModelError(f"{folder / name} was changed: its SHA-256 must be {sha}; got {actual}")
    return contents


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ModelError(f"{path} must be a regular file")
            return file.read()
    except OSError as error:
        raise ModelError(f"{path} must be a regular file that can be read: {error.strerror}") from None


def _library_changes(manifest: Manifest) -> str:
    from udfs.formats import installed_versions

    here = installed_versions(manifest.libraries)
    changes = [
        f"{name} {was} (here {here[name]})" for name, was in manifest.libraries.items() if here[name] != was
    ]
    return f"; it was made with {', '.join(changes)}" if changes else ""
