"""Checks who vouches for a version: Ed25519 signatures beside its files, against what a job demands.

A signature lies in the version's folder as `signatures/<key id>.json`. It signs the digest, and so every byte
of the version; the digest does not cover it, so that a version can be signed after it was registered.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

import msgspec

from udfs.errors import ModelError, StoreError
from udfs.store.base import Store

SIGNATURES = "signatures"


class Trust(msgspec.Struct, frozen=True):
    """What a job demands of a version before anything of it is loaded.

    `keys`: trusted public keys, base64 of their 32 bytes; `signed`: one of them must have signed;
    `pickles`: whether formats that unpickle, and so run code of the version's maker, may be loaded.
    """

    keys: tuple[str, ...] = ()
    signed: bool = False
    pickles: bool = True


ANYONE = Trust()


class SignatureRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signature file: `signature` is the base64 of 64 bytes over `message` of the record."""

    schema: Literal["tailrace.signature/1"] = "tailrace.signature/1"
    digest: str
    key: str
    signed_at: str
    signature: str


def message(digest: str, key: str, signed_at: str) -> bytes:
    """What is signed: the record without its signature, as JSON with sorted keys."""
    record = SignatureRecord(digest=digest, key=key, signed_at=signed_at, signature="")
    return msgspec.json.encode(record, order="sorted")


def key_id(key: str) -> str:
    """A short name of a public key: 16 hex digits of its SHA-256."""
    return hashlib.sha256(base64.b64decode(key, validate=True)).hexdigest()[:16]


def read_all(store: Store) -> list[SignatureRecord]:
    """The signatures of the version in `store`. Raises `ModelError` for one that is no record."""
    return [_read(store, f"{SIGNATURES}/{name}") for name in store.names(SIGNATURES)]


def is_valid(record: SignatureRecord, digest: str) -> bool:
    """Whether the record's key has signed this digest."""
    # Start-up: only for jobs that demand signatures.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(record.key, validate=True))
        signature = base64.b64decode(record.signature, validate=True)
        key.verify(signature, message(digest, record.key, record.signed_at))
    except (InvalidSignature, ValueError):
        return False
    return record.digest == digest


def check(store: Store, digest: str, trust: Trust) -> None:
    """Raise `ModelError` unless a trusted key has signed the digest, or none has to."""
    if not trust.signed:
        return
    where, wanted = store.where(""), ", ".join(map(key_id, trust.keys)) or "none"
    try:
        records = read_all(store)
    except StoreError as error:
        raise ModelError(str(error)) from error
    if not records:
        raise ModelError(f"{where} must be signed by a trusted key ({wanted}); it has no signature")
    trusted = [record for record in records if record.key in trust.keys]
    if not trusted:
        found = ", ".join(_shown(record) for record in records)
        raise ModelError(f"{where} must be signed by a trusted key ({wanted}); it is signed by {found}")
    if not any(is_valid(record, digest) for record in trusted):
        found = ", ".join(_shown(record) for record in trusted)
        raise ModelError(f"{where}: the signature by {found} is not one of its digest {digest}")


_decoder = msgspec.json.Decoder(SignatureRecord)


def _read(store: Store, path: str) -> SignatureRecord:
    try:
        return _decoder.decode(store.read(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FileNotFoundError) as error:
        raise ModelError(f"{store.where(path)} must be a tailrace.signature/1 record: {error}") from None


def _shown(record: SignatureRecord) -> str:
    try:
        return key_id(record.key)
    except ValueError:
        return repr(record.key[:44])
