"""What a model version's folder holds, and how it gets there whole or not at all.

files = version_files(model, "joblib", signature, golden_inputs, profile)
write_folder(folder, files, files.manifest("flight_delay", 1, signature, metrics, training, created_at))
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import msgspec
import pyarrow as pa

from flink_jobs.errors import InputError
from udfs import formats, golden
from udfs.errors import ModelError
from udfs.manifest import GOLDEN_FILE, MANIFEST_FILE, PROFILE_FILE, Format, Manifest, Signature, encode
from udfs.profile import encode_profile


@dataclass(frozen=True)
class VersionFiles:
    """The contents of a version's folder, but for its manifest."""

    format: Format
    contents: dict[str, bytes]
    libraries: dict[str, str]

    def manifest(
        self,
        name: str,
        version: int,
        signature: Signature,
        metrics: dict[str, float],
        training: dict[str, Any],
        created_at: str,
    ) -> Manifest:
        """The manifest of these files as a version. Raises `InputError` for metrics that are not finite."""
        for metric, value in metrics.items():
            if not math.isfinite(value):
                raise InputError(f"the metric {metric} must be finite; got {value}")
        return Manifest(
            name=name,
            version=version,
            format=self.format,
            model_file=formats.MODEL_FILES[self.format],
            files={file: hashlib.sha256(data).hexdigest() for file, data in self.contents.items()},
            signature=signature,
            libraries=self.libraries,
            training=training,
            metrics=metrics,
            created_at=created_at,
            golden_tolerance=formats.TOLERANCES[self.format],
        )


def version_files(
    model: Any, kind: Format, signature: Signature, golden_inputs: pa.Table, profile: dict[str, Any]
) -> VersionFiles:
    """Serialize a model with its golden rows and profile.

    Raises `InputError` when the bytes do not load as a model of `signature` that scores `golden_inputs`.
    """
    if not golden_inputs.num_rows:
        raise InputError("golden_inputs must have rows; got none")
    try:
        data = serialized(model, kind)
        expected = golden.make(formats.build(kind, data, signature), golden_inputs)
    except ModelError as error:
        raise InputError(f"the model cannot be registered: {error}") from error
    except Exception as error:
        raise InputError(f"the model cannot be registered: {type(error).__name__}: {error}") from error
    contents = {formats.MODEL_FILES[kind]: data, GOLDEN_FILE: expected, PROFILE_FILE: encode_profile(profile)}
    return VersionFiles(kind, contents, formats.installed_versions(_libraries(model, kind)))


def serialized(model: Any, kind: Format) -> bytes:
    """A model in its format's bytes; bytes are taken as they are."""
    if isinstance(model, bytes):
        return model
    if kind == "lightgbm":
        return str(getattr(model, "booster_", model).model_to_string()).encode()
    if kind == "xgboost":
        return bytes((model.get_booster() if hasattr(model, "get_booster") else model).save_raw("ubj"))
    if kind == "onnx":
        return bytes(model.SerializeToString())
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


def _libraries(model: Any, kind: Format) -> list[str]:
    """The format's libraries, and those of a pipeline's steps that have scikit-learn's interface."""
    names = list(formats.LIBRARIES[kind])
    parts = [model, *model.get_params().values()] if hasattr(model, "get_params") else [model]
    roots = {type(part).__module__.partition(".")[0] for part in parts}
    return names + sorted((roots & {"lightgbm", "xgboost"}) - set(names))


def write_folder(folder: Path, files: VersionFiles, manifest: Manifest) -> None:
    """Write a version beside `folder`, then rename it: whole on disk or absent, also after a power cut.

    Raises `OSError` (ENOTEMPTY or EEXIST) when the folder is there: versions are never empty.
    """
    temporary = folder.parent / f".{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        for name, data in {**files.contents, MANIFEST_FILE: _encoded(manifest)}.items():
            _write(temporary / name, data)
        _sync(temporary)
        os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(folder.parent)


def write_once(path: Path, data: bytes) -> bool:
    """Create a file with its whole content; False when it is there already."""
    temporary = path.parent / f".{uuid.uuid4().hex}"
    _write(temporary, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync(path.parent)
    return True


def _encoded(manifest: Manifest) -> bytes:
    try:
        data = encode(manifest)
        msgspec.json.decode(data, type=Manifest)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InputError(f"the manifest must be plain JSON values: {error}") from None
    return data


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
