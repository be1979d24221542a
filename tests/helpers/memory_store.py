"""An object store's stand-in that can be read by many at once."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem


class MemoryStore(MemoryFileSystem):  # type: ignore[misc]
    """Each reader has a position of its own, as with any real store; fsspec's own readers share one."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        found = super()._open(path, mode, **options)
        return MemoryFile(self, path, found.getvalue()) if mode == "rb" else found


fsspec.register_implementation("memory", MemoryStore, clobber=True)
