"""Where models are kept: a folder, or any URI that pyarrow.fs (or, where installed, fsspec) opens.

    store = open_store("s3://bucket/models?region=eu-central-1")     # or open_store(Path("models"))
    store.write_once("flight_delay/releases/00000001.json", data)    # False: another was first
    store.read("flight_delay/versions/1/manifest.json")

Files are written once and never change. Whoever reads sees a file whole or not at all, also after a writer
was killed, the power went or the disk was full; and of two who write the same name at once exactly one wins.
Folders of the local machine get that from the file system (`udfs.local_store`); object stores need a protocol
of their own, with assumptions, for they offer no create-if-absent (`udfs.object_store`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from udfs.errors import StoreError

__all__ = ["Store", "StoreError", "is_uri", "open_store", "without_secrets"]

# Temporary files and claims: never listed, never read as content.
OWN_NAME = re.compile(r"\.(?:[0-9a-f]{32}|claims)\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Store(Protocol):
    """Files under a root. Paths are relative, with '/' between, and never lead out of it ('' is the root).

    All methods raise `StoreError` when the file system fails, also when it is full.
    """

    @property
    def delay(self) -> float:
        """Seconds, at most, from the call of `write_once` until all others see the file; 0 for at once."""

    def read(self, path: str) -> bytes:
        """A file's content. Raises `FileNotFoundError` when there is none; links are not followed."""

    def names(self, folder: str) -> list[str]:
        """The names of files and folders in a folder, sorted; none when it is missing."""

    def folders(self, parent: str, head: str) -> list[str]:
        """The names of the folders in `parent` that have the file `head`, sorted.

        A folder that is not yet, or was never, written to its end is not among them.
        """

    def write_once(self, path: str, data: bytes) -> bool:
        """Create a file with its whole content; False when it is there already."""

    def write_folder(self, folder: str, files: Mapping[str, bytes]) -> bool:
        """Create a folder with these files; False when the name is taken.

        The last of `files` is its head: a folder without it does not exist, although its name may stay taken
        after a writer died.
        """

    def location(self, path: str) -> str:
        """What `open_store` takes to open this folder, in another process too."""

    def where(self, path: str) -> str:
        """The path or URI for people, without secrets."""


def open_store(root: str | Path) -> Store:
    """The store at a folder or URI. Raises `StoreError` when no library opens the URI."""
    from udfs.local_store import LocalStore

    if not isinstance(root, str) or not is_uri(root):
        return LocalStore(Path(root))
    parts = urlsplit(root)
    if parts.scheme == "file":
        return LocalStore(_file_path(parts))
    from udfs.object_store import open_uri

    return open_uri(root)


def is_uri(root: str) -> bool:
    """Whether a text is a URI rather than a path."""
    return bool(_SCHEME.match(root))


def joined_uri(root: str, path: str) -> str:
    """A path below a URI, whose query, such as `?region=...`, stays behind."""
    parts = urlsplit(root)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}".rstrip("/") or "/"))


def without_secrets(root: str | Path) -> str:
    """A path or URI without user, password and query, which may hold keys."""
    text = os.fspath(root)
    if not is_uri(text):
        return text
    parts = urlsplit(text)
    return urlunsplit(SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def checked(path: str) -> str:
    """A relative path. Raises `StoreError` for one that leads out of the store."""
    if path and any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
        raise StoreError(f"a path in a store must be relative and stay inside; got {path[:200]!r}")
    return path


def _file_path(parts: SplitResult) -> Path:
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"a file URI must name no other host, as file:///models; got {parts.netloc!r}")
    return Path(unquote(parts.path))
