"""Stores files behind pyarrow.fs: on S3, GCS, HDFS, and what fsspec opens.

Object stores have no create-if-absent there, so writers of a name elect one of them. Each puts its content
under a name of its own beside the target (a claim), waits until all that could have begun before it must be
seen (`settle`), and then the claim whose name sorts first is copied to the target. Claims carry the whole
content, so that anyone can finish what a dead writer began, with the same outcome.

What is assumed:
- A read or a listing that begins after a write ended sees it (S3, GCS, HDFS: yes).
- A copy or move appears whole. Data is uploaded under a temporary name first, for a failed upload may leave a
  truncated file.
- Clocks of the writers run equally fast; they need not agree. A claim that took longer than `settle` to put
  is taken back, so a slow network delays writers, and does not make two of them win.
- Nobody else deletes or overwrites what the store has written. Use versioned buckets, or retention rules.

A folder's name is claimed in the same way; then its files are written, its head at the end. A writer that
dies between leaves a folder without head, which does not exist, and whose name is not used again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
from pyarrow import fs

from udfs.errors import StoreError
from udfs.store.base import OWN_NAME, checked, joined_uri, without_secrets

SETTLE_SECONDS = 2.0
_ATTEMPTS = 10


def open_uri(uri: str) -> ObjectStore:
    """The store at a URI. Raises `StoreError` when neither pyarrow nor fsspec opens it."""
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        found = _from_fsspec(uri)
        if found is None:
            reason = _reason(error).replace(uri, without_secrets(uri))
            raise StoreError(f"{without_secrets(uri)} cannot be opened: {reason}") from None
        filesystem, root = found
    return ObjectStore(filesystem, root, uri)


def _from_fsspec(uri: str) -> tuple[Any, str] | None:
    """None when fsspec is not installed or does not know the scheme."""
    try:
        import fsspec  # noqa: PLC0415 (optional library)
        from fsspec.core import url_to_fs  # noqa: PLC0415 (optional library)

        if uri.partition("://")[0] not in fsspec.available_protocols():
            return None
        filesystem, root = url_to_fs(uri)
    except ImportError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{without_secrets(uri)} cannot be opened: {_reason(error)}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), root


class ObjectStore:
    """Files under `root` of a pyarrow file system; `uri` is what opens the same in another process.

    `settle`: seconds that a claim waits for others; `sleep` and `clock` are replaced in tests.
    """

    def __init__(
        self,
        filesystem: Any,
        root: str,
        uri: str,
        *,
        settle: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._uri = uri
        self._settle = SETTLE_SECONDS if settle is None else settle
        self._sleep = sleep
        self._clock = clock
        self._made: set[str] = set()

    @property
    def delay(self) -> float:
        """The claim, the wait for others, and the file itself, each within `settle`."""
        return 3 * self._settle

    def read(self, path: str) -> bytes:
        full = self._full(path)
        with self._failures(path, "read"):
            if self._fs.get_file_info(full).type != fs.FileType.File:
                raise FileNotFoundError(self.where(path))
            with self._fs.open_input_stream(full) as stream:
                return bytes(stream.read())

    def stamp(self, path: str) -> tuple[int, int, str] | None:
        """When a file was last changed, in ns since 1970 (0: unknown), its size, and its etag if strong.

        None if it is gone. Only what fsspec opens tells an etag.
        """
        full = self._full(path)
        with self._failures(path, "read"):
            found = self._fs.get_file_info(full)
            if found.type != fs.FileType.File:
                return None
            handler = getattr(self._fs, "handler", None)
            told = handler.fs.info(full) if isinstance(handler, fs.FSSpecHandler) else {}
        return found.mtime_ns or 0, found.size, _strong(told.get("ETag") or told.get("etag"))

    def names(self, folder: str) -> list[str]:
        return [name for name in self._entries(folder) if not OWN_NAME.match(name)]

    def folders(self, parent: str, head: str) -> list[str]:
        return [name for name in self.names(parent) if self._exists(_below(_below(parent, name), head))]

    def write_once(self, path: str, data: bytes) -> bool:
        for _ in range(_ATTEMPTS):
            begun = self._clock()
            claims = self._entries(_claims(path))
            if self._exists(path):
                return False
            if claims:
                self._help(path)
                return False
            claim = uuid.uuid4().hex
            self._put(_below(_claims(path), claim), data)
            if self._clock() - begun <= self._settle:
                return self._elect(path, claim)
            self._drop(_below(_claims(path), claim))
        where = self.where(path)
        raise StoreError(
            f"{where} cannot be written: each of {_ATTEMPTS} claims took over {self._settle:g} s"
        )

    def write_folder(self, folder: str, files: Mapping[str, bytes]) -> bool:
        parent, _, name = checked(folder).rpartition("/")
        if self._entries(folder):
            return False
        if not self.write_once(_below(_below(parent, ".claims"), f"{name}.taken"), uuid.uuid4().bytes):
            return False
        *others, head = files
        for file in others:
            self._upload(_below(folder, file), files[file])
        self._put(_below(folder, head), files[head])
        return True

    def location(self, path: str) -> str:
        return joined_uri(self._uri, checked(path))

    def where(self, path: str) -> str:
        return without_secrets(self.location(path))

    def _elect(self, path: str, mine: str) -> bool:
        """Whether mine is the first of all claims. Only the winner removes claims, once the file is there."""
        self._sleep(self._settle)
        claims = self._entries(_claims(path))
        if mine not in claims:
            return False
        self._finish(path, min(claims))
        if min(claims) != mine:
            return False
        with suppress(OSError, pa.ArrowException):
            self._fs.delete_dir(self._full(_claims(path)))
        return True

    def _help(self, path: str) -> None:
        """Wait for another writer; do its work if it seems to be dead."""
        self._sleep(2 * self._settle)
        if claims := self._entries(_claims(path)):
            self._finish(path, min(claims))

    def _finish(self, path: str, winner: str) -> None:
        """Make a claim the file, unless another has done so."""
        if self._exists(path):
            return
        try:
            self._put(path, self.read(_below(_claims(path), winner)))
        except (FileNotFoundError, StoreError):
            if not self._exists(path):
                raise

    def _put(self, path: str, data: bytes) -> None:
        """A file that appears with its whole content."""
        temporary = _below(path.rpartition("/")[0], f".{uuid.uuid4().hex}")
        try:
            self._upload(temporary, data)
            with self._failures(path, "written"):
                self._fs.move(self._full(temporary), self._full(path))
        except BaseException:
            self._drop(temporary)
            raise

    def _upload(self, path: str, data: bytes) -> None:
        full = self._full(path)
        folder = full.rpartition("/")[0]
        with self._failures(path, "written"):
            if folder not in self._made:
                self._fs.create_dir(folder, recursive=True)
            self._made.add(folder)
            with self._fs.open_output_stream(full) as stream:
                stream.write(data)

    def _drop(self, path: str) -> None:
        with suppress(OSError, pa.ArrowException):
            self._fs.delete_file(self._full(path))

    def _entries(self, folder: str) -> list[str]:
        selector = fs.FileSelector(self._full(folder), allow_not_found=True)
        with self._failures(folder, "listed"):
            try:
                return sorted(info.base_name for info in self._fs.get_file_info(selector))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _exists(self, path: str) -> bool:
        with self._failures(path, "read"):
            return bool(self._fs.get_file_info(self._full(path)).type == fs.FileType.File)

    def _full(self, path: str) -> str:
        return _below(self._root, checked(path)) if path else self._root

    @contextmanager
    def _failures(self, path: str, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, ValueError) as error:
            if isinstance(error, FileNotFoundError) and verb == "read":
                raise
            raise StoreError(f"{self.where(path)} cannot be {verb}: {_reason(error)}") from error


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _claims(path: str) -> str:
    parent, _, name = checked(path).rpartition("/")
    return _below(_below(parent, ".claims"), f"{name}.claims")


def _strong(etag: object) -> str:
    """A weak one may stay when a file is written twice in a second."""
    return "" if etag is None or str(etag).startswith("W/") else str(etag)


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
