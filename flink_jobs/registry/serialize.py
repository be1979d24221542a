"""What a model version's folder holds, and how it gets there whole or not at all.

files = version_files(model, "joblib", signature, golden_inputs, profile)
manifest = files.manifest("flight_delay", 1, signature, metrics, training, created_at)
store.write_folder("flight_delay/versions/1", files.with_manifest(manifest))
"""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import msgspec
import pyarrow as pa

from flink_jobs.errors import InputError
from udfs.errors import ModelError
from udfs.model import formats, golden
from udfs.model.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    PROFILE_FILE,
    Format,
    Lineage,
    Manifest,
    Signature,
    encode,
)
from udfs.profile.profile import encode_profile


@dataclass(frozen=True)
class VersionFiles:
    """The contents of a version's folder, but for its manifest."""

    format: Format
    contents: dict[str, bytes]
    libraries: dict[str, str]
    trusted_types: tuple[str, ...] = ()

    def manifest(
        self,
        name: str,
        version: int,
        signature: Signature,
        metrics: dict[str, float],
        training: dict[str, Any],
        created_at: str,
        lineage: Lineage | None = None,
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
            lineage=msgspec.UNSET if lineage is None else lineage,
            trusted_types=self.trusted_types or msgspec.UNSET,
        )

    def with_manifest(self, manifest: Manifest) -> dict[str, bytes]:
        """All files of the folder, the manifest as the last."""
        return {**self.contents, MANIFEST_FILE: _encoded(manifest)}


def version_files(
    model: Any,
    kind: Format,
    signature: Signature,
    golden_inputs: pa.Table,
    profile: dict[str, Any],
    trusted_types: Sequence[str] = (),
) -> VersionFiles:
    """Serialize a model with its golden rows and profile.

    Raises `InputError` when the bytes do not load as a model of `signature` that scores `golden_inputs`.
    """
    if not golden_inputs.num_rows:
        raise InputError("golden_inputs must have rows; got none")
    try:
        data = serialized(model, kind)
        expected = golden.make(formats.build(kind, data, signature, trusted_types), golden_inputs)
    except ModelError as error:
        raise InputError(f"the model cannot be registered: {error}") from error
    except Exception as error:
        raise InputError(f"the model cannot be registered: {type(error).__name__}: {error}") from error
    contents = {formats.MODEL_FILES[kind]: data, GOLDEN_FILE: expected, PROFILE_FILE: encode_profile(profile)}
    libraries = formats.installed_versions(_libraries(model, kind))
    return VersionFiles(kind, contents, libraries, tuple(trusted_types))


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
    return _OTHERS[kind](model)


def _skops_bytes(model: Any) -> bytes:
    from skops import io as skops

    return bytes(skops.dumps(model))


def _torch_bytes(program: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _keras_bytes(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def _joblib_bytes(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=3)
    return buffer.getvalue()


_OTHERS: dict[Format, Callable[[Any], bytes]] = {
    "joblib": _joblib_bytes,
    "skops": _skops_bytes,
    "torch": _torch_bytes,
    "keras": _keras_bytes,
}


def _libraries(model: Any, kind: Format) -> list[str]:
    """The format's libraries, and those of a pipeline's steps that have scikit-learn's interface."""
    names = list(formats.LIBRARIES[kind])
    parts = [model, *model.get_params().values()] if hasattr(model, "get_params") else [model]
    roots = {type(part).__module__.partition(".")[0] for part in parts}
    return names + sorted((roots & {"lightgbm", "xgboost"}) - set(names))


def _encoded(manifest: Manifest) -> bytes:
    try:
        data = encode(manifest)
        msgspec.json.decode(data, type=Manifest)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InputError(f"the manifest must be plain JSON values: {error}") from None
    return data
