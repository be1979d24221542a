"""Says why a broker cannot be used: dials it once more by hand, and looks at where that ends.

find_cause(settings, within=5.0)   # "the certificate of broker:9093 expired on 2026-01-31; …", or None

librdkafka has one text for an expired certificate, an unknown authority and a wrong host name.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time

from cryptography import x509

from flink_jobs.errors import InputError
from flink_jobs.kafka.settings import ClientSettings
from udfs.times import iso

# ApiVersions, version 0, as any client says first: api key, version, correlation id, no client id.
_HELLO = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_TLS_ALERT = 0x15
_ONE_TRY = 2.0
# Of X509_V_ERR_…, in OpenSSL's x509_vfy.h.
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_OTHER_NAME = (62, 64)


def find_cause(settings: ClientSettings, within: float = _ONE_TRY) -> str | None:
    """What is wrong with the way to the brokers, in words; None if they answer well, or not at all."""
    deadline = time.monotonic() + within
    for address in settings.brokers.split(","):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        if cause := _cause_at(settings, address.strip(), min(left, _ONE_TRY)):
            return cause
    return None


def _cause_at(settings: ClientSettings, address: str, timeout: float) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        raw = socket.create_connection((host.strip("[]"), int(port)), timeout)
    except socket.gaierror:
        return f"the host name in {address} is unknown here"
    except OSError:
        return None
    with raw:
        if settings.tls:
            return _tls_cause(settings, raw, host.strip("[]"), address)
        return _plain_cause(settings, raw, host.strip("[]"), address)


def _plain_cause(settings: ClientSettings, raw: socket.socket, host: str, address: str) -> str | None:
    if _answers_plain(raw) is not False or not _speaks_tls(host, address, raw.gettimeout()):
        return None
    wanted = "SASL_SSL" if settings.sasl else "SSL"
    return f"{address} speaks TLS: kafka.security.protocol must be {wanted}; got {settings.protocol}"


def _answers_plain(raw: socket.socket) -> bool | None:
    """None if it says nothing. A broker that awaits TLS answers with an alert, or hangs up."""
    try:
        raw.sendall(_HELLO)
        answer = raw.recv(8)
    except TimeoutError:
        return None
    except OSError:
        return False
    return bool(answer) and answer[0] != _TLS_ALERT


def _speaks_tls(host: str, address: str, timeout: float | None) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # asks only whether it is TLS
    try:
        with socket.create_connection((host, int(address.rpartition(":")[2])), timeout) as raw:
            context.wrap_socket(raw, server_hostname=host).close()
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)
    except OSError:
        return False
    return True


def _tls_cause(settings: ClientSettings, raw: socket.socket, host: str, address: str) -> str | None:
    try:
        with _context(settings).wrap_socket(raw, server_hostname=host) as tls:
            # With TLS 1.3 the broker judges the client's certificate after the handshake. What it says then
            # would be lost if it hung up on something that was sent.
            tls.recv(8)
    except ssl.SSLCertVerificationError as error:
        return _server_cause(settings, error, host, address)
    except TimeoutError:
        return None
    except OSError as error:
        reason = str(error.reason) if isinstance(error, ssl.SSLError) else ""
        return _alert_cause(settings, reason, address) or _no_tls_cause(settings, host, address)
    return None


def _no_tls_cause(settings: ClientSettings, host: str, address: str) -> str | None:
    """A broker that awaits no TLS hangs up on it, and answers what is sent without."""
    try:
        with socket.create_connection((host, int(address.rpartition(":")[2])), _ONE_TRY) as raw:
            if not _answers_plain(raw):
                return None
    except OSError:
        return None
    wanted = "SASL_PLAINTEXT" if settings.sasl else "PLAINTEXT"
    return f"{address} does not speak TLS: kafka.security.protocol must be {wanted}; got {settings.protocol}"


def _context(settings: ClientSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except ssl.SSLError as error:
        raise InputError(f"{settings.ca_file} must hold a certificate as PEM; it holds none") from error
    if own := settings.certificate():
        own.load_into(context)
    return context


def _server_cause(
    settings: ClientSettings, error: ssl.SSLCertVerificationError, host: str, address: str
) -> str | None:
    shown = _shown_certificate(host, address)
    trusted = settings.ca_file or "this machine's authorities"
    if error.verify_code == _EXPIRED:
        when = f" on {_day(shown)}" if shown else ""
        return f"the certificate of {address} expired{when}; the brokers need a new one"
    if error.verify_code == _NOT_YET:
        return f"the certificate of {address} is not valid yet: its clock or this machine's is wrong"
    if error.verify_code in _OTHER_NAME:
        names = f"; it is for {', '.join(_names(shown))}" if shown else ""
        return f"the certificate of {address} is for another host than {host}{names}"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        by = f", issued by {shown.issuer.rfc4514_string()}," if shown else ""
        return (
            f"the certificate of {address}{by} comes from none of the authorities in {trusted}: "
            "kafka.security.ca_file must be the one that signed it"
        )
    return f"the certificate of {address} is not valid: {error.verify_message}"


def _alert_cause(settings: ClientSettings, reason: str, address: str) -> str | None:
    """What the broker says to our side of the handshake."""
    own = settings.certificate_file or settings.keystore_file
    if (own is None and "CERTIFICATE" in reason) or reason.endswith("HANDSHAKE_FAILURE"):
        return (
            f"{address} asks for a client certificate: kafka.security.certificate_file and key_file, or "
            "keystore_file, must be given"
        )
    if own is not None and "ALERT" in reason:
        said = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"{address} refuses the client certificate in {own} ({said})"
    return None


def _shown_certificate(host: str, address: str) -> x509.Certificate | None:
    """The certificate that is shown at `address`, whoever signed it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only to name what was refused
    try:
        with (
            socket.create_connection((host, int(address.rpartition(":")[2])), _ONE_TRY) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(der) if der else None
    except (OSError, ValueError):
        return None


def _day(certificate: x509.Certificate) -> str:
    return iso(int(certificate.not_valid_after_utc.timestamp() * 1000))[:10]


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [certificate.subject.rfc4514_string()]
    return [str(name.value) for name in names][:5]
