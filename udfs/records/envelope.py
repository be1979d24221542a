"""Encrypts bytes with AES-256-GCM, each under a key of its own process, so that nonces never run out.

>>> key = bytes(range(32))
>>> sealed = Sealer(key).seal(b"her address", about=b"rides 0 17")
>>> open_envelope(sealed, {key_id(key): key}, about=b"rides 0 17")
b'her address'

An envelope is `TRE1`, the key's id (8 hex digits), a salt (16 bytes), a nonce (12 bytes), and the cipher text
with its tag. The key of AES is HKDF-SHA256 of the given key and the salt. `about` is authenticated and not in
it: an envelope that was moved to another record cannot be opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from udfs.errors import EnvelopeError

MAGIC = b"TRE1"
KEY_BYTES = 32
# The header of a record that is an envelope: the id of its key.
KEY_HEADER = "tailrace.encrypted_with"
_ID, _SALT, _NONCE = 8, 16, 12
_INFO = b"tailrace.envelope/1"


def key_id(key: bytes) -> str:
    """8 hex digits that name a key, and do not tell it."""
    return blake2b(key, digest_size=4, person=b"tailrace.key-id").hexdigest()


class Sealer:
    """Encrypts with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        salt = os.urandom(_SALT)
        self.key_id = key_id(key)
        self._head = MAGIC + self.key_id.encode() + salt
        self._cipher = _cipher(key, salt)

    def seal(self, data: bytes, about: bytes) -> bytes:
        """The envelope of the bytes."""
        nonce = os.urandom(_NONCE)
        sealed: bytes = self._cipher.encrypt(nonce, data, about)
        return self._head + nonce + sealed


def sealed_with(envelope: bytes) -> str:
    """The id of the key that it was encrypted with. Raises EnvelopeError for other bytes."""
    if not envelope.startswith(MAGIC) or len(envelope) < len(MAGIC) + _ID + _SALT + _NONCE:
        raise EnvelopeError("it is no envelope of Tailrace's")
    return envelope[len(MAGIC) :][:_ID].decode("ascii", "replace")


def open_envelope(envelope: bytes, keys: Mapping[str, bytes], about: bytes) -> bytes:
    """The bytes in it; `keys` by their ids. Raises EnvelopeError where no key fits, or a bit has changed."""
    from cryptography.exceptions import InvalidTag  # Start-up: most workers seal nothing.  # noqa: PLC0415

    name = sealed_with(envelope)
    if name not in keys:
        known = ", ".join(keys) or "none"
        raise EnvelopeError(f"it is encrypted with the key {name}; given: {known}")
    rest = envelope[len(MAGIC) + _ID :]
    salt, nonce, sealed = rest[:_SALT], rest[_SALT : _SALT + _NONCE], rest[_SALT + _NONCE :]
    try:
        opened: bytes = _cipher(keys[name], salt).decrypt(nonce, sealed, about)
    except InvalidTag:
        raise EnvelopeError("it was changed, or belongs to another record") from None
    return opened


def _cipher(key: bytes, salt: bytes) -> Any:
    # Start-up: 40 ms that only jobs which encrypt pay.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(key))
