"""Finds a model in a file or an MLflow folder."""

from __future__ import annotations

from pathlib import Path

from flink_jobs.errors import InputError
from flink_jobs.registry.formats import ENDINGS, format_of
from flink_jobs.registry.importing.artifact import Artifact
from flink_jobs.registry.importing.mlflow_folder import read_folder
from udfs.model.format_table import FORMATS, Format
from udfs.model.formats.causes import maker_versions


def find(path: Path, kind: str | None = None) -> Artifact:
    """The model at a path. `kind` is its format, where the file's name does not tell it.

    Raises `InputError` when there is none, or its format is not one of Tailrace's.
    """
    if (path / "MLmodel").is_file():
        return read_folder(path)
    if path.is_dir():
        raise InputError(f"{path} must be a model file or an MLflow model's folder; it has no MLmodel")
    chosen = _format(path, kind)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return Artifact(data, chosen, origin={"imported": path.name}, libraries=maker_versions(data))


def _format(path: Path, kind: str | None) -> Format:
    for known in FORMATS:
        if kind == known:
            return known
    if kind is not None:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}; got {kind!r}")
    found = format_of(path.name)
    if found is None:
        endings = ", ".join(ENDINGS)
        raise InputError(f"{path} must end in one of {endings}, or --format be given; got {path.suffix!r}")
    return found
