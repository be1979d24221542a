"""All jobs here are given warm workers."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _warm_workers(warm_workers: None) -> None:
    """As `tests.helpers.warm_workers` says."""
