"""Posts alerts to a web address from a thread of its own, in order, with retries.

Whoever submits keeps an alert until it is done, so that nothing is lost with the process.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog

from udfs.alerts.shapes import ShapeParams

if TYPE_CHECKING:
    import requests

MAX_PENDING = 10_000
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
# Answers that another attempt may change.
_TEMPORARY = frozenset({408, 425, 429})
log = structlog.get_logger(__name__)


class WebhookParams(msgspec.Struct, frozen=True):
    """`timeout_s` is how long an answer may take, `retries` how often more an alert is sent.

    `windows` are those that watch the job: their lengths in ms by the schema of their records.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    retries: int = 5
    shape: ShapeParams = ShapeParams()
    windows: dict[str, int] = {}

    def __repr__(self) -> str:
        """The address may hold a secret, as do headers."""
        return f"WebhookParams({self.host!r})"

    @property
    def host(self) -> str:
        """What may be shown of the address."""
        return urlsplit(self.url).hostname or ""


class Sender:
    """One thread that sends one alert after the other: a resolved alert never overtakes its firing."""

    def __init__(self, params: WebhookParams, first_wait_s: float = _FIRST_WAIT) -> None:
        self._params = params
        self._first_wait = first_wait_s
        self._queue: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self._open = 0
        self._changed = threading.Condition()
        self._closed = threading.Event()

    def start(self) -> None:
        """A daemon thread: it must not hold up the end of a worker."""
        threading.Thread(target=self._run, name="tailrace-webhook", daemon=True).start()

    def submit(self, number: int, body: bytes) -> None:
        """Returns at once."""
        with self._changed:
            self._open += 1
        self._queue.put((number, body))

    def done(self) -> list[tuple[int, bool]]:
        """The alerts that were delivered, or given up, since the last call."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._done.get_nowait())
        return found

    def wait(self, seconds: float) -> bool:
        """Waits until all is done; False after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def close(self) -> None:
        """Lets the thread end after the attempt that it is in."""
        self._closed.set()

    def _run(self) -> None:
        import requests  # Start-up: only workers post.  # noqa: PLC0415

        with requests.Session() as session:
            while not self._closed.is_set():
                try:
                    number, body = self._queue.get(timeout=1.0)
                except queue.Empty:
                    continue
                delivered = self._deliver(session, body)
                if delivered is None:
                    return
                self._done.put((number, delivered))
                with self._changed:
                    self._open -= 1
                    self._changed.notify_all()

    def _deliver(self, session: requests.Session, body: bytes) -> bool | None:
        """None when the sender was closed before it was decided."""
        wait, reason = self._first_wait, ""
        for attempt in range(self._params.retries + 1):
            if attempt and self._closed.wait(wait):
                return None
            wait = min(2 * wait, _LONGEST_WAIT) if attempt else wait
            reason, again = self._post(session, body)
            if not reason:
                return True
            log.warning("webhook.failed", host=self._params.host, attempt=attempt + 1, reason=reason)
            if not again:
                break
        log.error("webhook.gave_up", host=self._params.host, reason=reason)
        return False

    def _post(self, session: requests.Session, body: bytes) -> tuple[str, bool]:
        """Why it failed, or nothing, and whether to try again; an error's own text would show the address."""
        import requests  # Start-up: only workers post.  # noqa: PLC0415

        headers = {"Content-Type": "application/json", **dict(self._params.headers)}
        timeout = self._params.timeout_s
        try:
            answer = session.post(
                self._params.url, body, headers=headers, timeout=timeout, allow_redirects=False
            )
        except requests.RequestException as error:
            return type(error).__name__, True
        if 200 <= answer.status_code < 300:
            return "", False
        return f"HTTP {answer.status_code}", answer.status_code >= 500 or answer.status_code in _TEMPORARY
