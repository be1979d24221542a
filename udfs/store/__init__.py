"""Keeps models in a folder, or at any URI that pyarrow.fs (or, where installed, fsspec) opens.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     store = open_store(folder)
...     store.write_once("tiny/releases/00000001.json", b"{}")
...     store.write_once("tiny/releases/00000001.json", b"[]")    # another was first
...     store.read("tiny/releases/00000001.json")
True
False
b'{}'

Files are written once and never change. Whoever reads sees a file whole or not at all, also after a writer
was killed, the power went or the disk was full; and of two who write the same name at once exactly one wins.
Folders of the local machine get that from the file system (`udfs.store.local`); object stores need a protocol
of their own, with assumptions, for they offer no create-if-absent (`udfs.store.objects`).
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from udfs.errors import StoreError
from udfs.store.base import Store, is_uri, without_secrets

__all__ = ["Store", "StoreError", "is_uri", "open_store", "without_secrets"]


def open_store(root: str | Path) -> Store:
    """The store at a folder or URI. Raises `StoreError` when no library opens the URI."""
    from udfs.store.local import LocalStore  # noqa: PLC0415  # Start-up: most commands open no store

    if not isinstance(root, str) or not is_uri(root):
        return LocalStore(Path(root))
    parts = urlsplit(root)
    if parts.scheme == "file":
        return LocalStore(_file_path(parts))
    from udfs.store.objects import open_uri  # noqa: PLC0415  # Start-up: pyarrow.fs is heavy

    return open_uri(root)


def _file_path(parts: SplitResult) -> Path:
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"a file URI must name no other host, as file:///models; got {parts.netloc!r}")
    return Path(unquote(parts.path))
