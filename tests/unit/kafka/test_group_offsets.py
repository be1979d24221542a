"""A broker that has just started, and says for a while that it is not the group's coordinator."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from flink_jobs.errors import WorkError
from flink_jobs.kafka import ClientSettings, admin

SETTINGS = ClientSettings("127.0.0.1:1")


class Young:
    """A consumer that is refused so many times, with this error."""

    def __init__(self, times: int, code: int) -> None:
        self.times, self.code, self.closed = times, code, False

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.times -= 1
        if self.times >= 0:
            raise KafkaException(KafkaError(self.code))
        return [TopicPartition("t", each.partition, each.partition - 1) for each in places]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    def ask(young: Young) -> dict[int, int]:
        monkeypatch.setattr(admin, "Consumer", lambda _: young)
        monkeypatch.setattr(admin, "end_offsets", lambda *_: {0: 9, 1: 9, 2: 9})
        monkeypatch.setattr("time.sleep", lambda _: None)
        return admin.committed_offsets(SETTINGS, "g", "t")

    return ask


@pytest.mark.parametrize("code", [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
def test_it_is_asked_again_and_partitions_without_an_offset_are_none(asked: Any, code: int) -> None:
    young = Young(3, code)
    assert asked(young) == {1: 0, 2: 1}
    assert young.closed


def test_a_refusal_that_stays_is_told_and_the_consumer_closed(asked: Any) -> None:
    young = Young(1, KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(WorkError, match="right Read on group 'g'"):
        asked(young)
    assert young.closed
