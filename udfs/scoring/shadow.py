"""A version that scores beside the champion, in a process of its own: it can neither change nor stop it.

A shadow that hangs is killed; one that fails three times in a row is switched off.
`udfs.scoring.shadow_server` is what runs in the process.
"""

from __future__ import annotations

import os
import queue
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import IO

import msgspec
import pyarrow as pa
import structlog

from udfs.errors import ModelError
from udfs.model.signatures import Trust
from udfs.rollout.events import Event
from udfs.types import ColumnType

MAX_CONSECUTIVE_FAILURES = 3
START_SECONDS = 60.0
_LENGTH = struct.Struct("<Q")
log = structlog.get_logger(__name__)


class ShadowParams(msgspec.Struct, frozen=True):
    """What the process is told: which version, whose digest must be this, fed by (name, column, type).

    With `explain` it explains what it predicts too, and tells nothing of that. If it is `private`, it reads
    personal data, and only the kinds of its errors are told.
    """

    folder: str
    digest: str | None
    inputs: tuple[tuple[str, str, ColumnType], ...]
    threshold: float = 0.5
    trust: Trust = Trust()
    explain: int = 0
    private: bool = False


@dataclass(frozen=True)
class ShadowRequest:
    """A question to a shadow, with the time on the steady clock at which it was asked."""

    answer: Future[pa.Table]
    asked: float


class Shadow:
    """Starts the process at once, in a thread that also talks to it; never raises.

    `find` tells what to load, called in that thread; it may raise ModelError. The model must be loaded within
    `start_s`; so long the first question waits for it, if it `waits`.
    """

    def __init__(
        self,
        version: int,
        find: Callable[[], ShadowParams],
        timeout_s: float,
        release: int = 0,
        start_s: float = START_SECONDS,
        *,
        waits: bool = True,
    ) -> None:
        self.version, self.release = version, release
        self.off = False
        self.consecutive_failures = 0
        self._find, self._timeout, self._start = find, timeout_s, start_s
        self._columns: list[str] = []
        self._events: deque[Event] = deque()
        self._questions: queue.Queue[tuple[bytes, Future[pa.Table]] | None] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._waited = not waits
        self._thread = self._begin()

    def ask(self, featured: pa.Table) -> ShadowRequest | None:
        """Hands over the rows' columns; None while it is not ready."""
        if self.off:
            return None
        if not self._is_ready():
            return None
        answer: Future[pa.Table] = Future()
        try:
            inputs = featured.select(self._columns)
            self._questions.put((to_ipc(inputs), answer))
        except Exception as error:  # nothing of a shadow may reach the champion
            answer.set_exception(error)
        return ShadowRequest(answer, time.monotonic())

    def answer(self, request: ShadowRequest) -> pa.Table | None:
        """Returns rows of `prediction`, `score` …, `error` (text of a failure); None: no answer in time."""
        try:
            table = request.answer.result(max(request.asked + self._timeout - time.monotonic(), 0.0))
        except FutureTimeoutError:
            self._strike(f"no answer within {self._timeout:g} s")
            return None
        except Exception as error:
            self._strike(str(error) or type(error).__name__)
            return None
        failed = table.column("error")
        if table.num_rows and failed.null_count == 0:
            self._strike(f"it fails on every row: {failed[0].as_py()}", restart=False)
        else:
            self.consecutive_failures = 0
        return table

    def take_events(self) -> list[Event]:
        return [self._events.popleft() for _ in range(len(self._events))]

    def close(self) -> None:
        self.off = True
        self._kill()

    def _is_ready(self) -> bool:
        """The first question may wait, so that a job that starts with a shadow has all of it."""
        wait = 0.0 if self._waited else self._start
        self._waited = True
        if self._ready.wait(wait):
            return not self.off
        if time.monotonic() - self._begun > self._start:
            self._switch_off(f"it is not loaded within {self._start:g} s")
        return False

    def _begin(self) -> threading.Thread:
        self._ready.clear()
        self._begun = time.monotonic()
        self._questions = queue.Queue()
        thread = threading.Thread(
            target=self._run, args=(self._questions,), name=f"shadow-{self.version}", daemon=True
        )
        thread.start()
        return thread

    def _strike(self, reason: str, *, restart: bool = True) -> None:
        if self.off:
            return
        self.consecutive_failures += 1
        log.warning(
            "shadow_failed",
            version=self.version,
            reason=reason,
            consecutive_failures=self.consecutive_failures,
        )
        if self.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            self._switch_off(reason)
        elif restart:
            self._kill()
            self._thread = self._begin()

    def _switch_off(self, reason: str) -> None:
        self.off = True
        self._events.append(Event("shadow_off", self.version, self.release, reason))
        self._kill()

    def _kill(self) -> None:
        process, self._process = self._process, None
        self._ready.clear()
        self._questions.put(None)
        if process:
            process.kill()

    def _run(self, questions: queue.Queue[tuple[bytes, Future[pa.Table]] | None]) -> None:
        """The life of one process."""
        try:
            process = self._process = start_server()
        except OSError as error:
            self._switch_off(f"it cannot be started: {error}")
            return
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            params = self._find()
            self._columns = sorted({column for _, column, _ in params.inputs})
            write_frame(process.stdin, msgspec.msgpack.encode(params))
            if refusal := read_frame(process.stdout):
                raise ModelError(refusal.decode())
            if process is self._process:
                self._ready.set()
            while (question := questions.get()) is not None:
                _pass_on(question, process.stdin, process.stdout)
        except (ModelError, OSError, EOFError) as error:
            if process is self._process and not self.off:
                self._switch_off(f"it cannot be started: {error}")
        finally:
            process.kill()
            process.stdin.close()
            process.stdout.close()
            process.wait()


def start_server() -> subprocess.Popen[bytes]:
    """With the same import path: Flink ships this code to a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-m", "udfs.scoring.shadow_server", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _pass_on(question: tuple[bytes, Future[pa.Table]], to: IO[bytes], back: IO[bytes]) -> None:
    data, answer = question
    try:
        write_frame(to, data)
        reply = read_frame(back)
        answer.set_result(pa.ipc.open_stream(reply).read_all())
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        answer.set_exception(EOFError(f"its process has ended: {error}"))


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def write_frame(pipe: IO[bytes], data: bytes) -> None:
    """Writes bytes after their length."""
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes:
    """Raises EOFError when the other side is gone."""
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return _exactly(pipe, size)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if data is None or len(data) < size:
        raise EOFError("the pipe was closed")
    return data
