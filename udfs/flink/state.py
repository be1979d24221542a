"""Has PyFlink send what a bundle has changed of its state at once, instead of waiting for each key and state.

A bundle of windows changes some sixty of them; for each the worker would go to sleep until Java has answered.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from typing import Any

from udfs.flink.patching import patch

# So many requests are on their way: their blobs are held as long.
UNANSWERED = 8


class _Sent(threading.local):
    """What this thread has sent and not waited for, while it commits."""

    futures: deque[Any] | None = None


_sent = _Sent()


@functools.cache
def commit_together() -> None:
    """For all keyed state of this process. Java has answered all of it when a bundle ends, as before.

    Raises RuntimeError where Beam and PyFlink have no such methods: in a version that is not known.
    """
    # Workers only: slow.
    from apache_beam.runners.worker.sdk_worker import GrpcStateHandler  # noqa: PLC0415
    from pyflink.fn_execution.state_impl import RemoteKeyedStateBackend  # noqa: PLC0415

    patch(GrpcStateHandler, "append_raw", later)
    patch(GrpcStateHandler, "clear", later)
    patch(RemoteKeyedStateBackend, "commit", together)


def together(commit: Any) -> Any:
    """A commit that ends when all is answered; raises RuntimeError for what Java could not do."""

    @functools.wraps(commit)
    def committed(*arguments: Any) -> None:
        sent = _sent.futures = deque[Any]()
        try:
            commit(*arguments)
        finally:
            _sent.futures = None
        while sent:
            _answered(sent.popleft())

    return committed


def later(send: Any) -> Any:
    """A request that, within a commit, is not waited for until others have been sent."""

    @functools.wraps(send)
    def sending(*arguments: Any) -> Any:
        future, sent = send(*arguments), _sent.futures
        if sent is None:
            return future
        sent.append(future)
        if len(sent) > UNANSWERED:
            _answered(sent.popleft())
        return type(future).done()

    return sending


def _answered(future: Any) -> None:
    if error := future.get().error:
        raise RuntimeError(f"Flink could not change the state: {error}")
