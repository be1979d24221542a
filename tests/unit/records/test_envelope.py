"""Envelopes and hashes against who has the topic but not the key, and who moves or changes what is in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import stat
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from udfs.errors import EnvelopeError
from udfs.records.envelope import Sealer, key_id, open_envelope, sealed_with
from udfs.records.personal import (
    EncryptionKey,
    PrivacyParams,
    Record,
    Treating,
    about_record,
    open_record,
    open_value,
    parse_key,
)

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
ABOUT = about_record("orders", 3, 17)


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of SHA-256."""
    extracted = hmac.digest(salt, key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@given(st.binary(max_size=200))
def test_an_envelope_is_what_the_docs_say(data: bytes) -> None:
    """Opened by hand, with nothing of ours: magic, key id, salt, nonce, AES-256-GCM under HKDF-SHA256."""
    sealed = Sealer(KEY).seal(data, ABOUT)
    name = blake2b(KEY, digest_size=4, person=b"tailrace.key-id").hexdigest()
    assert sealed[:12] == b"TRE1" + name.encode()
    derived = hkdf(KEY, sealed[12:28], b"tailrace.envelope/1")
    assert AESGCM(derived).decrypt(sealed[28:40], sealed[40:], b'["tailrace.record/1","orders",3,17]') == data


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_changed_bit_is_noticed(place: int, bit: int) -> None:
    sealed = bytearray(Sealer(KEY).seal(b"x" * 161, ABOUT))
    sealed[place] ^= 1 << bit
    with pytest.raises(EnvelopeError):
        open_envelope(bytes(sealed), {key_id(KEY): KEY}, ABOUT)


@pytest.mark.parametrize(
    "about", [about_record("orders", 3, 18), about_record("orders", 4, 17), about_record("other", 3, 17), b""]
)
def test_an_envelope_cannot_be_given_to_another_record(about: bytes) -> None:
    sealed = Sealer(KEY).seal(b"ann", ABOUT)
    with pytest.raises(EnvelopeError, match="belongs to another record"):
        open_envelope(sealed, {key_id(KEY): KEY}, about)


def test_after_a_rotation_old_envelopes_open_with_the_old_key() -> None:
    old, new = Sealer(KEY).seal(b"a", ABOUT), Sealer(OTHER).seal(b"b", ABOUT)
    keys = {key_id(key): key for key in (KEY, OTHER)}
    assert [open_envelope(each, keys, ABOUT) for each in (old, new)] == [b"a", b"b"]
    assert sealed_with(old) != sealed_with(new)
    with pytest.raises(EnvelopeError, match=rf"encrypted with the key {key_id(KEY)}; given: {key_id(OTHER)}"):
        open_envelope(old, {key_id(OTHER): OTHER}, ABOUT)


@pytest.mark.parametrize("raw", [b"", b"TRE1", b'{"email": "ann@example.com"}', b"TRE1" + b"0" * 35])
def test_other_bytes_are_no_envelope(raw: bytes) -> None:
    with pytest.raises(EnvelopeError, match="no envelope"):
        open_envelope(raw, {key_id(KEY): KEY}, ABOUT)


def test_equal_records_do_not_look_alike() -> None:
    sealer = Sealer(KEY)
    sealed = {sealer.seal(b"ann", ABOUT) for _ in range(1_000)} | {Sealer(KEY).seal(b"ann", ABOUT)}
    assert len(sealed) == 1_001
    assert not any(b"ann" in each[12:] for each in sealed if len(each) < 60 and b"ann" in each)


def test_a_record_keeps_key_value_and_headers_with_each_byte() -> None:
    record = Record(b"\xff\x00", None, [("a", b"1"), ("a", None), ("b", b"\xfe")])
    treating = Treating(PrivacyParams(dead="encrypt", encryption=EncryptionKey(KEY.hex())))
    (sealed,) = treating.records([record], [ABOUT])
    assert open_record(sealed, {key_id(KEY): KEY}, ABOUT) == record


def hashes(values: list[str], name: str = "email", key: bytes = b"k" * 16) -> list[str | None]:
    found: list[str | None] = (
        Treating(PrivacyParams(hash_key=key)).column(name, "hash", pa.array(values)).to_pylist()
    )
    return found


def test_hashes_name_their_key_and_differ_by_field_and_key() -> None:
    (one,), (other_field,), (other_key,) = hashes(["a"]), hashes(["a"], "phone"), hashes(["a"], key=b"l" * 16)
    assert one is not None
    assert len({one, other_field, other_key}) == 3
    assert hashes(["a"]) == [one]
    assert one.partition(":")[0] == blake2b(b"k" * 16, digest_size=4, person=b"tailrace.key-id").hexdigest()
    assert other_key is not None
    assert other_key.partition(":")[0] != one.partition(":")[0]


def test_each_byte_of_a_long_key_counts() -> None:
    long = b"x" * 64
    assert hashes(["a"], key=long + b"1") != hashes(["a"], key=long + b"2")
    key = hashlib.sha512(long + b"1").digest()
    of_field = blake2b(b"email", key=key, digest_size=32, person=b"tailrace.field").digest()
    (found,) = hashes(["a"], key=long + b"1")
    assert found is not None
    assert found.partition(":")[2] == blake2b(b"a", key=of_field, digest_size=16).hexdigest()


def test_encrypted_values_are_bound_to_their_column() -> None:
    treating = Treating(PrivacyParams({"email": "encrypt"}, encryption=EncryptionKey(KEY.hex())))
    text, nothing = treating.column("email", "encrypt", pa.array(["ann@x.org", None])).to_pylist()
    assert nothing is None
    assert open_value(text, {key_id(KEY): KEY}, "email") == "ann@x.org"
    with pytest.raises(EnvelopeError):
        open_value(text, {key_id(KEY): KEY}, "phone")
    with pytest.raises(EnvelopeError, match="no envelope"):
        open_value("nonsense!", {key_id(KEY): KEY}, "email")


def test_the_snippet_of_the_docs_opens_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "privacy.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "2026.key").write_text(KEY.hex() + "\n")
    monkeypatch.chdir(tmp_path)
    treating = Treating(PrivacyParams({"ssn": "encrypt"}, encryption=EncryptionKey(KEY.hex())))
    (sealed,) = treating.column("ssn", "encrypt", pa.array(["123-45-6789"])).to_pylist()
    names: dict[str, Any] = {"prediction": {"ssn": sealed}}
    exec(block, names)
    assert names["ssn"] == "123-45-6789"


@pytest.mark.parametrize("text", [KEY.hex(), base64.b64encode(KEY).decode(), f" {KEY.hex().upper()}\n"])
def test_keys_are_hex_or_base64(text: str) -> None:
    assert parse_key(text) == KEY


@pytest.mark.parametrize("text", ["", "hunter2", "ab" * 31, "zz" * 32, base64.b64encode(KEY + b"x").decode()])
def test_other_keys_are_refused_unseen(text: str) -> None:
    with pytest.raises(EnvelopeError) as error:
        parse_key(text)
    assert not text or text not in str(error.value)


def test_a_command_gives_the_key_and_what_it_prints_is_never_shown(tmp_path: Path) -> None:
    kms = tmp_path / "kms"
    for script, expected in (
        (f"echo {KEY.hex()}", None),
        ("echo hunter2", "a key must be 32 bytes"),
        ("echo hunter2 >&2; exit 3", "kms gives no key: it ended with status 3"),
    ):
        kms.write_text(f"#!/bin/sh\n{script}\n")
        kms.chmod(stat.S_IRWXU)
        source = EncryptionKey(command=(str(kms),))
        if expected is None:
            assert source.read() == KEY
            continue
        with pytest.raises(EnvelopeError, match=expected) as error:
            source.read()
        assert "hunter2" not in str(error.value)
    with pytest.raises(EnvelopeError, match="FileNotFoundError"):
        EncryptionKey(command=("/nowhere/kms",)).read()


def test_a_job_without_its_key_does_not_begin() -> None:
    """Else each record would become a dead letter for want of it."""
    with pytest.raises(EnvelopeError):
        Treating(PrivacyParams(late="encrypt", encryption=EncryptionKey("short")))
