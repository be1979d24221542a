"""The model registry: numbered, immutable versions under `models/<name>/` and the log of releases.

registry = Registry(Path("models"))
manifest = registry.write_version("flight_delay", model=pipeline, signature=signature, ...)
registry.promote("flight_delay", manifest.version)
registry.resolve("flight_delay", "champion")        # Release(version=1, number=1)
"""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.versions import VersionFiles, version_files, write_folder, write_once
from udfs.errors import ModelError
from udfs.manifest import Format, Manifest, Signature, read_manifest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")
_VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")
_RELEASE = re.compile(r"[0-9]{8}\.json\Z")

Clock = Callable[[], datetime]


class ReleaseRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the release log, `releases/<8-digit number>.json`."""

    schema: Literal["tailrace.release/1"] = "tailrace.release/1"
    number: int
    champion: int
    written_at: str


@dataclass(frozen=True)
class Release:
    """The version to use. `number` is the release that says so, None when the version was chosen directly."""

    version: int
    number: int | None


def _now() -> datetime:
    return datetime.now(UTC)


class Registry:
    """The models under `root`. All methods raise `InputError` for what is not there."""

    def __init__(self, root: Path, clock: Clock = _now) -> None:
        self.root = Path(root)
        self._clock = clock

    def models(self) -> list[str]:
        """The names of the models that have versions."""
        if not self.root.is_dir():
            return []
        names = (entry.name for entry in self.root.iterdir() if _NAME.match(entry.name))
        return sorted(name for name in names if self._numbers(name))

    def versions(self, name: str) -> list[int]:
        """The version numbers of a model, ascending."""
        numbers = self._numbers(_checked(name))
        if not numbers:
            raise InputError(self._missing(name))
        return numbers

    def resolve(self, name: str, use: str | int) -> Release:
        """The release of "champion", the "latest" version, or a version by number."""
        versions = self.versions(name)
        if use == "champion":
            return self._champion(name, versions)
        if use == "latest":
            return Release(versions[-1], None)
        if isinstance(use, bool) or not isinstance(use, int):
            hint = _suggestion(str(use), ["champion", "latest"])
            raise InputError(f"use must be champion, latest or a version number; got {use!r}{hint}")
        self._require(name, use, versions)
        return Release(use, None)

    def folder(self, name: str, version: int) -> Path:
        """The folder of an existing version."""
        self._require(name, version, self.versions(name))
        return self._versions_folder(name) / str(version)

    def manifest(self, name: str, version: int) -> Manifest:
        """The manifest of an existing version, which must be its own."""
        folder = self.folder(name, version)
        try:
            manifest = read_manifest(folder)
        except ModelError as error:
            raise InputError(str(error)) from None
        if (manifest.name, manifest.version) != (name, version):
            found = f"{manifest.name} version {manifest.version}"
            raise InputError(f"{folder} must hold {name} version {version}; its manifest says {found}")
        return manifest

    def write_version(
        self,
        name: str,
        *,
        model: Any,
        format: Format = "joblib",  # noqa: A002
        signature: Signature,
        golden_inputs: pa.Table,
        profile: dict[str, Any],
        metrics: dict[str, float],
        training: dict[str, Any],
    ) -> Manifest:
        """Write the next version and return its manifest.

        `model`: an estimator, booster or ONNX model, or its bytes. `golden_inputs`: rows in the signature's
        schema, whose predictions each later load must reproduce. Raises `InputError` when the model cannot be
        loaded back, does not fit its signature, or cannot score these rows.
        """
        files = version_files(model, format, signature, golden_inputs, profile)
        parent = self._versions_folder(_checked(name))
        parent.mkdir(parents=True, exist_ok=True)
        created_at = self._timestamp()
        while True:
            number = max(self._numbers(name), default=0) + 1
            manifest = files.manifest(name, number, signature, metrics, training, created_at)
            if _claim(parent / str(number), files, manifest):
                return manifest

    def promote(self, name: str, version: int) -> Release:
        """Make a version the champion: append a release to the log."""
        self.manifest(name, version)
        folder = self._releases_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            number = max(self.releases(name), default=0) + 1
            record = ReleaseRecord(number=number, champion=version, written_at=self._timestamp())
            if write_once(folder / f"{number:08}.json", msgspec.json.encode(record) + b"\n"):
                return Release(version, number)

    def releases(self, name: str) -> list[int]:
        """The numbers of a model's releases, ascending; empty before the first."""
        return sorted(
            int(entry[:8])
            for entry in _entries(self._releases_folder(_checked(name)))
            if _RELEASE.match(entry)
        )

    def _champion(self, name: str, versions: list[int]) -> Release:
        numbers = self.releases(name)
        if not numbers:
            raise InputError(
                f"model {name} has no champion: {self._releases_folder(name)} has no release; promote one "
                f"of its versions ({_listed(versions)}) with `tailrace models promote {name} {versions[-1]}`"
            )
        record = self._release(name, numbers[-1])
        self._require(name, record.champion, versions)
        return Release(record.champion, record.number)

    def _release(self, name: str, number: int) -> ReleaseRecord:
        path = self._releases_folder(name) / f"{number:08}.json"
        try:
            record = msgspec.json.decode(path.read_bytes(), type=ReleaseRecord)
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise InputError(f"{path} must be a tailrace.release/1 record: {error}") from None
        if record.number != number:
            raise InputError(f"{path} must be release {number}; it says {record.number}")
        return record

    def _require(self, name: str, version: int, versions: list[int]) -> None:
        if version not in versions:
            where = self._versions_folder(name)
            raise InputError(
                f"version {version} of model {name} must be one of {_listed(versions)} in {where}"
            )

    def _missing(self, name: str) -> str:
        if (train := self.root / name / "train.py").is_file():
            return f"model {name} has no versions in {self._versions_folder(name)}; make one: python {train}"
        models = self.models()
        there = f"the models there: {', '.join(models)}" if models else "there are none"
        return f"model {name} is not in {self.root} ({there}){_suggestion(name, models)}"

    def _numbers(self, name: str) -> list[int]:
        return sorted(int(entry) for entry in _entries(self._versions_folder(name)) if _VERSION.match(entry))

    def _versions_folder(self, name: str) -> Path:
        return self.root / name / "versions"

    def _releases_folder(self, name: str) -> Path:
        return self.root / name / "releases"

    def _timestamp(self) -> str:
        return self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _claim(folder: Path, files: VersionFiles, manifest: Manifest) -> bool:
    """Put a version into place; False when another process took the number first."""
    try:
        write_folder(folder, files, manifest)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise InputError(f"a model's name must be letters, digits, '_' and '-'; got {name[:100]!r}")
    return name


def _entries(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _listed(versions: Iterable[int]) -> str:
    return ", ".join(map(str, versions))


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
