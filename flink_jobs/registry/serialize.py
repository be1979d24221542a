"""Makes the files of a model version's folder, the manifest as the last of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.registry.formats import client_format
from udfs.errors import ModelError
from udfs.model import formats, golden
from udfs.model.format_table import FORMATS, Format
from udfs.model.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    PROFILE_FILE,
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
            model_file=FORMATS[self.format].model_file,
            files={file: hashlib.sha256(data).hexdigest() for file, data in self.contents.items()},
            signature=signature,
            libraries=self.libraries,
            training=training,
            metrics=metrics,
            created_at=created_at,
            golden_tolerance=FORMATS[self.format].tolerance,
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
    contents = {FORMATS[kind].model_file: data, GOLDEN_FILE: expected, PROFILE_FILE: encode_profile(profile)}
    libraries = formats.installed_versions(_libraries(model, kind))
    return VersionFiles(kind, contents, libraries, tuple(trusted_types))


def serialized(model: Any, kind: Format) -> bytes:
    """A model in its format's bytes; bytes are taken as they are."""
    if isinstance(model, bytes):
        return model
    return client_format(kind).dump(model)


def _libraries(model: Any, kind: Format) -> list[str]:
    """The format's libraries, and those of a pipeline's steps that have scikit-learn's interface."""
    names = list(FORMATS[kind].libraries)
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
