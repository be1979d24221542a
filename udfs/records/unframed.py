r"""Records behind a header that is not looked into, Confluent's or AWS Glue's: the job has their schema.

>>> after_glue(b"\3\0" + bytes(16) + b"abc", 100)
b'abc'

Glue's header is a version, 3, how what follows is compressed, 0 or 5 for zlib, and the UUID of the schema's
version, 16 bytes (`GlueSchemaRegistrySerializer` of awslabs/aws-glue-schema-registry).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import pyarrow as pa

from udfs.records.decode import Decoder
from udfs.records.framing import GLUE_HEAD, HEAD, check_size, check_value, reject, schema_id
from udfs.records.problems import RejectedError

Framing = Literal["none", "confluent", "glue"]
_GLUE, _PLAIN, _ZLIB = 3, 0, 5


class UnframedDecoder:
    """Decodes what follows the header by another decoder; `after` gives that, of `max_bytes` at most."""

    def __init__(self, inner: Decoder, max_bytes: int, after: Callable[[bytes, int], bytes]) -> None:
        self.contract = inner.contract
        self.max_bytes = max_bytes
        self._inner = inner
        self._after = after

    def decode_columns(self, raws: Sequence[bytes | None]) -> pa.Table | None:
        """Columns of the whole batch, or None if any record is not plainly valid."""
        try:
            bodies = [self._body(raw) for raw in raws]
        except RejectedError:
            return None
        return self._inner.decode_columns(bodies)

    def decode_record(self, raw: bytes | None) -> Mapping[str, object]:
        """The columns of one record; raises RejectedError with the reason."""
        return self._inner.decode_record(self._body(raw))

    def _body(self, raw: bytes | None) -> bytes:
        return self._after(check_value(raw, self.max_bytes), self.max_bytes)


def after_confluent(value: bytes, _: int) -> bytes:
    """What follows the id. Raises RejectedError."""
    schema_id(value)
    return value[HEAD:]


def after_glue(value: bytes, max_bytes: int) -> bytes:
    """What follows Glue's header, at most `max_bytes`. Raises RejectedError."""
    if len(value) < GLUE_HEAD or value[0] != _GLUE:
        found = "a shorter value" if len(value) < GLUE_HEAD else f"the first byte {value[0]}"
        reject("not_framed", f"expected AWS Glue's header of {GLUE_HEAD} bytes, with 3 at first, got {found}")
    if value[1] == _PLAIN:
        return value[GLUE_HEAD:]
    if value[1] != _ZLIB:
        reject("not_framed", f"AWS Glue's header: expected compression 0 or 5, got {value[1]}")
    reader = zlib.decompressobj()
    try:
        body = reader.decompress(value[GLUE_HEAD:], max_bytes + 1)
    except zlib.error:
        reject("not_framed", "AWS Glue's header says zlib, which what follows is not")
    check_size(body, max_bytes)
    if not reader.eof or reader.unused_data:
        reject("not_framed", "AWS Glue's header says zlib, of which what follows is not one whole text")
    return body
