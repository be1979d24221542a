"""The memory that a model takes, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.errors import InputError
from flink_jobs.kubernetes import Measured, memory_of
from flink_jobs.registry import Registry
from flink_jobs.registry.footprint import footprint
from tests.helpers.registered import write


def test_it_is_what_any_python_with_these_libraries_takes_and_workers_get_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    before, after = footprint(registry.location("fraud", write(registry).version))
    assert 100 * 2**20 < before <= after < 2 * 2**30
    managed = memory_of(Measured(before, after)).options()["taskmanager.memory.managed.size"]
    assert int(managed.removesuffix("m")) * 2**20 >= after


def test_a_model_that_does_not_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not load, so its size is not known"):
        footprint(str(tmp_path / "nowhere"))
