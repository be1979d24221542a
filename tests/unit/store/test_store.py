"""One contract over all stores: whole or absent, one winner, also when writers die or disks fill up."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
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

    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(poll)
        store.write_once("log/1", data)
        while True not in seen and not polling.done():
            pass
        done.set()
        polling.result()
    assert seen == {None, True}


WRITER = """
import sys
from pathlib import Path
import udfs.store.objects
udfs.store.objects.SETTLE_SECONDS = float(sys.argv[1])
from udfs.store import open_store
"""


def place(kind: str, tmp_path: Path) -> str:
    return str(tmp_path / "models") if kind == "local" else f"local://{tmp_path}/models"


def process(script: str, *arguments: str, settle: float = SETTLE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER + script, str(settle), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


PLACES = ("local", "object")


@pytest.mark.parametrize("kind", PLACES)
def test_of_many_processes_one_wins(kind: str, tmp_path: Path) -> None:
    script = "store = open_store(sys.argv[2])\nprint(store.write_once('log/1', sys.argv[3].encode()))\n"
    where = place(kind, tmp_path)
    running = {str(i): process(script, where, str(i)) for i in range(4)}
    printed = {name: one.communicate()[0].decode().strip() for name, one in running.items()}
    assert sorted(printed.values()) == ["False", "False", "False", "True"]
    assert printed[open_store(where).read("log/1").decode()] == "True"


# Where a writer is killed: the function that it dies in, before and after doing its work.
DEATHS = [
    ("local", "udfs.store.local._write", 3),
    ("local", "udfs.store.local._renamed", 2),
    ("object", "udfs.store.objects.ObjectStore._upload", 1),
    ("object", "udfs.store.objects.ObjectStore._upload", 4),
    ("object", "udfs.store.objects.ObjectStore._put", 3),
    ("object", "udfs.store.objects.ObjectStore._elect", 2),
]


@pytest.mark.parametrize(("kind", "where", "calls"), DEATHS)
def test_a_killed_writer_leaves_a_whole_folder_or_none(
    kind: str, where: str, calls: int, tmp_path: Path
) -> None:
    script = """
import os, pkgutil, signal
owner, _, name = sys.argv[3].rpartition('.')
owner = pkgutil.resolve_name(owner)
original, left = getattr(owner, name), int(sys.argv[4])
def dying(*args):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args)
setattr(owner, name, dying)
store = open_store(sys.argv[2])
for number in ('1', '2', '3'):
    store.write_folder('v/' + number, {'model': b'm', 'golden': b'g', 'head': b'h'})
"""
    root = place(kind, tmp_path)
    killed = process(script, root, where, str(calls))
    assert killed.wait() == -signal.SIGKILL
    store = open_store(root)
    if isinstance(store, ObjectStore):
        store._settle = SETTLE
    whole = store.folders("v", "head")
    assert all(store.names(f"v/{number}") == ["golden", "head", "model"] for number in whole)
    number = next(n for n in map(str, range(1, 9)) if store.write_folder(f"v/{n}", FILES))
    assert number not in whole
    assert {name: store.read(f"v/{number}/{name}") for name in FILES} == FILES


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


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The kernel refuses what goes beyond the limit, in the middle of a file."""
    script = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
store = open_store(sys.argv[2])
for write in (lambda: store.write_folder('v/1', {'a': b'x', 'b': b'x' * 1000, 'head': b''}),
              lambda: store.write_once('log/1', b'x' * 1000)):
    try: write()
    except Exception as error: print(type(error).__name__, error)
"""
    printed = process(script, str(tmp_path)).communicate()[0].decode().splitlines()
    assert printed == [
        f"StoreError {tmp_path}/v/1 cannot be written: File too large",
        f"StoreError {tmp_path}/log/1 cannot be written: File too large",
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert LocalStore(tmp_path).write_folder("v/1", FILES)


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
