"""For unit tests: `memory://` as a store that many can read at once, and what is done once for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
import typer.main
import typer.testing
from ruamel.yaml.events import StreamEndEvent

import tests.helpers.memory_store  # noqa: F401  # registers itself with fsspec
from flink_jobs.jobfile import reader
from flink_jobs.kafka import admin
from flink_jobs.registry import serialize, versions
from tests.helpers import registered


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


@pytest.fixture(scope="session", autouse=True)
def _small_versions_made_once() -> Iterator[None]:
    """Hundreds of tests write the same small model, of which a library says each time what it said before."""
    made = serialize.version_files
    known: dict[tuple[Any, ...], Any] = {}

    def version_files(
        model: Any, kind: Any, signature: Any, rows: Any, profile: Any, trusted: Any = ()
    ) -> Any:
        if model is not registered.MODEL or rows is not registered.ROWS:
            return made(model, kind, signature, rows, profile, trusted)
        key = (kind, msgspec.json.encode(signature), repr(profile), tuple(trusted))
        if key not in known:
            known[key] = made(model, kind, signature, rows, profile, trusted)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "version_files", version_files)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_power_is_cut() -> Iterator[None]:
    """Here files need not outlive the machine: to wait for the disk thousands of times takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
