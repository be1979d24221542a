"""Holds a worker's versions in memory: loaded off the scoring thread, dropped when not needed."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import structlog

from udfs.errors import ModelError

Loaded = TypeVar("Loaded")
log = structlog.get_logger(__name__)


class VersionCache(Generic[Loaded]):
    """Loads each version once, one after the other, in a thread of its own. Thread-safe.

    A version that failed stays failed until `forget_failures`: were it tried again whenever a row asks for
    it, the switch would fall anywhere.
    """

    def __init__(
        self, load: Callable[[int], Loaded], close: Callable[[Loaded], None] = lambda _: None
    ) -> None:
        self._load, self._close = load, close
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Loaded]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="model-loader")

    def prepare(self, versions: Iterable[int]) -> None:
        """Begins to load what is not there."""
        for version in versions:
            self._future(version)

    def get(self, version: int) -> Loaded:
        """The version, once it is loaded. Raises ModelError when it cannot be used."""
        return self._future(version).result()

    def failure(self, version: int) -> ModelError | None:
        """Why a version cannot be used; waits until that is known."""
        error = self._future(version).exception()
        return error if isinstance(error, ModelError) else None

    def forget_failures(self, versions: Iterable[int]) -> None:
        """Lets those of the versions that failed be tried again: they may have been repaired."""
        with self._lock:
            for version in versions:
                future = self._futures.get(version)
                if future and future.done() and future.exception():
                    del self._futures[version]

    def keep(self, versions: set[int]) -> None:
        """Drops the others that are loaded, and gives their memory back to the system."""
        with self._lock:
            retired = [
                v for v, f in self._futures.items() if v not in versions and f.done() and not f.exception()
            ]
            dropped = [self._futures.pop(version) for version in retired]
        for future in dropped:
            self._close(future.result())
        if dropped:
            dropped.clear()
            log.info("versions_retired", versions=retired)
            _release_memory()

    def held(self) -> list[int]:
        """The versions that are loaded."""
        with self._lock:
            return sorted(v for v, f in self._futures.items() if f.done() and not f.exception())

    def _future(self, version: int) -> Future[Loaded]:
        with self._lock:
            if version not in self._futures:
                self._futures[version] = self._loader.submit(self._load_one, version)
            return self._futures[version]

    def _load_one(self, version: int) -> Loaded:
        started = time.monotonic()
        try:
            loaded = self._load(version)
        except Exception as error:
            log.error("version_refused", version=version, error=str(error))
            if isinstance(error, ModelError):
                raise
            raise ModelError(
                f"version {version} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        log.info("version_loaded", version=version, seconds=round(time.monotonic() - started, 3))
        return loaded


def _release_memory() -> None:
    """Asks glibc, which keeps what was freed; elsewhere there is nothing to ask."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
