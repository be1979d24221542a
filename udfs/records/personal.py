"""Treats personal data on its way out of a job: as a keyed hash, a mask or an encrypted text, or not at all.

>>> import pyarrow as pa
>>> privacy = PrivacyParams({"email": "mask"}, hash_key=b"0123456789abcdef")
>>> Treating(privacy).column("email", "mask", pa.array(["ann@example.com", None])).to_pylist()
['***', None]
>>> Treating(privacy).column("email", "hash", pa.array(["ann@example.com"])).to_pylist()
['d112e6dc:01b915df9b0e2daba293b05162fdf88a']
"""

from __future__ import annotations

import base64
import binascii
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b, sha512
from typing import Literal

import msgspec
import pyarrow as pa

from udfs.errors import EnvelopeError
from udfs.records.envelope import KEY_BYTES, Sealer, key_id, open_envelope

Treatment = Literal["hash", "encrypt", "mask", "drop"]
RecordTreatment = Literal["keep", "encrypt", "drop"]
# The stricter, the later: what is made of several fields is treated as the strictest of them asks.
STRICTNESS: tuple[Treatment, ...] = ("hash", "encrypt", "mask", "drop")
MASK = "***"
SHORTEST_HASH_KEY = 16
_KEY = "(key)"  # no column has such a name
_COMMAND_SECONDS = 60


class EncryptionKey(msgspec.Struct, frozen=True):
    """A key as text, or the command that prints it: on each worker, which needs nothing else of it."""

    text: str = ""
    command: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"EncryptionKey(command={self.command})"

    def read(self) -> bytes:
        """The 32 bytes. Raises EnvelopeError, which shows no part of them."""
        if not self.command:
            return parse_key(self.text)
        try:
            done = subprocess.run(self.command, capture_output=True, timeout=_COMMAND_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EnvelopeError(f"{self.command[0]} gives no key: {type(error).__name__}") from None
        if done.returncode:
            raise EnvelopeError(f"{self.command[0]} gives no key: it ended with status {done.returncode}")
        return parse_key(done.stdout.decode("ascii", "replace"))


def parse_key(text: str) -> bytes:
    """32 bytes of base64 or of hex digits. Raises EnvelopeError."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise EnvelopeError("a key must be 32 bytes, as base64 or hex digits")
    return key


class PrivacyParams(msgspec.Struct, frozen=True):
    """`columns` are those of the job that carry a label, `key` is that of the keys of predictions.

    These are hashed as the column `key_field` is, if they are its values. `dead` and `late` are what becomes
    of whole records.
    """

    columns: dict[str, Treatment] = {}
    key: Treatment | None = None
    key_field: str = ""
    dead: RecordTreatment = "keep"
    late: RecordTreatment = "keep"
    hash_key: bytes = b""
    encryption: EncryptionKey | None = None

    def __repr__(self) -> str:
        return f"PrivacyParams({self.columns}, {self.key}, {self.dead}, {self.late})"

    @property
    def encrypts(self) -> bool:
        """Whether anything is encrypted, if it is written."""
        return self.encryption is not None and "encrypt" in (*self.columns.values(), self.key, *self._records)

    @property
    def _records(self) -> tuple[RecordTreatment, ...]:
        return self.dead, self.late

    @property
    def seals(self) -> bool:
        """Whether whole records are encrypted."""
        return "encrypt" in self._records


class Treating:
    """What a worker does with personal data. Raises EnvelopeError when there is no key to encrypt with."""

    def __init__(self, params: PrivacyParams) -> None:
        self._params = params
        self._sealer: Sealer | None = None
        if params.encrypts:
            self._encryption()

    def column(self, name: str, treatment: Treatment, column: pa.Array) -> pa.Array:
        """N values of a column as strings; null stays null."""
        values = [None if value is None else str(value).encode() for value in column.to_pylist()]
        return pa.array(self._texts(name, treatment, values), pa.string())

    def keys(self, keys: Iterable[bytes | None]) -> list[bytes | None]:
        """N keys of predictions, as the label of keys wants them."""
        if self._params.key is None:
            return [*keys]
        texts = self._texts(self._params.key_field or _KEY, self._params.key, [*keys])
        return [None if text is None else text.encode() for text in texts]

    def records(self, rows: Sequence[Record], abouts: Sequence[bytes]) -> list[bytes]:
        """Whole records as envelopes, each with what it is about."""
        sealer = self._encryption()
        return [
            sealer.seal(msgspec.msgpack.encode(row), about) for row, about in zip(rows, abouts, strict=True)
        ]

    def _texts(self, name: str, treatment: Treatment, values: Sequence[bytes | None]) -> Sequence[str | None]:
        if treatment == "drop":
            return [None] * len(values)
        if treatment == "mask":
            return [None if value is None else MASK for value in values]
        if treatment == "encrypt":
            sealer, about = self._encryption(), about_field(name)
            sealed = (None if value is None else sealer.seal(value, about) for value in values)
            return [None if each is None else base64.urlsafe_b64encode(each).decode() for each in sealed]
        return _keyed_hashes(name, self._params.hash_key, values)

    def _encryption(self) -> Sealer:
        if self._sealer is None:
            if self._params.encryption is None:
                raise EnvelopeError("the job has no key to encrypt with")
            self._sealer = Sealer(self._params.encryption.read())
        return self._sealer


def _keyed_hashes(name: str, key: bytes, values: Iterable[bytes | None]) -> list[str | None]:
    """`KEY_ID:HASH`, 128 bits under a key of the field's own: equal values of other fields differ."""
    whole = key if len(key) <= 64 else sha512(key).digest()
    own = blake2b(name.encode(), key=whole, digest_size=32, person=b"tailrace.field").digest()
    head = f"{key_id(whole)}:"
    return [
        None if value is None else head + blake2b(value, key=own, digest_size=16).hexdigest()
        for value in values
    ]


class Record(msgspec.Struct, frozen=True):
    """A record as it was read, within an envelope."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_RECORD = msgspec.msgpack.Decoder(Record)


def about_record(topic: str, partition: int | None, offset: int | None) -> bytes:
    """What the envelope of a record is bound to; without coordinates, the row of a window."""
    return msgspec.json.encode(["tailrace.record/1", topic, partition, offset])


def about_field(name: str) -> bytes:
    """What the envelope of a value is bound to."""
    return msgspec.json.encode(["tailrace.field/1", name])


def open_record(envelope: bytes, keys: Mapping[str, bytes], about: bytes) -> Record:
    """The record that was encrypted. Raises EnvelopeError."""
    return _RECORD.decode(open_envelope(envelope, keys, about))


def open_value(text: str, keys: Mapping[str, bytes], name: str) -> str:
    """The text of an encrypted value of a column. Raises EnvelopeError."""
    try:
        envelope = base64.urlsafe_b64decode(text)
    except ValueError:
        envelope = b""
    return open_envelope(envelope, keys, about_field(name)).decode()


def strictest(treatments: Iterable[Treatment]) -> Treatment:
    """Of several fields' treatments, the one for what is made of them.

    >>> strictest(["hash", "drop", "mask"])
    'drop'
    """
    return max(treatments, key=STRICTNESS.index)
