"""A scheduler that is killed at any of its writes, or that runs twice: the log is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.registry.store import ClientStore
from flink_jobs.training.retrain import alone
from tests.helpers import loop
from udfs.releases import files
from udfs.releases.log import decode_release
from udfs.store import open_store

STEPS = [
    ("promote", ""),
    ("confirm", "train"), ("shadow", "shadow"), ("canary", "canary"), ("promote", "promote"),
    ("confirm", "train"), ("shadow", "shadow"), ("shadow", "drop"),
    ("confirm", "train"), ("shadow", "shadow"),
]  # fmt: skip
WRITES = len(STEPS) - 1 + 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a loop writes that nobody kills."""
    root = tmp_path_factory.mktemp("whole")
    loop.begin(root)
    assert in_a_process(lambda: loop.live(root)) == 0
    return loop.written(root)


def in_a_process(call: Callable[[], Any]) -> int:
    """Its exit code; a signal is negative."""
    child = os.fork()
    if child == 0:
        try:
            call()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(root: Path, write: int, *, after: bool) -> None:
    """The process is killed at its n-th write, just before or just after it."""
    seen = 0

    def dying(original: Callable[..., bool]) -> Callable[..., bool]:
        def call(*given: Any) -> bool:
            nonlocal seen
            seen += 1
            if seen == write and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            done = original(*given)
            if seen == write:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    store = type(open_store(root))
    store.write_once = dying(store.write_once)  # type: ignore[method-assign]
    ClientStore.write_folder = dying(ClientStore.write_folder)  # type: ignore[method-assign]
    loop.live(root)


def test_the_story_that_is_interrupted(whole: dict[str, bytes]) -> None:
    """A successor becomes champion; one fails and is dropped; no training for a week; a third."""
    names = sorted(name for name in whole if "releases" in name)
    records = [decode_release(whole[name], number) for number, name in enumerate(names, 1)]
    assert [(r.action, r.by.partition("lifecycle: ")[2]) for r in records] == STEPS
    assert [r.champion for r in records] == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert records[7].reason == "as shadow, the gate failed it: as told on day 11"
    assert [name for name in whole if "versions/5" in name] == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
def test_killed_at_each_write(tmp_path: Path, whole: dict[str, bytes], write: int, after: bool) -> None:
    loop.begin(tmp_path)
    assert in_a_process(lambda: killed_at(tmp_path, write, after=after)) == -signal.SIGKILL
    assert loop.written(tmp_path) != whole or (write == WRITES and after)
    # Begun anew from the first day: its clock is behind what it has written itself.
    assert in_a_process(lambda: loop.live(tmp_path)) == 0
    assert loop.written(tmp_path) == whole


def test_called_twice_it_does_nothing(tmp_path: Path, whole: dict[str, bytes]) -> None:
    loop.begin(tmp_path)
    loop.live(tmp_path)
    assert [taken.step.kind for taken in loop.live(tmp_path)] == ["wait"] * loop.DAYS
    assert loop.written(tmp_path) == whole


def test_two_at_once_on_a_machine(tmp_path: Path, whole: dict[str, bytes]) -> None:
    loop.begin(tmp_path)

    def live() -> None:
        for day in range(1, loop.DAYS + 1):
            with alone(tmp_path / "studies", lambda: None):
                loop.live(tmp_path, day)

    assert both(live) == [0, 0]
    assert loop.written(tmp_path) == whole


def test_two_at_once_on_two_machines(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """Both may train, but the log takes each step once, and one version of each training."""
    loop.begin(tmp_path)
    assert both(lambda: loop.live(tmp_path)) == [0, 0]
    records = files.read_records(tmp_path / "cards")
    assert [(r.action, r.by.partition("lifecycle: ")[2]) for r in records] == STEPS


def both(call: Callable[[], Any]) -> list[int]:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(in_a_process(call))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
