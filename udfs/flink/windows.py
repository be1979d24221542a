"""Keeps windows of event time in Flink's keyed state, and tells when an input has gone quiet.

The drift monitor and the comparison of versions both close windows by the watermark, or when nothing has come
for a while. Timers of event time fire at a window's last millisecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

from udfs.flink.results import BYTES

# Fires when the watermark says that nothing follows.
END_OF_INPUT = 2**63 - 2
Piece = TypeVar("Piece")
Value = TypeVar("Value")


class WindowCodec(NamedTuple, Generic[Piece, Value]):
    """How state holds a window's value, and how pieces are added to it.

    `join` gets the start of the window, its value so far or None, and the pieces.
    """

    join: Callable[[int, Value | None, list[Piece]], Value]
    dump: Callable[[Value], Any]
    load: Callable[[Any], Value]
    type: Any = BYTES


class Sum(Protocol):
    """What others of its kind are added to."""

    def add(self, other: Self, /) -> None: ...


ASum = TypeVar("ASum", bound=Sum)


def added_up(new: Callable[[], ASum]) -> Callable[[int, ASum | None, list[ASum]], ASum]:
    """The `join` of windows whose pieces are sums as their values are; `new` makes one of nothing."""

    def join(_start: int, value: ASum | None, pieces: list[ASum]) -> ASum:
        total = new() if value is None else value
        for piece in pieces:
            total.add(piece)
        return total

    return join


class WindowMap(Generic[Piece, Value]):
    """Windows by their start, in map state of this name."""

    def __init__(self, context: RuntimeContext, name: str, codec: WindowCodec[Piece, Value]) -> None:
        self._codec = codec
        self._state = context.get_map_state(MapStateDescriptor(name, Types.LONG(), codec.type))
        self._restored = False

    def starts(self) -> list[int]:
        """In ascending order."""
        return sorted(self._state.keys())

    def has(self, start: int) -> bool:
        return bool(self._state.contains(start))

    def get(self, start: int) -> Value | None:
        kept = self._state.get(start)
        return self._codec.load(kept) if kept is not None else None

    def pop(self, start: int) -> Value | None:
        """The value of a window, which is then forgotten."""
        value = self.get(start)
        if value is not None:
            self._state.remove(start)
        return value

    def add(self, start: int, pieces: list[Piece]) -> None:
        """Adds pieces to one window."""
        self._state.put(start, self._codec.dump(self._codec.join(start, self.get(start), pieces)))

    def add_all(self, pieces: Iterable[tuple[int, Piece]]) -> list[int]:
        """Adds pieces to their windows; the starts of those that need a timer.

        These are those that got pieces, and the first time after a start of the job all: a watermark that
        waits for the end of a bundle fires its timers when a checkpoint ends that bundle, and the checkpoint
        has neither these timers nor what they did.
        """
        by_start: dict[int, list[Piece]] = {}
        for start, piece in pieces:
            by_start.setdefault(start, []).append(piece)
        for start, of_window in by_start.items():
            self.add(start, of_window)
        if self._restored:
            return list(by_start)
        self._restored = True
        return [start for start in self.starts() if start >= 0]


class ClosingWindows(WindowMap[Piece, Value]):
    """Windows of one length that are closed in turn; what comes for a closed one counts in the next."""

    def __init__(
        self,
        context: RuntimeContext,
        length_ms: int,
        codec: WindowCodec[Piece, Value],
        *,
        name: str = "windows",
        closed_until: str = "closed_until",
    ) -> None:
        super().__init__(context, name, codec)
        self._length_ms = length_ms
        self._closed_until = context.get_state(ValueStateDescriptor(closed_until, Types.LONG()))

    def open_start(self, start: int) -> int:
        """The start of the window in which this one's records count now."""
        return max(start, self._closed_until.value() or 0)

    def receive(self, pieces: Iterable[tuple[int, Piece]], timers: Any) -> None:
        """Adds pieces to windows that are open, and sees to it that these are closed by the watermark."""
        for start in self.add_all((self.open_start(start), piece) for start, piece in pieces):
            timers.register_event_time_timer(start + self._length_ms - 1)

    def close(self, start: int) -> Value | None:
        """The value of a window, which is then closed; None if there is no such window."""
        value = self.pop(start)
        if value is not None:
            self._closed_until.update(self.open_start(start + self._length_ms))
        return value


class IdleClock:
    """Tells by the wall clock when nothing has come for `idle_ms`.

    It starts with the first element or timer after each start of the job: while a job is down its input is
    not quiet, and timers restored from before must not close windows whose records are still to be read.
    """

    def __init__(self, idle_ms: int) -> None:
        self._idle_ms = idle_ms
        self._since: int | None = None

    def restart(self, timers: Any) -> None:
        """Counts from now on. Timers are on whole seconds, so that many elements share one."""
        self._since = now = timers.current_processing_time()
        timers.register_processing_time_timer((now + self._idle_ms) // 1000 * 1000 + 1001)

    def is_over(self, timers: Any) -> bool:
        """Whether the input is quiet, as a timer of the wall clock fires."""
        if self._since is None:
            self.restart(timers)
            return False
        return bool(timers.current_processing_time() - self._since >= self._idle_ms)
