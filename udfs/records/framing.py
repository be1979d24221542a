r"""Confluent's wire format: a zero byte, the id of a schema in four bytes, then the record.

>>> schema_id(b"\x00\x00\x00\x00\x07abc")
7
"""

from __future__ import annotations

from typing import NoReturn

from udfs.records.problems import Problem, RejectedError

HEAD = 5
# AWS Glue's: a version, how it is compressed, the UUID of a schema's version.
GLUE_HEAD = 18


def schema_id(raw: bytes) -> int:
    """Raises RejectedError for bytes without an id."""
    if len(raw) < HEAD or raw[0]:
        reject("not_framed", f"expected a zero byte and the id of a schema, got {_instead(raw)}")
    return int.from_bytes(raw[1:HEAD], "big")


def _instead(raw: bytes) -> str:
    if len(raw) < HEAD:
        return "a shorter value"
    if len(raw) >= GLUE_HEAD and raw[0] == 3 and raw[1] in (0, 5):
        return "the first bytes of AWS Glue's header: its registry is not asked (source.framing: glue)"
    return "another first byte"


def check_value(raw: bytes | None, max_bytes: int) -> bytes:
    """The value, if there is one and it is not too large. Raises RejectedError."""
    if raw is None:
        reject("tombstone", "the record has no value")
    if not raw:
        reject("empty", "the value is empty")
    check_size(raw, max_bytes)
    return raw


def check_size(raw: bytes, max_bytes: int) -> None:
    """Raises RejectedError for what is too large."""
    if len(raw) > max_bytes:
        reject("too_large", f"expected at most {max_bytes} bytes, got {len(raw)}")


def text_of(raw: bytes) -> str:
    """Raises RejectedError for what is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        reject("invalid_utf8", f"byte {error.start} is not valid UTF-8")


def reject(reason: str, message: str) -> NoReturn:
    """Raises RejectedError of the stage `decode`."""
    raise RejectedError(Problem("decode", reason, message))
