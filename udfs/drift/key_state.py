"""Keeps the keys of open windows in Flink's map state, in pieces: what is written grows with what is new.

What is read is kept in memory too. The state alone counts: after a restart it is read again.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from udfs.profile.keys import KeyPart, Keys

CHUNK = 4_096


class _Head(msgspec.Struct, array_like=True):
    lowest: int
    levels: dict[int, int]
    size: int


_decoder = msgspec.msgpack.Decoder(_Head)


class KeyStore:
    """`state` maps text to bytes; its keys are start/version/piece."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._known: dict[tuple[int, int], Keys] = {}
        # In the order in which they came, as the pieces hold them.
        self._tails: dict[tuple[int, int], tuple[int, bytes]] = {}

    def add(self, start: int, part: KeyPart) -> None:
        """Counts the part in the window that begins at `start`."""
        window = (start, part.version)
        before = self._load(window)
        after, new = before.added(part.hashes, part.levels)
        self._known[window] = after
        if after.lowest != before.lowest:
            self._drop_pieces(window)
            self._tails[window] = (0, b"")
        self._append(window, new.tobytes())
        head = _Head(after.lowest, dict(after.levels), len(after.hashes))
        self._state.put(_name(window, "head"), msgspec.msgpack.encode(head))

    def duplicates(self, start: int) -> dict[int, tuple[int, int]]:
        """Of each version that the window has records of."""
        return {window[1]: self._load(window).duplicates() for window in self._stored() if window[0] == start}

    def remove(self, start: int) -> None:
        """Forgets a window."""
        for window in self._stored():
            if window[0] == start:
                self._drop_pieces(window)
                self._state.remove(_name(window, "head"))
                self._known.pop(window, None)
                self._tails.pop(window, None)

    def _stored(self) -> list[tuple[int, int]]:
        names = [name.split("/") for name in list(self._state.keys())]
        return sorted((int(start), int(version)) for start, version, piece in names if piece == "head")

    def _load(self, window: tuple[int, int]) -> Keys:
        if window not in self._known:
            stored = self._state.get(_name(window, "head"))
            if stored is None:
                self._tails[window] = (0, b"")
                return Keys()
            head = _decoder.decode(bytes(stored))
            pieces = [bytes(self._state.get(_name(window, piece))) for piece in range(_pieces(head.size))]
            hashes = np.frombuffer(b"".join(pieces), dtype=np.uint64)
            self._known[window] = Keys(np.sort(hashes), head.lowest, head.levels)
            full = head.size // CHUNK
            self._tails[window] = (full, b"".join(pieces[full:]))
        return self._known[window]

    def _append(self, window: tuple[int, int], data: bytes) -> None:
        number, tail = self._tails[window]
        tail += data
        while tail:
            piece, rest = tail[: 8 * CHUNK], tail[8 * CHUNK :]
            self._state.put(_name(window, number), piece)
            if len(piece) < 8 * CHUNK:
                break
            number, tail = number + 1, rest
        self._tails[window] = (number, tail)

    def _drop_pieces(self, window: tuple[int, int]) -> None:
        prefix, head = _name(window, ""), _name(window, "head")
        for name in list(self._state.keys()):
            if name.startswith(prefix) and name != head:
                self._state.remove(name)


def _pieces(size: int) -> int:
    return -(-size // CHUNK)


def _name(window: tuple[int, int], piece: int | str) -> str:
    return f"{window[0]}/{window[1]}/{piece}"
