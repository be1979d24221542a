r"""Bytes in records: as they are, or in text as base64, which columns have.

>>> is_base64("AP8="), is_base64("AP9="), bytes_text(b"\x00\xff"), byte_length("AP8=")
(True, False, 'AP8=', 2)
"""

from __future__ import annotations

import base64
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# Each bytes have one text: padded, and without bits that say nothing.
BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"


def is_base64(text: str) -> bool:
    """Whether it is base64 as RFC 4648 has it."""
    return re.fullmatch(BASE64, text) is not None


def are_base64(texts: pa.ChunkedArray) -> bool:
    """Whether all are that, or null."""
    return pc.all(pc.match_substring_regex(texts, rf"\A(?:{BASE64})\z")).as_py() is not False


def bytes_text(value: object) -> object:
    """Bytes as base64; text, which is that already, and null stay."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def byte_length(text: str) -> int:
    """How many bytes the base64 is."""
    return len(text) // 4 * 3 - text.count("=")


def byte_lengths(texts: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
    """The same of texts, none of which is null."""
    lengths: npt.NDArray[np.int64] = pc.binary_length(texts).cast(pa.int64()).to_numpy()
    padding: npt.NDArray[np.int64] = pc.count_substring(texts, "=").cast(pa.int64()).to_numpy()
    return lengths // 4 * 3 - padding
