"""Checks who vouches for a version: Ed25519 signatures beside its files, against what a job demands.

A signature lies in the version's folder as `signatures/<key id>.json`. It signs the digest, and so every byte
of the version; the digest does not cover it, so that a version can be signed after it was registered.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.ed25519 import is_signed, key_id, shown_key
from udfs.errors import ModelError, StoreError
from udfs.store.base import Store

SIGNATURES = "signatures"

__all__ = [
    "ANYONE",
    "SIGNATURES",
    "SignatureRecord",
    "Trust",
    "check",
    "is_valid",
    "key_id",
    "message",
    "read_all",
]


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


def read_all(store: Store) -> list[SignatureRecord]:
    """The signatures of the version in `store`. Raises `ModelError` for one that is no record."""
    return [_read(store, f"{SIGNATURES}/{name}") for name in store.names(SIGNATURES)]


def is_valid(record: SignatureRecord, digest: str) -> bool:
    """Whether the record's key has signed this digest."""
    return record.digest == digest and is_signed(
        message(digest, record.key, record.signed_at), record.key, record.signature
    )


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
        found = ", ".join(shown_key(record.key) for record in records)
        raise ModelError(f"{where} must be signed by a trusted key ({wanted}); it is signed by {found}")
    if not any(is_valid(record, digest) for record in trusted):
        found = ", ".join(shown_key(record.key) for record in trusted)
        raise ModelError(f"{where}: the signature by {found} is not one of its digest {digest}")


_decoder = msgspec.json.Decoder(SignatureRecord)


def _read(store: Store, path: str) -> SignatureRecord:
    try:
        return _decoder.decode(store.read(path))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FileNotFoundError) as error:
        raise ModelError(f"{store.where(path)} must be a tailrace.signature/1 record: {error}") from None
