"""Lists, reads and writes the numbered, immutable versions of models under `models/<name>/versions/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from flink_jobs.errors import InputError, WorkError
from flink_jobs.registry.fresh import check_loads, needs_own_modules, packed
from flink_jobs.registry.serialize import version_files
from flink_jobs.registry.store import ClientStore
from udfs.errors import ModelError
from udfs.model.code import CODE_FILE, importable
from udfs.model.format_table import Format
from udfs.model.manifest import EXPECTED_FILE, MANIFEST_FILE, Lineage, Manifest, Signature, read_manifest
from udfs.store.base import is_uri
from udfs.suggest import hint

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class VersionStore:
    """The versions of the models under `root`, a folder or URI.

    All methods raise `InputError` for what is not there, and `WorkError` when the store fails.
    """

    def __init__(self, root: Path | str, clock: Clock = _now) -> None:
        self.root: Path | str = root if isinstance(root, str) and is_uri(root) else Path(root)
        self.store = ClientStore(root)
        self.clock = clock

    def models(self) -> list[str]:
        """The names of the models that have versions, or whose folders cannot be read."""
        return [name for name in self.store.names("") if _NAME.match(name) and self._has_versions(name)]

    def versions(self, name: str) -> list[int]:
        """The version numbers of a model, ascending."""
        numbers = self._numbers(checked_name(name))
        if not numbers:
            raise InputError(self._missing(name))
        return numbers

    def folder(self, name: str, version: int) -> Path:
        """The folder of an existing version in a registry on this machine."""
        location = self.location(name, version)
        if is_uri(location):
            raise InputError(f"{self._where(name)} must be a folder of this machine")
        return Path(location)

    def location(self, name: str, version: int) -> str:
        """The path or URI of an existing version: what `udfs.model.loading.load_version` takes."""
        self.require(name, version, self.versions(name))
        return self.store.location(_folder(name, version))

    def manifest(self, name: str, version: int) -> Manifest:
        """The manifest of an existing version, which must be its own."""
        try:
            return read_manifest(self.location(name, version))
        except ModelError as error:
            raise InputError(str(error)) from None

    def write_version(
        self,
        name: str,
        *,
        model: Any,
        format: Format = "joblib",  # noqa: A002
        signature: Signature,
        golden_inputs: pa.Table | pd.DataFrame,
        profile: dict[str, Any],
        metrics: dict[str, float],
        training: dict[str, Any],
        lineage: Lineage | None = None,
        trusted_types: Sequence[str] = (),
        libraries: Mapping[str, str] | None = None,
        code: Sequence[Path] | bytes = (),
        expected: bytes | None = None,
    ) -> Manifest:
        """Write the next version and return its manifest.

        `model`: an estimator, booster or ONNX model, or its bytes. `golden_inputs`: rows of the DataFrame
        that it was fitted on, or a table in the signature's schema. What the model's own library predicts for
        these, and for rows with missing values and each category, each later load must reproduce; what the
        DataFrame tells of its columns is kept in the manifest's signature. `libraries`: versions that its
        maker had; default: those of here. `code`: modules of its maker that it needs, or their archive.
        `expected`: its expected.json, by which quality is estimated.

        Raises `InputError` when the model cannot be loaded back, in a process of its own if it needs more
        than libraries, does not fit its signature, or is not scored as its library scores it.
        """
        checked_name(name)
        if lineage is not None and lineage.parent is not None:
            self.require(name, lineage.parent, self.versions(name))
        archive = packed(code)
        with importable(archive):
            files = version_files(model, format, signature, golden_inputs, profile, trusted_types)
            unsure = archive is not None or needs_own_modules(model, format, signature, trusted_types)
        if libraries is not None:
            files = replace(files, libraries=dict(libraries))
        if archive is not None:
            files = replace(files, contents={**files.contents, CODE_FILE: archive})
        if expected is not None:
            files = replace(files, contents={**files.contents, EXPECTED_FILE: expected})
        created_at = self._timestamp()
        number = max(map(int, filter(_VERSION.match, self.store.names(f"{name}/versions"))), default=0)
        while True:
            number += 1
            manifest = files.manifest(name, number, metrics, training, created_at, lineage)
            written = files.with_manifest(manifest)
            if unsure:
                check_loads(written)
                unsure = False
            if self.store.write_folder(_folder(name, number), written):
                return manifest

    def model_location(self, name: str) -> str:
        """The folder of a model, as a text that workers can open."""
        return self.store.location(checked_name(name))

    def require(self, name: str, version: int, versions: list[int]) -> None:
        """Raise `InputError` unless `version` is one of a model's `versions`."""
        if version not in versions:
            where = self._where(name)
            raise InputError(
                f"version {version} of model {name} must be one of {listed(versions)} in {where}"
            )

    def _missing(self, name: str) -> str:
        if "train.py" in self.store.names(name):
            where, folder = self._where(name), self.store.where(name)
            return f"model {name} has no versions in {where}; make one: tailrace train {folder}"
        models = self.models()
        there = f"the models there: {', '.join(models)}" if models else "there are none"
        return f"model {name} is not in {self.store.where('')} ({there}){hint(name, models)}"

    def _has_versions(self, name: str) -> bool:
        try:
            return bool(self._numbers(name))
        except WorkError:
            return True

    def _numbers(self, name: str) -> list[int]:
        found = self.store.folders(f"{name}/versions", MANIFEST_FILE)
        return sorted(int(entry) for entry in found if _VERSION.match(entry))

    def _where(self, name: str) -> str:
        return self.store.where(f"{name}/versions")

    def _timestamp(self) -> str:
        return self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _folder(name: str, version: int) -> str:
    return f"{name}/versions/{version}"


def checked_name(name: str) -> str:
    """`name`, if it can be a model's. Raises `InputError`."""
    if not _NAME.match(name):
        raise InputError(f"a model's name must be letters, digits, '_' and '-'; got {name[:100]!r}")
    return name


def listed(versions: Iterable[int]) -> str:
    """Version numbers as a text.

    >>> listed([1, 2])
    '1, 2'
    """
    return ", ".join(map(str, versions))
