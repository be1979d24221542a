"""Makes the files of a model version's folder, the manifest as the last of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.registry.formats import client_format
from flink_jobs.registry.formats.onnx_runtime import with_offset
from flink_jobs.registry.golden_rows import golden_rows
from flink_jobs.registry.library import fitted_as, library, with_categories
from flink_jobs.registry.maker_rows import as_frame, as_table, described
from udfs.errors import ModelError
from udfs.model import formats, golden
from udfs.model.contract import Model
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
    signature: Signature
    contents: dict[str, bytes]
    libraries: dict[str, str]
    trusted_types: tuple[str, ...] = ()

    def manifest(
        self,
        name: str,
        version: int,
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
            signature=self.signature,
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
    golden_inputs: pa.Table | pd.DataFrame,
    profile: dict[str, Any],
    trusted_types: Sequence[str] = (),
) -> VersionFiles:
    """Serialize a model with its golden rows and profile.

    Raises `InputError` when the bytes do not load as a model of `signature` that says of `golden_inputs` what
    the model's own library says.
    """
    if not len(golden_inputs):
        raise InputError("golden_inputs must have rows; got none")
    try:
        data = serialized(model, kind)
        signature, expected = _golden(model, data, kind, signature, golden_inputs, trusted_types)
    except ModelError as error:
        raise InputError(f"the model cannot be registered: {error}") from error
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"the model cannot be registered: {type(error).__name__}: {error}") from error
    contents = {FORMATS[kind].model_file: data, GOLDEN_FILE: expected, PROFILE_FILE: encode_profile(profile)}
    libraries = formats.installed_versions(_libraries(model, kind))
    return VersionFiles(kind, signature, contents, libraries, tuple(trusted_types))


def _golden(
    model: Any,
    data: bytes,
    kind: Format,
    signature: Signature,
    rows: pa.Table | pd.DataFrame,
    trusted_types: Sequence[str],
) -> tuple[Signature, bytes]:
    """The signature with what the library needs, and the golden file with what the library says."""
    own = library(model, data, kind, trusted_types)
    if kind == "onnx":
        signature = with_offset(data, signature)
    signature = with_categories(own, signature)
    built = formats.build(kind, data, signature, trusted_types)
    if isinstance(rows, pd.DataFrame):
        frame = rows[[name for name in rows.columns if name in signature.names]]
        as_table(frame.head(1), signature)
        signature = fitted_as(own, described(signature, frame, coded=own.coded), frame)
    else:
        signature = fitted_as(own, signature, _frame(rows, built, coded=own.coded))
        frame = as_frame(rows, signature, coded=own.coded)
    part = golden_rows(frame, signature, lambda some: own.say(some, signature))
    expected = golden.make(part.inputs, part.said)
    _check(formats.build(kind, data, signature, trusted_types), expected, FORMATS[kind].tolerance)
    return signature, expected


def _frame(rows: pa.Table, built: Model, *, coded: bool) -> pd.DataFrame:
    built.predict(rows.slice(0, 0))  # raises where the columns are others than the signature's
    return as_frame(rows, built.signature, coded=coded)


def _check(built: Model, expected: bytes, tolerance: float) -> None:
    try:
        golden.check(built, expected, tolerance)
    except ModelError as error:
        raise ModelError(
            f"jobs would not score it as its own library does: {error}; give golden_inputs as the DataFrame "
            "that it was fitted on, or say in the signature what its columns were (pandas, missing, values)"
        ) from error


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
    return names + sorted((roots & {"lightgbm", "xgboost", "catboost"}) - set(names))


def _encoded(manifest: Manifest) -> bytes:
    try:
        data = encode(manifest)
        msgspec.json.decode(data, type=Manifest)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InputError(f"the manifest must be plain JSON values: {error}") from None
    return data
