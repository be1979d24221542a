"""Loads a version that can be trusted.

A format (`udfs/model/formats/`) turns verified bytes into a `Model`. Nothing of a version is unpickled or
parsed before its digest, its signature if the job demands one, and the SHA-256 of every file were found
right, and nothing is used before its golden rows are reproduced.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from udfs.errors import ModelError, StoreError
from udfs.model import formats, golden, signatures
from udfs.model.code import CODE_FILE, importable
from udfs.model.contract import Model
from udfs.model.format_table import FORMATS
from udfs.model.manifest import (
    EXPECTED_FILE,
    GOLDEN_FILE,
    MANIFEST_FILE,
    PROFILE_FILE,
    Manifest,
    read_manifest,
)
from udfs.model.manifest import digest as digest_of
from udfs.model.signatures import ANYONE, Trust
from udfs.store import open_store
from udfs.store.base import Store


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that is ready to score: its files are the manifest's and its golden rows are reproduced.

    `profile`: the bytes of its profile.json; empty if it has none. `expected`: those of its expected.json.
    """

    model: Model
    manifest: Manifest
    digest: str
    profile: bytes = b""
    expected: bytes = b""


def load_version(
    place: str | Path | Store, *, digest: str | None = None, trust: Trust = ANYONE
) -> LoadedModel:
    """Load the version in a folder, at a URI, or at the root of a store.

    `digest` is the one that it must have, if that is known; `trust` what the job demands of it.
    Raises `ModelError` when it has another digest or is not trusted, when a file is missing, extra or
    changed, when the model cannot be loaded or does not fit its signature, and when its golden rows are not
    reproduced in this environment.
    """
    store, manifest, contents = _verified(place, digest, trust)
    try:
        with importable(contents.get(CODE_FILE)):
            model = formats.build(
                manifest.format,
                contents[manifest.model_file],
                manifest.signature,
                manifest.trusted_types or (),
            )
            golden.check(model, contents[GOLDEN_FILE], manifest.golden_tolerance)
    except ModelError as error:
        raise ModelError(f"{store.where('')} cannot be used: {error}{_library_changes(manifest)}") from error
    profile, expected = (contents.get(file, b"") for file in (PROFILE_FILE, EXPECTED_FILE))
    return LoadedModel(model, manifest, digest_of(manifest), profile, expected)


def check_trust(store: Store, manifest: Manifest, trust: Trust) -> None:
    """Raise `ModelError` when a version is not signed by whom, or is of a format that, the job demands."""
    signatures.check(store, digest_of(manifest), trust)
    if FORMATS[manifest.format].pickled and not trust.pickles:
        raise ModelError(
            f"{store.where('')} must be of a format without pickles, as the job refuses them; "
            f"got {manifest.format}"
        )
    if CODE_FILE in manifest.files and not trust.pickles:
        raise ModelError(
            f"{store.where('')} must have no code of its maker, as the job refuses pickles; "
            f"it ships {CODE_FILE}"
        )
    if manifest.trusted_types and not trust.pickles:
        raise ModelError(
            f"{store.where('')} must hold only safe types, as the job refuses pickles; "
            f"its manifest trusts {', '.join(manifest.trusted_types)}"
        )


def verified_files(
    place: str | Path | Store, *, digest: str | None = None, trust: Trust = ANYONE
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and files of a version that is what it says, without loading its model."""
    _, manifest, contents = _verified(place, digest, trust)
    return manifest, contents


def verified_file(
    place: str | Path | Store, name: str, *, digest: str | None = None, trust: Trust = ANYONE
) -> bytes:
    """One file of a version, whose digest, signature and hash are right, without the others.

    Raises `ModelError`, as `load_version` does.
    """
    data = listed_file(place, name, digest=digest, trust=trust)
    if data is None:
        where = (open_store(place) if isinstance(place, str | Path) else place).where(name)
        raise ModelError(f"{where} is missing: the manifest does not list it")
    return data


def listed_file(
    place: str | Path | Store, name: str, *, digest: str | None = None, trust: Trust = ANYONE
) -> bytes | None:
    """The same of a file that a version need not have: None where the manifest does not list it."""
    try:
        store, manifest = _trusted(place, digest, trust)
        return _checked(store, manifest, name) if name in manifest.files else None
    except StoreError as error:
        raise ModelError(str(error)) from error


def _verified(
    place: str | Path | Store, digest: str | None, trust: Trust
) -> tuple[Store, Manifest, dict[str, bytes]]:
    try:
        store, manifest = _trusted(place, digest, trust)
        return store, manifest, _files(store, manifest)
    except StoreError as error:
        raise ModelError(str(error)) from error


def _trusted(place: str | Path | Store, digest: str | None, trust: Trust) -> tuple[Store, Manifest]:
    store = open_store(place) if isinstance(place, str | Path) else place
    manifest = read_manifest(store)
    found = digest_of(manifest)
    if digest not in (None, found):
        raise ModelError(f"{store.where('')} must have the digest {digest}; got {found}")
    check_trust(store, manifest, trust)
    return store, manifest


def _files(store: Store, manifest: Manifest) -> dict[str, bytes]:
    """The version's files. Hashed and later parsed from the same bytes, so nothing can be swapped between."""
    found = set(store.names("")) - {MANIFEST_FILE, signatures.SIGNATURES}
    for name in sorted(manifest.files.keys() - found):
        raise ModelError(f"{store.where(name)} is missing: the manifest lists it")
    for name in sorted(found - manifest.files.keys()):
        raise ModelError(f"{store.where(name)} must not be there: the manifest does not list it")
    return {name: _checked(store, manifest, name) for name in manifest.files}


def _checked(store: Store, manifest: Manifest, name: str) -> bytes:
    data, sha = _read(store, name), manifest.files[name]
    actual = hashlib.sha256(data).hexdigest()
    if actual != sha:
        raise ModelError(f"{store.where(name)} was changed: its SHA-256 must be {sha}; got {actual}")
    return data


def _read(store: Store, name: str) -> bytes:
    try:
        return store.read(name)
    except FileNotFoundError:
        raise ModelError(f"{store.where(name)} is missing: the manifest lists it") from None


def _library_changes(manifest: Manifest) -> str:
    here = formats.installed_versions(manifest.libraries)
    changes = [
        f"{name} {was} (here {here[name]})" for name, was in manifest.libraries.items() if here[name] != was
    ]
    return f"; it was made with {', '.join(changes)}" if changes else ""
