"""Versions come and go without the scoring thread's help."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from udfs.errors import ModelError
from udfs.model.cache import VersionCache


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


def test_preparing_does_not_wait() -> None:
    gate, loaded = threading.Event(), []

    def load(number: int) -> Thing:
        gate.wait(10)
        loaded.append(number)
        return Thing(number)

    cache = VersionCache(load)
    cache.prepare([1, 2])
    assert loaded == []
    gate.set()
    assert cache.get(2).number == 2
    assert loaded == [1, 2]
    assert cache.get(2) is cache.get(2)


def test_a_failure_stays_until_it_is_forgotten() -> None:
    broken = {2}

    def load(number: int) -> Thing:
        if number in broken:
            raise OSError("no space left on device")
        return Thing(number)

    cache = VersionCache(load)
    assert "no space left" in str(cache.failure(2))
    broken.clear()
    with pytest.raises(ModelError, match="version 2 cannot be loaded: OSError"):
        cache.get(2)
    cache.forget_failures({1})
    assert cache.failure(2) is not None
    cache.forget_failures({1, 2})
    assert cache.get(2).number == 2


def test_what_is_not_kept_is_freed() -> None:
    closed: list[int] = []
    cache = VersionCache(Thing, close=lambda thing: closed.append(thing.number))
    first = weakref.ref(cache.get(1))
    cache.get(2)
    assert cache.held() == [1, 2]
    cache.keep({2})
    gc.collect()
    assert (cache.held(), closed, first()) == ([2], [1], None)
