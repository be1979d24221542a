"""A client's own certificate with its key, out of PEM files or a PKCS #12 store.

own = pem_certificate(Path("client.pem"), Path("client.key"), password=None)
own.load_into(context)     # an ssl.SSLContext
own.key                    # PEM, for Java
"""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from flink_jobs.errors import InputError

# A key and a certificate are each a few KB.
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Certificate:
    """A client's certificate with those above it, and its key, as unencrypted PEM (PKCS #8)."""

    chain: str
    key: str = field(repr=False)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes it the context's own. OpenSSL takes files only: the key is in one for a moment, encrypted."""
        password = secrets.token_bytes(32)
        key = load_pem_private_key(self.key.encode(), None)
        sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        with NamedTemporaryFile() as file:
            file.write(self.chain.encode() + sealed)
            file.flush()
            context.load_cert_chain(file.name, password=password)


def pem_certificate(certificate_file: Path, key_file: Path | None, password: str | None) -> Certificate:
    """A certificate and its key out of one PEM file, or two. Raises InputError naming the wrong one."""
    try:
        chain = x509.load_pem_x509_certificates(_read(certificate_file))
    except ValueError as error:
        raise InputError(
            f"{certificate_file} must be a PEM file with a certificate in it; {error}"
        ) from error
    place = key_file or certificate_file
    try:
        key = load_pem_private_key(_read(place), password.encode() if password else None)
    except (ValueError, TypeError) as error:
        raise InputError(_key_problem(place, password, error)) from error
    return _checked(chain, key, place)


def keystore_certificate(keystore_file: Path, password: str | None) -> Certificate:
    """A certificate and its key out of a PKCS #12 store. Raises InputError naming the file."""
    try:
        key, certificate, others = load_key_and_certificates(
            _read(keystore_file), password.encode() if password else None
        )
    except ValueError as error:
        raise InputError(
            f"{keystore_file} must be a PKCS #12 store that its password opens; {error}"
        ) from error
    if key is None or certificate is None:
        raise InputError(f"{keystore_file} must hold a certificate and its key; one of them is missing")
    return _checked([certificate, *others], key, keystore_file)


def read_pem(path: Path) -> str:
    """The text of a PEM file. Raises InputError."""
    try:
        return _read(path).decode("ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"a certificate file must be a readable PEM file; got {path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise InputError(
            f"a certificate or key file must be a readable PEM file; got {path}: {error}"
        ) from error


def _checked(chain: list[x509.Certificate], key: Any, place: Path) -> Certificate:
    if chain[0].public_key() != key.public_key():
        raise InputError(f"{place} must hold the key of the client certificate; it is another one's")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Certificate("".join(each.public_bytes(Encoding.PEM).decode() for each in chain), pem)


def _key_problem(place: Path, password: str | None, error: Exception) -> str:
    if isinstance(error, TypeError) and password is None:
        return f"{place} holds an encrypted key, which needs key_password"
    if isinstance(error, TypeError):
        return f"{place} holds a key that is not encrypted, so that key_password must be left out"
    # One wrong password in some hundred seems to open the key, and what comes out is none.
    if password is not None and ("password" in str(error).lower() or b"ENCRYPTED" in place.read_bytes()):
        return f"key_password must be the password of the key in {place}; it does not open it"
    return f"{place} must be a PEM file with a private key in it; {error}"
