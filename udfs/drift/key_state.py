"""The keys of open windows in Flink's map state, in small pieces: what is written grows with what is new.

    store = KeyStore(runtime_context.get_map_state(...))
    store.add(start, part)
    store.duplicates(start)      # {version: (repeats, sample)}
    store.remove(start)

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
        place = (start, part.version)
        before = self._load(place)
        after, new = before.added(part.hashes, part.levels)
        self._known[place] = after
        if after.lowest != before.lowest:
            self._drop_pieces(place)
            self._tails[place] = (0, b"")
        self._append(place, new.tobytes())
        head = _Head(after.lowest, dict(after.levels), len(after.hashes))
        self._state.put(_name(place, "head"), msgspec.msgpack.encode(head))

    def duplicates(self, start: int) -> dict[int, tuple[int, int]]:
        """Of each version that the window has records of."""
        return {place[1]: self._load(place).duplicates() for place in self._places() if place[0] == start}

    def remove(self, start: int) -> None:
        """Forgets a window."""
        for place in self._places():
            if place[0] == start:
                self._drop_pieces(place)
                self._state.remove(_name(place, "head"))
                self._known.pop(place, None)
                self._tails.pop(place, None)

    def _places(self) -> list[tuple[int, int]]:
        names = [name.split("/") for name in list(self._state.keys())]
        return sorted((int(start), int(version)) for start, version, piece in names if piece == "head")

    def _load(self, place: tuple[int, int]) -> Keys:
        if place not in self._known:
            stored = self._state.get(_name(place, "head"))
            if stored is None:
                self._tails[place] = (0, b"")
                return Keys()
            head = _decoder.decode(bytes(stored))
            pieces = [bytes(self._state.get(_name(place, piece))) for piece in range(_pieces(head.size))]
            hashes = np.frombuffer(b"".join(pieces), dtype=np.uint64)
            self._known[place] = Keys(np.sort(hashes), head.lowest, head.levels)
            full = head.size // CHUNK
            self._tails[place] = (full, b"".join(pieces[full:]))
        return self._known[place]

    def _append(self, place: tuple[int, int], data: bytes) -> None:
        number, tail = self._tails[place]
        tail += data
        while tail:
            piece, rest = tail[: 8 * CHUNK], tail[8 * CHUNK :]
            self._state.put(_name(place, number), piece)
            if len(piece) < 8 * CHUNK:
                break
            number, tail = number + 1, rest
        self._tails[place] = (number, tail)

    def _drop_pieces(self, place: tuple[int, int]) -> None:
        prefix, head = _name(place, ""), _name(place, "head")
        for name in list(self._state.keys()):
            if name.startswith(prefix) and name != head:
                self._state.remove(name)


def _pieces(size: int) -> int:
    return -(-size // CHUNK)


def _name(place: tuple[int, int], piece: int | str) -> str:
    return f"{place[0]}/{place[1]}/{piece}"
