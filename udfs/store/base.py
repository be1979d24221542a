"""Says what all stores offer, and checks and shows the paths in them.

>>> without_secrets("s3://key:secret@bucket/models?region=eu-west-1")
's3://bucket/models'
>>> joined_uri("s3://bucket/models?region=eu-west-1", "tiny/1")
's3://bucket/models/tiny/1?region=eu-west-1'
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit, urlunsplit

from udfs.errors import StoreError

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
        """A file's content. Raises `FileNotFoundError` when there is none; links are not followed.

        Nor are links of folders that lead out of the root, here and in `names`.
        """

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
