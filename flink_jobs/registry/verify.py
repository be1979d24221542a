"""Verifies a version: its files, who vouches for it, and whether it reproduces its golden rows here."""

from __future__ import annotations

from dataclasses import dataclass

from flink_jobs.registry import Registry
from udfs.errors import ModelError
from udfs.model import signatures
from udfs.model.loading import check_trust, load_version, verified_files
from udfs.model.manifest import digest
from udfs.model.signatures import ANYONE, Trust
from udfs.model.trial import check_survives
from udfs.store import open_store


@dataclass(frozen=True)
class Check:
    """One finding. `passed` is None for what was not checked, since something before it failed."""

    check: str
    passed: bool | None
    detail: str


def checks(registry: Registry, name: str, version: int, trust: Trust = ANYONE) -> list[Check]:
    """Digest, signatures and golden rows of a version; nothing is loaded before the first two are right."""
    manifest = registry.manifest(name, version)
    location = registry.location(name, version)
    wanted = digest(manifest)
    found = [*files_and_signatures(location, wanted), _trust(location, trust)]
    if all(check.passed for check in found):
        return [*found, _golden(location, trust)]
    return [*found, Check("golden rows", None, "not loaded")]


def files_and_signatures(location: str, wanted: str) -> list[Check]:
    """The checks for which nothing is loaded and nobody need be trusted."""
    return [_files(location, wanted), _signatures(location, wanted)]


def _files(location: str, wanted: str) -> Check:
    try:
        manifest, _ = verified_files(location, digest=wanted)
    except ModelError as error:
        return Check("files", False, str(error))
    return Check("files", True, f"{len(manifest.files)} as in the manifest, {wanted}")


def _signatures(location: str, wanted: str) -> Check:
    """Each signature must be a true one, also of keys that are not trusted."""
    try:
        records = signatures.read_all(open_store(location))
    except ModelError as error:
        return Check("signatures", False, str(error))
    wrong = [record for record in records if not signatures.is_valid(record, wanted)]
    if wrong:
        shown = ", ".join(record.key[:44] for record in wrong)
        return Check("signatures", False, f"not of this version: {shown}")
    shown = ", ".join(f"{signatures.key_id(record.key)} ({record.signed_at})" for record in records)
    return Check("signatures", True, shown or "none")


def _trust(location: str, trust: Trust) -> Check:
    if trust == ANYONE:
        return Check("trust", True, "nothing was demanded")
    store = open_store(location)
    try:
        registered = verified_files(location)[0]
        check_trust(store, registered, trust)
    except ModelError as error:
        return Check("trust", False, str(error))
    return Check("trust", True, "signed by a trusted key" if trust.signed else "a format without pickles")


def _golden(location: str, trust: Trust) -> Check:
    try:
        check_survives(location, trust=trust)
        loaded = load_version(location, trust=trust)
    except ModelError as error:
        return Check("golden rows", False, str(error))
    return Check("golden rows", True, f"reproduced within {loaded.manifest.golden_tolerance:g}")
