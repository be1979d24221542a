"""Temporary folders that end with this process, also when it is killed: the next process removes them then.

Each process has one folder and beside it a file that it holds a lock on; the kernel lets go of the lock
however the process ends. A folder whose lock is free is nobody's.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path

_NAME = re.compile(r"tailrace-[0-9a-f]{16}\.lock")


def own_folder(kind: str) -> Path:
    """A new folder, for this user alone; `kind` is part of its name."""
    return Path(tempfile.mkdtemp(prefix=f"tailrace-{kind}-", dir=_root()))


@cache
def java_temporary() -> str:
    """An option for Java: Flink's client leaves what it packs for workers among its temporary files.

    Nothing where the folder has a space in its name, as options are split there.
    """
    option = f"-Djava.io.tmpdir={own_folder('java')}"
    return "" if option.split() != [option] else option


@cache
def _root() -> Path:
    parent = Path(tempfile.gettempdir())
    remove_left(parent)
    while True:
        folder = parent / f"tailrace-{secrets.token_hex(8)}"
        lock = folder.with_suffix(".lock")
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600)
        if _locked(handle) and _is_at(handle, lock):  # else another process has just taken it for left behind
            break
        os.close(handle)
    folder.mkdir(mode=0o700)
    atexit.register(_remove, folder, lock, os.getpid())
    return folder


def remove_left(parent: Path) -> None:
    """Removes what this user's killed processes have left in a folder for temporary files."""
    for lock in parent.glob("tailrace-*.lock"):
        with contextlib.suppress(OSError):
            if not _NAME.fullmatch(lock.name) or lock.lstat().st_uid != os.getuid():
                continue
            handle = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _locked(handle):
                    _remove(lock.with_suffix(""), lock, os.getpid())
            finally:
                os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _remove(folder: Path, lock: Path, process: int) -> None:
    """Not in a process that was forked from the one whose folder it is."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
