"""Signs model versions with Ed25519 keys."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from udfs.model.manifest import digest
from udfs.model.signatures import SIGNATURES, SignatureRecord, key_id, message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def generate_key(path: Path) -> Path:
    """Write a new private key, readable by its owner only, and beside it the public one, whose path it gives.

    Raises `InputError` when one of them is there already.
    """
    # Start-up: optional, only for those who sign.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _create(path, private, 0o600)
    _create(
        public, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo), 0o644
    )
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file. Raises `InputError` when it is not there, no Ed25519 key, or encrypted."""
    # Start-up: optional, only for those who sign.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise InputError(f"{path} must be an Ed25519 private key in PEM, not encrypted") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} must be an Ed25519 private key; got a {type(key).__name__}")
    return key


def sign(registry: Registry, name: str, version: int, key: Ed25519PrivateKey) -> SignatureRecord:
    """Sign a version's digest, and put the signature beside its files; others' signatures stay.

    Raises `InputError` when this key has signed it before.
    """
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    found = digest(registry.manifest(name, version))
    signed_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = base64.b64encode(key.sign(message(found, public, signed_at))).decode()
    record = SignatureRecord(digest=found, key=public, signed_at=signed_at, signature=signature)
    path = f"{name}/versions/{version}/{SIGNATURES}/{key_id(public)}.json"
    if not registry.store.write_once(path, msgspec.json.format(msgspec.json.encode(record)) + b"\n"):
        raise InputError(
            f"{name} version {version} has been signed with this key: {registry.store.where(path)}"
        )
    return record


def _create(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise InputError(f"{path} is there already; keys are never overwritten") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
