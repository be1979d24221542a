"""Certificates for an afternoon: an authority, and what it signs.

authority = Authority(folder)
authority.issue("broker", "127.0.0.1")      # broker.pem: certificate and key in one file
authority.file                               # the authority's own certificate
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates into its folder; `file` is its own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = _builder(self._name, self._name, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self.certificate = own.sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(
        self, name: str, *hosts: str, expired: bool = False, days: int = 1, password: str | None = None
    ) -> Path:
        """NAME.pem with certificate and key, NAME.crt and NAME.key alone, NAME.p12; CN is the name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        end = datetime.now(UTC) + timedelta(days=-2 if expired else days)
        names = [_general_name(host) for host in hosts] or [x509.DNSName(f"{name}.invalid")]
        builder = _builder(subject, self._name, key, end).add_extension(
            x509.SubjectAlternativeName(names), False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        sealing: KeySerializationEncryption = NoEncryption()
        if password:
            sealing = BestAvailableEncryption(password.encode())
        chain = certificate.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealing)
        store = serialize_key_and_certificates(name.encode(), key, certificate, [self.certificate], sealing)
        files = {".pem": chain + private, ".crt": chain, ".key": private, ".p12": store}
        for ending, content in files.items():
            (self.folder / f"{name}{ending}").write_bytes(content)
        return self.folder / f"{name}.pem"


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    end: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(end or now + timedelta(days=1))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
