"""Fetches the schema registry of `tailrace up --schema-registry`, and finds it: Apicurio Registry.

fetch_registry(jar_folder(), None)          # Maven, whose settings say from where
registry_program()                          # its jar, beside the folder of its libraries
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from flink_jobs.errors import InputError, WorkError
from flink_jobs.system.data import PROJECT, data_file, is_checkout
from flink_jobs.system.fetch_jars import checked_repository, download, require_maven, run_maven, sha256_of
from flink_jobs.system.jars import jar_folders

VERSION = "3.0.9"
_ARCHIVE = f"apicurio-registry-app-{VERSION}-all.tar.gz"
_PLACE = f"io/apicurio/apicurio-registry-app/{VERSION}/{_ARCHIVE}"
SHA256 = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43"
_LARGEST = 128 * 1024 * 1024
_PROGRAM = f"apicurio-registry-app-{VERSION}-runner.jar"


def registry_program() -> Path:
    """The jar that `java -jar` starts. Raises InputError when it was not fetched."""
    # scripts/registry_env unpacks it here for the tests.
    ours = [PROJECT / ".registry"] if is_checkout() else []
    places = [*(folder / "registry" for folder in jar_folders()), *ours]
    for place in places:
        if (place / _PROGRAM).is_file():
            return place / _PROGRAM
    raise InputError(
        f"no {_PROGRAM} found; looked in {', '.join(map(str, places))}; "
        "run `tailrace jars fetch --schema-registry`"
    )


def fetch_registry(folder: Path, repository: str | None, sha256: str = SHA256) -> bool:
    """Puts the registry into `folder`/registry, whole or not at all; returns False when it was there.

    Raises as `fetch` does, and WorkError when the archive is not the one with this SHA-256.
    """
    if (folder / "registry" / _PROGRAM).is_file():
        return False
    source = checked_repository(repository) if repository else require_maven()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="registry.part.", dir=folder))
    except OSError as error:
        raise InputError(f"{folder} must be a folder that can be written; {error}") from error
    try:
        archive = part / _ARCHIVE
        if repository:
            download(f"{source}/{_PLACE}", sha256, archive, _LARGEST)
        else:
            run_maven(source, data_file("conf/registry/pom.xml"), f"-Dfolder={part}")
            _check(archive, sha256)
        _unpack(archive, part / "registry")
        os.rename(part / "registry", folder / "registry")
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _check(archive: Path, sha256: str) -> None:
    found = sha256_of(archive) if archive.is_file() else "no file"
    if found != sha256:
        raise WorkError(f"{archive.name} must have the SHA-256 {sha256}; got {found}")


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    if not (folder / _PROGRAM).is_file():
        raise WorkError(f"{archive.name} must have {_PROGRAM}")
