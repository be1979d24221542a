"""Stores files in a folder of this machine, or of a mounted POSIX file system.

The folder itself may be reached by a symbolic link; links inside that lead out of it are not followed.

A file appears by `link`, a folder by `rename`: both are atomic, and fail when the name is taken. Everything
is flushed to disk before.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from udfs.errors import StoreError
from udfs.store.base import OWN_NAME, checked

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


class LocalStore:
    """Files in a folder, which is made when it is first written to. Written files are read-only."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def delay(self) -> float:
        return 0.0

    def read(self, path: str) -> bytes:
        full = self._full(path)
        self._check_inside(full.parent)
        try:
            handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise StoreError(f"{full} must be a regular file")
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{full} must be a regular file that can be read: {error.strerror}") from None

    def names(self, folder: str) -> list[str]:
        full = self._full(folder)
        self._check_inside(full)
        try:
            found = os.listdir(full)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{full} cannot be listed: {error.strerror}") from None
        return sorted(name for name in found if not OWN_NAME.match(name))

    def folders(self, parent: str, head: str) -> list[str]:
        full = self._full(parent)
        return [name for name in self.names(parent) if os.path.lexists(full / name / head)]

    def write_once(self, path: str, data: bytes) -> bool:
        full = self._full(path)
        temporary = full.parent / f".{uuid.uuid4().hex}"
        with _failures(full):
            full.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, data)
                os.link(temporary, full)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            _sync(full.parent)
        return True

    def write_folder(self, folder: str, files: Mapping[str, bytes]) -> bool:
        full = self._full(folder)
        temporary = full.parent / f".{uuid.uuid4().hex}"
        with _failures(full):
            temporary.mkdir(parents=True)
            try:
                for name, data in files.items():
                    _write(temporary / checked(name), data)
                _sync(temporary)
                if not _renamed(temporary, full):
                    return False
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            _sync(full.parent)
        return True

    def location(self, path: str) -> str:
        return str(self._full(path))

    def where(self, path: str) -> str:
        return str(self._full(path))

    def _full(self, path: str) -> Path:
        return self.root / checked(path)

    def _check_inside(self, folder: Path) -> None:
        root, real = os.path.realpath(self.root), os.path.realpath(folder)
        if real != root and not real.startswith(os.path.join(root, "")):
            raise StoreError(f"{folder} must be a folder of {self.root}; it is a link to {real}")


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def _renamed(temporary: Path, folder: Path) -> bool:
    """Written folders are never empty, so a rename never replaces one."""
    try:
        os.rename(temporary, folder)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o444)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
