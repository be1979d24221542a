"""For unit tests: `memory://` as a store that many can read at once, and commands that are assembled once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import typer.main
import typer.testing

import tests.helpers.memory_store  # noqa: F401  # registers itself with fsspec


@pytest.fixture(scope="session", autouse=True)
def _commands_assembled_once() -> Iterator[None]:
    """Typer assembles all commands anew for each call, which takes longer than most calls."""
    assembled = cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", assembled)
        patch.setattr(typer.testing, "_get_command", assembled)
        yield
