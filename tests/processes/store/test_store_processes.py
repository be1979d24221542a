"""Stores that several processes write at once, of which some are killed and some find the disk full."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from udfs.store import open_store
from udfs.store.local import LocalStore
from udfs.store.objects import ObjectStore

SETTLE = 0.1
FILES = {"model.bin": b"m" * 1000, "golden": b"g", "manifest.json": b"{}"}

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
