"""Repeated keys: exact while there are few, the same in any order, and of bounded size for any number."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from udfs.drift import key_state
from udfs.drift.key_state import KeyStore
from udfs.profile import keys
from udfs.profile.keys import KeyPart, Keys, hash_keys, key_parts

HOUR = 3_600_000


class Table:
    """Flink's map state as far as it is used, as a dictionary."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.written = 0

    def put(self, name: str, value: bytes) -> None:
        self.data[name] = value
        self.written += len(value)

    def get(self, name: str) -> bytes | None:
        return self.data.get(name)

    def remove(self, name: str) -> None:
        del self.data[name]

    def keys(self) -> list[str]:
        return list(self.data)


def parts(texts: list[str | None], batch: int, seed: int = 0) -> list[KeyPart]:
    shuffled = random.Random(seed).sample(texts, len(texts))
    found = []
    for i in range(0, len(shuffled), batch):
        column = pa.array(shuffled[i : i + batch], pa.string())
        found += key_parts(column, np.full(len(column), 5), HOUR, 1)
    return found


def stored(found: list[KeyPart]) -> tuple[KeyStore, Table]:
    table = Table()
    store = KeyStore(table)
    for part in found:
        store.add(part.start, part)
    return store, table


@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_repeats_are_counted_exactly(batch: int) -> None:
    draw = random.Random(1)
    texts: list[str | None] = [f"key-{draw.randrange(600)}" for _ in range(1_000)] + [None] * 20
    distinct = len(set(texts) - {None})
    store, _ = stored(parts(texts, batch, seed=batch))
    assert store.duplicates(0) == {1: (1_000 - distinct, 1)}


def test_beyond_the_limit_a_sample_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in any order and from any batches."""
    monkeypatch.setattr(keys, "MAX_KEYS", 1_000)
    monkeypatch.setattr(key_state, "CHUNK", 64)
    texts: list[str | None] = [f"key-{i % 20_000}" for i in range(26_000)]
    results, sizes = set(), []
    for batch in (50, 999, 26_000):
        store, table = stored(parts(texts, batch, seed=batch))
        results.add(store.duplicates(0)[1])
        sizes.append(sum(map(len, table.data.values())))
    ((repeats, sample),) = results
    assert sample == 32
    assert repeats == pytest.approx(6_000, rel=0.2)
    assert max(sizes) < 8 * 1_000 + 500


def test_a_restart_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 500)
    monkeypatch.setattr(key_state, "CHUNK", 16)
    texts: list[str | None] = [f"key-{i % 900}" for i in range(2_000)]
    found = parts(texts, 30)
    whole, _ = stored(found)
    table = Table()
    for part in found:
        KeyStore(table).add(part.start, part)  # each time from the state alone
    assert KeyStore(table).duplicates(0) == whole.duplicates(0)
    KeyStore(table).remove(0)
    assert table.data == {}


def test_little_is_written_for_little_that_is_new() -> None:
    _, table = stored(parts([f"key-{i}" for i in range(40_000)], 100))
    assert table.written < 40_000 * 8 * 30


def test_windows_and_versions_are_apart() -> None:
    times = np.array([0, 1, HOUR, HOUR + 1])
    found = key_parts(pa.array(["a", "a", "a", "b"]), times, HOUR, 3)
    store, _ = stored(found)
    store.add(0, KeyPart(0, 4, found[0].hashes, found[0].levels))
    assert store.duplicates(0) == {3: (1, 1), 4: (1, 1)}
    assert store.duplicates(HOUR) == {3: (0, 1)}
    store.remove(0)
    assert (store.duplicates(0), store.duplicates(HOUR)) == ({}, {3: (0, 1)})


def test_levels_halve() -> None:
    """The hash is good enough to sample by."""
    levels = Counter(keys._levels(hash_keys(pa.array([str(i) for i in range(64_000)]))).tolist())
    for level in range(6):
        assert levels[level] == pytest.approx(64_000 / 2 ** (level + 1), rel=0.1)
    assert keys._levels(np.array([0, 1, 2, 2**63], dtype=np.uint64)).tolist() == [64, 0, 1, 63]
    assert Keys().duplicates() == (0, 1)


def test_hashes_are_the_same_on_every_machine() -> None:
    expected = [1760245841805064774, 13950350942979735504, 6689755093696353227]
    assert hash_keys(pa.array(["", "a", "ü"])).tolist() == expected
