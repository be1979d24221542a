"""State is sent at once when a bundle ends; the adversary is a Java that answers late, or with an error.

The state is PyFlink's own, and so is what sends it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from udfs.flink.state import UNANSWERED, commit_together


class Java:
    """Answers when it has so many requests, or all that come before it is told to go on."""

    def __init__(self, at_once: int, error: str = "") -> None:
        self.taken: list[Any] = []
        self.most = 0
        self._at_once, self._error = at_once, error

    def State(self, requests: Iterator[Any]) -> Iterator[Any]:  # noqa: N802 (Beam's name)
        """What Beam's worker calls; it reads the answers in a thread of its own."""
        from apache_beam.portability.api.org.apache.beam.model.fn_execution.v1 import beam_fn_api_pb2

        waiting: list[Any] = []
        for request in requests:
            self.taken.append(request)
            waiting.append(request)
            self.most = max(self.most, len(waiting))
            if len(waiting) == self._at_once:
                for each in waiting:
                    yield beam_fn_api_pb2.StateResponse(id=each.id, error=self._error)
                waiting = []


def commit(java: Java, keys: int, seconds: float = 10.0) -> None:
    """Of so many keys, each with a blob in a map; raises TimeoutError if both sides wait."""
    failed: list[Exception] = []

    def committed() -> None:
        try:
            _commit(java, keys)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=committed, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if failed:
        raise failed[0]


def _commit(java: Any, keys: int) -> None:
    from apache_beam.coders import BytesCoder, VarIntCoder
    from apache_beam.runners.worker.sdk_worker import GlobalCachingStateHandler, GrpcStateHandler
    from apache_beam.runners.worker.statecache import StateCache
    from pyflink.fn_execution.state_impl import RemoteKeyedStateBackend

    commit_together()
    handler = GlobalCachingStateHandler(StateCache(1 << 20), GrpcStateHandler(java))
    coder = SimpleNamespace(get_impl=lambda: SimpleNamespace(encode=lambda key: str(key).encode()))
    backend = RemoteKeyedStateBackend(handler, coder, None, 1_000, 1_000, 1_000)
    state = backend.get_map_state("pending", VarIntCoder(), BytesCoder())
    with handler.process_instruction_id("1", []):
        for key in range(keys):
            backend.set_current_key(key)
            state.put(key, b"blob")
        backend.commit()
    handler.done()


def test_keys_are_sent_before_the_first_is_answered() -> None:
    java = Java(at_once=UNANSWERED)
    commit(java, UNANSWERED)
    sent = [request.state_key.multimap_side_input.key for request in java.taken]
    assert sorted(sent) == [str(key).encode() for key in range(UNANSWERED)]


def test_few_blobs_are_on_their_way_however_many_a_bundle_has() -> None:
    with pytest.raises(TimeoutError):
        commit(java := Java(at_once=UNANSWERED + 2), 3 * UNANSWERED, seconds=0.5)
    assert java.most == UNANSWERED + 1


def test_what_java_could_not_do_fails_the_bundle() -> None:
    with pytest.raises(RuntimeError, match="the disk is full"):
        commit(Java(at_once=1, error="the disk is full"), 3)
