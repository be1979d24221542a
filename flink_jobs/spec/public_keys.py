"""Ed25519 public keys as people give them: a PEM file, PEM text, or base64 of the 32 bytes.

parse_public_key("keys/release.pub", base="/jobs")      # base64 of the 32 bytes
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from flink_jobs.spec.diagnostics import wrong

LARGEST_KEY_FILE = 16 * 1024
EXPECTED = "an Ed25519 public key: the path of a PEM file, PEM text, or base64 of 32 bytes"


def parse_public_key(text: str, base: str = "") -> str:
    """A public key as base64 of its 32 bytes; a path is relative to `base`.

    Raises ValueError, which says what was found instead.
    """
    if "-----BEGIN" in text:
        return _from_pem(text.encode())
    raw = _raw(text.strip())
    if raw is not None:
        return base64.b64encode(raw).decode()
    path = os.path.join(base, text)
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_KEY_FILE)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ValueError(f"{path[:200]} ({reason})") from None
    raw = _raw(content.decode("ascii", "replace").strip())
    return base64.b64encode(raw).decode() if raw is not None else _from_pem(content)


def _raw(text: str) -> bytes | None:
    """The 32 bytes, if the text is base64 of so many."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == 32 else None


def _from_pem(data: bytes) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # Start-up: few jobs have keys
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415  # Start-up: few jobs have keys
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415  # Start-up: few jobs have keys

    if b"PRIVATE KEY" in data:
        raise ValueError("a private key, which must stay with the signer")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("text that is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"a {type(key).__name__}")
    return base64.b64encode(key.public_bytes_raw()).decode()


def _validated(value: object, info: ValidationInfo) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(EXPECTED)
    try:
        return parse_public_key(value, (info.context or {}).get("base") or "")
    except ValueError as error:
        raise wrong(EXPECTED, str(error)) from None


PublicKey = Annotated[str, BeforeValidator(_validated), WithJsonSchema({"type": "string", "minLength": 1})]
