"""Prepares each Python worker of Flink; functions call it in `open()`."""

from __future__ import annotations

import functools
import os
import select
import sys
import threading
from pathlib import Path

from udfs.flink.log import configure_worker_logging
from udfs.flink.sampling import sample_nothing


def prepare_worker() -> None:
    """Logs go to Flink's, bundles end at once, and the worker ends when its TaskManager is gone."""
    configure_worker_logging()
    sample_nothing()
    _end_with_jvm()


@functools.cache
def _end_with_jvm() -> None:
    """A JVM that is killed ends no worker, and a worker that waits for data would wait for ever."""
    if not sys.platform.startswith("linux"):
        return
    jvm = _ancestor("java")
    if jvm is None:
        return
    try:
        handle = os.pidfd_open(jvm)
    except OSError:
        return
    threading.Thread(target=_end_after, args=(handle,), name="end-with-jvm", daemon=True).start()


def _end_after(handle: int) -> None:
    gone = select.poll()
    gone.register(handle, select.POLLIN)
    gone.poll()
    os._exit(1)


def _ancestor(name: str) -> int | None:
    """The nearest process of this name that this one descends from."""
    pid = os.getppid()
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        head, _, tail = stat.rpartition(")")
        if head.partition("(")[2] == name:
            return pid
        pid = int(tail.split()[1])
    return None
