"""A gateway before Flink that asks for TLS, a login and a certificate; and what it says to who has none."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import load_pem_x509_certificate

from flink_jobs.errors import WorkError
from flink_jobs.run.access import Access
from flink_jobs.run.cluster import Cluster
from tests.helpers.certificates import Authority
from tests.helpers.gateway import gateway

TOKEN = "hunter2-token"
BASIC = f"Basic {base64.b64encode(b'me:hunter2: pw').decode()}"


def test_a_gateway_lets_in_who_has_all_that_it_asks_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("me", password="sealed")
    own: dict[str, Any] = {"certificate_file": tmp_path / "me.crt", "key_file": tmp_path / "me.key"}
    own |= {"key_password": "sealed", "ca_file": authority.file}
    with gateway(authority, f"Bearer {TOKEN}", certificate=True) as url:
        assert Cluster(Access(url, token=TOKEN, **own)).jobs() == []
        with pytest.raises(WorkError, match="refuses the token"):
            Cluster(Access(url, token="stale", **own)).jobs()
        with pytest.raises(WorkError, match=r"asks for a client certificate: cluster\.certificate_file"):
            Cluster(Access(url, token=TOKEN, ca_file=authority.file)).jobs()
    with gateway(authority, BASIC) as url:
        given: dict[str, Any] = {"username": "me", "ca_file": authority.file}
        assert Cluster(Access(url, password="hunter2: pw", **given)).jobs() == []
        with pytest.raises(WorkError, match="refuses the password of user 'me'") as caught:
            Cluster(Access(url, password="hunter2", **given)).jobs()
        assert "hunter2" not in str(caught.value) + repr(Access(url, password="hunter2", **given))
        with pytest.raises(WorkError, match="refuses requests without a login"):
            Cluster(Access(url, ca_file=authority.file)).jobs()


def test_a_gateway_that_is_not_the_one_is_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    stranger = Authority(tmp_path, "stranger")
    with gateway(authority, f"Bearer {TOKEN}") as url:
        with pytest.raises(WorkError, match=r"not valid by .*stranger\.pem: unable to get local issuer"):
            Cluster(Access(url, ca_file=stranger.file, token=TOKEN)).jobs()
        with pytest.raises(WorkError, match="not valid by this machine's authorities"):
            Cluster(Access(url, token=TOKEN)).jobs()


def test_flinks_own_client_gets_the_same(tmp_path: Path) -> None:
    """Passwords of its stores are made for the one run; the login is in no option."""
    authority = Authority(tmp_path)
    authority.issue("me")
    folder = tmp_path / "java"
    folder.mkdir()
    with gateway(authority, f"Bearer {TOKEN}") as url:
        access = Access(url, authority.file, tmp_path / "me.pem", token=TOKEN)
        options = access.java(folder)
        with pytest.raises(WorkError, match=r"no TLS with .*Hostname mismatch"):
            Access(url.replace("127.0.0.1", "localhost"), authority.file).java(folder)
    rest = [options[f"rest.{key}"] for key in ("address", "port", "path")]
    assert "https://{}:{}{}".format(*rest) == url
    shown = load_pem_x509_certificate((tmp_path / "gateway.pem").read_bytes())
    pinned = shown.fingerprint(hashes.SHA1()).hex().upper()
    assert options["security.ssl.rest.cert.fingerprint"] == pinned
    assert {path.name for path in folder.iterdir()} == {"truststore.p12", "keystore.p12"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert TOKEN not in str(options)
    assert access.environment() == {"FLINK_REST_CLIENT_HEADERS": f"Authorization:Bearer {TOKEN}"}
    plain = Access("http://127.0.0.1:8081")
    assert plain.java(folder) == {"rest.address": "127.0.0.1", "rest.port": "8081"}
    assert plain.environment() == {}
