"""Tells whose signature is a true one: Ed25519, with public keys as base64 of their 32 bytes."""

from __future__ import annotations

import base64
import hashlib


def is_signed(message: bytes, key: str, signature: str) -> bool:
    """Whether `signature`, base64 of 64 bytes, is the key's over the message; False for what is no key."""
    # Start-up: only for jobs that demand signatures.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(key: str) -> str:
    """A short name of a public key: 16 hex digits of its SHA-256."""
    return hashlib.sha256(base64.b64decode(key, validate=True)).hexdigest()[:16]


def shown_key(key: str) -> str:
    """The key's short name; a text that is no key as it is."""
    try:
        return key_id(key)
    except ValueError:
        return repr(key[:44])
