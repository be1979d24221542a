"""For unit tests: `memory://` as a store that many can read at once, and what is done once for all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer.main
import typer.testing
from ruamel.yaml.events import StreamEndEvent

import tests.helpers.memory_store  # noqa: F401  # registers itself with fsspec
from flink_jobs.jobfile import reader
from flink_jobs.kafka import admin


@pytest.fixture(scope="session", autouse=True)
def _commands_assembled_once() -> Iterator[None]:
    """Typer assembles all commands anew for each call, which takes longer than most calls."""
    assembled = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", assembled)
        patch.setattr(typer.testing, "_get_command", assembled)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_broker_comes_up() -> Iterator[None]:
    """Commands wait a while for brokers that refuse them, which here are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admin, "_REFUSED_AFTER", -1.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _texts_parsed_once() -> Iterator[None]:
    """Many tests read the same job file: its events, which nobody changes, are kept if it has no mistake."""
    parse = reader._events
    known: dict[str, tuple[Any, ...]] = {}

    def events(text: str) -> Iterator[Any]:
        if text in known:
            yield from known[text]
            return
        seen = []
        for event in parse(text):
            seen.append(event)
            if isinstance(event, StreamEndEvent):  # after which nobody asks for more
                known[text] = tuple(seen)
            yield event

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_events", events)
        yield
