"""What a replay makes of a client that purges the neighbours of a bad record, or is fenced amid callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, Message
from flink_jobs.kafka.replays import Note, Place, Replays, Sending

PLACE = Place("d", 0, 0)
NOTE = Note(action="replayed", record=PLACE, dead_letter=PLACE, first=PLACE, attempt=1, at="")


class Sent:
    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    offset = partition


class Client:
    """A producer for whom values of more than 9 bytes are too large; `fenced` is by another one."""

    def __init__(self, *, fenced: bool = False) -> None:
        self.fenced = fenced
        self.open: list[bytes] = []
        self.committed: list[bytes] = []
        self.waiting: list[tuple[bytes, Callable[..., None]]] = []

    def begin_transaction(self) -> None:
        self.open = []

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any, **_: Any) -> None:
        self.waiting.append((value if topic == "t" else b"", on_delivery))

    def poll(self, _: float) -> None:
        pass

    def flush(self, _: float) -> int:
        if self.fenced:
            error = KafkaError(KafkaError._FENCED, "fenced", fatal=True)
            raise SystemError("a result with an exception set") from KafkaException(error)
        too_large = any(len(value) > 9 for value, _ in self.waiting)
        for value, told in self.waiting:
            purged = KafkaError.MSG_SIZE_TOO_LARGE if len(value) > 9 else KafkaError._PURGE_QUEUE
            told(KafkaError(purged) if too_large else None, Sent())
            self.open += [value] if value else []
        self.waiting = []
        return 0

    def commit_transaction(self, _: float) -> None:
        self.committed += self.open

    def purge(self) -> None:
        self.open = []


class Tried(Replays):
    """Without a broker, whose notes end where this one has left them, and `more` of another one."""

    def __init__(self, client: Client, more: int = 0) -> None:
        super().__init__(ClientSettings("localhost:1"), "orders")
        self._producer = self.client = client
        self._known, self.more = {0: 7}, more

    def _open(self) -> Client:
        return self.client

    def _written(self) -> dict[int, int]:
        return {number: end + self.more for number, end in self._known.items()}


def sendings(*values: bytes) -> list[Sending]:
    return [Sending(str(number), NOTE, "t", Message(value, b"k")) for number, value in enumerate(values)]


def test_one_that_is_too_large_does_not_hold_up_its_neighbours() -> None:
    client = Client()
    batch = sendings(b"a", b"b", b"0123456789", b"c", b"d")
    assert Tried(client).send(batch) == [batch[2]]
    assert client.committed == [b"a", b"b", b"c", b"d"]


def test_who_is_fenced_amid_callbacks_is_told_so() -> None:
    with pytest.raises(WorkError, match="another replay of orders has taken over"):
        Tried(Client(fenced=True)).send(sendings(b"a"))


def test_who_begins_anew_sees_what_another_one_has_decided_meanwhile() -> None:
    """Else both would send the records that come after."""
    one = Tried(Client(), more=2)
    with pytest.raises(WorkError, match="another replay of orders has taken over"):
        one.send(sendings(b"a", b"0123456789"))
    assert one.client.committed == []
