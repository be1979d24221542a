"""Wraps a store so that a person sees its failures as a message: `udfs.store.Store`, raising `WorkError`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flink_jobs.errors import InputError, WorkError
from udfs.errors import StoreError
from udfs.store import open_store


class ClientStore:
    """The store at `root`. Raises `InputError` when nothing opens it; `read` raises `FileNotFoundError`."""

    def __init__(self, root: str | Path) -> None:
        try:
            self._store = open_store(root)
        except StoreError as error:
            raise InputError(str(error)) from error

    @property
    def delay(self) -> float:
        return self._store.delay

    def read(self, path: str) -> bytes:
        with _shown():
            return self._store.read(path)

    def names(self, folder: str) -> list[str]:
        with _shown():
            return self._store.names(folder)

    def folders(self, parent: str, head: str) -> list[str]:
        with _shown():
            return self._store.folders(parent, head)

    def write_once(self, path: str, data: bytes) -> bool:
        with _shown():
            return self._store.write_once(path, data)

    def write_folder(self, folder: str, files: Mapping[str, bytes]) -> bool:
        with _shown():
            return self._store.write_folder(folder, files)

    def location(self, path: str) -> str:
        return self._store.location(path)

    def where(self, path: str) -> str:
        return self._store.where(path)


@contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise WorkError(str(error)) from error
