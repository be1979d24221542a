"""Fixtures for all tests: one real broker a session, fresh topic names."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.testing import Broker, broker

__all__ = ["broker"]


@pytest.fixture(scope="session")
def kafka(broker: Broker) -> ClientSettings:
    """How to reach the session's broker."""
    return ClientSettings(broker.bootstrap)


@pytest.fixture
def new_topic(kafka: ClientSettings) -> Callable[..., str]:
    """Creates a topic with a name of its own: new_topic(partitions=1) -> name."""

    def create(partitions: int = 1, **config: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        create_topics(
            kafka, {name: partitions}, {key.replace("_", "."): value for key, value in config.items()}
        )
        return name

    return create
