"""One contract over all stores: whole or absent, one winner, also when writers die or stores fill up."""

from __future__ import annotations

import errno
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.helpers.memory_store import MemoryStore
from tests.helpers.s3 import bucket_uri
from udfs.errors import StoreError
from udfs.store import open_store
from udfs.store.base import Store, is_uri, without_secrets
from udfs.store.local import LocalStore
from udfs.store.objects import ObjectStore

SETTLE, S3_SETTLE = 0.1, 0.5
FILES = {"model.bin": b"m" * 1000, "golden": b"g", "manifest.json": b"{}"}


def memory_store(tmp_path: Path) -> Store:
    memory = fs.PyFileSystem(fs.FSSpecHandler(MemoryStore()))
    return ObjectStore(memory, f"/{tmp_path.name}", f"memory://{tmp_path.name}", settle=SETTLE)


def subtree_store(tmp_path: Path) -> Store:
    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    return ObjectStore(bucket, "models", "s3://bucket/models", settle=SETTLE)


STORES: dict[str, Callable[[Path], Store]] = {
    "local": lambda tmp_path: open_store(tmp_path / "models"),
    "file": lambda tmp_path: open_store(f"file://{tmp_path}/models"),
    "memory": memory_store,
    "subtree": subtree_store,
}


@pytest.fixture(params=[*STORES, "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return s3_store(request.getfixturevalue("s3"))
    return STORES[request.param](tmp_path)


def s3_store(address: str) -> Store:
    """In a bucket of its own."""
    uri = bucket_uri(address, f"b-{uuid.uuid4().hex}")
    filesystem, folder = fs.FileSystem.from_uri(uri)
    return ObjectStore(filesystem, folder, uri, settle=S3_SETTLE)


def test_a_file_is_written_once(store: Store) -> None:
    assert store.names("a") == []
    with pytest.raises(FileNotFoundError):
        store.read("a/1.json")
    assert store.write_once("a/1.json", b"one")
    assert not store.write_once("a/1.json", b"two")
    assert store.write_once("a/b/2.json", b"")
    assert (store.read("a/1.json"), store.read("a/b/2.json")) == (b"one", b"")
    assert store.names("a") == ["1.json", "b"]
    assert store.names("") == ["a"]


def test_a_folder_is_written_once(store: Store) -> None:
    assert store.folders("versions", "manifest.json") == []
    assert store.write_folder("versions/1", FILES)
    assert not store.write_folder("versions/1", {"manifest.json": b"other"})
    assert store.write_folder("versions/2", FILES)
    assert store.names("versions") == store.folders("versions", "manifest.json") == ["1", "2"]
    assert store.names("versions/1") == sorted(FILES)
    assert {name: store.read(f"versions/1/{name}") for name in FILES} == FILES


def test_a_folder_is_no_file(store: Store) -> None:
    store.write_folder("versions/1", FILES)
    with pytest.raises((StoreError, FileNotFoundError)):
        store.read("versions/1")
    with pytest.raises(FileNotFoundError):
        store.read("versions/2/manifest.json")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/../../b", ".", "a/\0"])
def test_paths_stay_inside(store: Store, path: str) -> None:
    for act in (store.read, store.names, lambda p: store.write_once(p, b"")):
        with pytest.raises(StoreError, match="must be relative and stay inside"):
            act(path)


def test_of_many_writers_of_a_file_one_wins(store: Store) -> None:
    contents = [b"%d" % i * 100 for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda data: store.write_once("log/1", data), contents))
    assert sum(won) == 1
    assert store.read("log/1") == contents[won.index(True)]
    assert store.names("log") == ["1"]


def test_of_many_writers_of_a_folder_one_wins(store: Store) -> None:
    contents = [{"model": b"%d" % i, "head": b"%d" % i} for i in range(6)]
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda files: store.write_folder("v/1", files), contents))
    assert sum(won) == 1
    winner = contents[won.index(True)]
    assert {name: store.read(f"v/1/{name}") for name in winner} == winner


def test_readers_never_see_half_a_file(store: Store) -> None:
    """A reader polls while a large file appears."""
    seen: set[bool | None] = set()
    data, done = os.urandom(3_000_000), threading.Event()

    def poll() -> None:
        while not done.is_set():
            try:
                seen.add(store.read("log/1") == data)
            except FileNotFoundError:
                seen.add(None)
            time.sleep(0.001)  # S3's server is a thread of this process

    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(poll)
        try:
            while not seen and not polling.done():
                time.sleep(0.001)
            store.write_once("log/1", data)
            while True not in seen and not polling.done():
                time.sleep(0.001)
        finally:
            done.set()  # else the pool would wait for ever for who polls
        polling.result()
    assert seen == {None, True}


