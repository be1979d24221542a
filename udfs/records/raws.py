"""The bytes of a batch's records as a sequence, where Arrow holds them in one piece.

>>> raws = Raws(pa.array([b"a", None, b"c"]))
>>> raws[0], raws[1:].joined(), raws[2:].joined(), list(raws)
(b'a', None, b'c', [b'a', None, b'c'])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import pyarrow as pa
import pyarrow.compute as pc

_EMPTY, _LINE_BREAK = pa.scalar(b"", pa.binary()), pa.scalar(b"\n", pa.binary())


class Raws(Sequence[bytes | None]):
    """`values` is a binary array; slices share its memory."""

    def __init__(self, values: pa.Array) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, at: int) -> bytes | None: ...

    @overload
    def __getitem__(self, at: slice) -> Raws: ...

    def __getitem__(self, at: int | slice) -> bytes | Raws | None:
        return Raws(self._values[at]) if isinstance(at, slice) else self._values[at].as_py()

    def __iter__(self) -> Iterator[bytes | None]:
        records: list[bytes | None] = self._values.to_numpy(zero_copy_only=False).tolist()
        return iter(records)

    def array(self) -> pa.Array:
        """The binary array."""
        return self._values

    def joined(self) -> bytes | None:
        """All records, a line break between; None if there is no record, or one without a value."""
        if not len(self) or self._values.null_count:
            return None
        lines = pc.binary_join_element_wise(self._values, _EMPTY, _LINE_BREAK)
        _, _, data = lines.buffers()
        whole: bytes = data.slice(0, data.size - 1).to_pybytes()
        return whole


def join_lines(raws: Sequence[bytes | None]) -> bytes | None:
    """The same of any sequence."""
    if isinstance(raws, Raws):
        return raws.joined()
    try:
        return b"\n".join(raws) or None  # type: ignore[arg-type]
    except TypeError:
        return None


def as_array(raws: Sequence[bytes | None]) -> pa.Array:
    """A binary array of any sequence."""
    return raws.array() if isinstance(raws, Raws) else pa.array(raws, pa.binary())