def test_a_claim_of_a_dead_writer_is_finished_by_the_next(tmp_path: Path) -> None:
    class Dies(BaseException):
        pass

    def die(_: float) -> None:
        raise Dies

    memory = fs.PyFileSystem(fs.FSSpecHandler(MemoryStore()))
    root = f"/{tmp_path.name}"
    with pytest.raises(Dies):
        ObjectStore(memory, root, "memory:///", sleep=die).write_once("log/1", b"first")
    heir = ObjectStore(memory, root, "memory:///", settle=SETTLE)
    with pytest.raises(FileNotFoundError):
        heir.read("log/1")
    assert not heir.write_once("log/1", b"second")
    assert heir.read("log/1") == b"first"
    assert heir.write_once("log/2", b"second")


def test_a_claim_that_took_too_long_is_taken_back(tmp_path: Path) -> None:
    times = iter([0.0, 10.0, 20.0, 20.1])
    memory = fs.PyFileSystem(fs.FSSpecHandler(MemoryStore()))
    slow = ObjectStore(
        memory, f"/{tmp_path.name}", "memory:///", settle=1.0, sleep=lambda _: None, clock=lambda: next(times)
    )
    assert slow.write_once("log/1", b"x")
    assert list(times) == []
    stuck = iter(range(0, 1000, 10))
    slow._clock = lambda: next(stuck)
    with pytest.raises(StoreError, match="each of 10 claims took over 1 s"):
        slow.write_once("log/2", b"x")
    assert slow.names("log") == ["1"]


class FullFileSystem(MemoryStore):
    """Takes ten bytes of each large file."""

    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "wb":
            return super()._open(path, mode, **kwargs)
        file = super()._open(path, mode, **kwargs)
        original = file.write

        def write(data: Any) -> int:
            if len(data) < 100:
                return int(original(data))
            original(bytes(data)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        file.write = write
        return file


def test_a_full_object_store_leaves_nothing_that_counts(tmp_path: Path) -> None:
    full = fs.PyFileSystem(fs.FSSpecHandler(FullFileSystem(skip_instance_cache=True)))
    store = ObjectStore(full, f"/{tmp_path.name}", "memory:///", settle=SETTLE)
    with pytest.raises(StoreError, match=r"v/1/model.bin cannot be written: No space left on device"):
        store.write_folder("v/1", FILES)
    with pytest.raises(StoreError, match="No space left on device"):
        store.write_once("log/1", b"x" * 1000)
    assert store.folders("v", "manifest.json") == store.names("log") == []
    assert not store.write_folder("v/1", {"manifest.json": b"{}"}), "its name is taken for good"
    assert store.write_folder("v/2", {"manifest.json": b"{}"})


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    yield tmp_path
    (tmp_path / "pipe").unlink()


@pytest.mark.parametrize("name", ["link", "pipe"])
def test_local_links_and_pipes_are_not_read(odd: Path, name: str) -> None:
    with pytest.raises(StoreError, match=f"{name} must be a regular file"):
        LocalStore(odd).read(name)


def test_locations_open_the_same_folder(tmp_path: Path) -> None:
    root = f"memory://{uuid.uuid4().hex}/models"
    for store in (open_store(tmp_path), open_store(root)):
        if isinstance(store, ObjectStore):
            store._settle = SETTLE
        store.write_folder("m/versions/1", FILES)
        assert open_store(store.location("m/versions/1")).read("golden") == b"g"


def test_the_query_of_a_uri_stays_behind_and_secrets_are_not_shown() -> None:
    store = ObjectStore(None, "b/models", "s3://key:secret@b/models?region=eu-west-1")
    assert store.location("m/1") == "s3://key:secret@b/models/m/1?region=eu-west-1"
    assert store.where("m/1") == without_secrets(store.location("m/1")) == "s3://b/models/m/1"
    assert without_secrets("models/x") == "models/x"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nope://user:secret@b/models", "nope://b/models cannot be opened: Unrecognized filesystem type"),
        ("file://elsewhere/models", "must name no other host"),
    ],
)
def test_what_cannot_be_opened(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as failure:
        open_store(uri)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "yes"), [("s3://b", True), ("/a://b", False), ("a/b", False), ("C:/x", False)]
)
def test_uris_are_told_from_paths(text: str, yes: bool) -> None:
    assert is_uri(text) == yes
