"""Starts the JVM that PyFlink drives where signals to our own process group do not reach it, with our jars.

A TERM for the group would end Flink before the job has committed what it read. The JVM still ends with us: it
reads from a pipe that we hold. Jars on its class path are loaded once, and not anew by each job; and Kafka's
client finds one class that logs in with tokens, which Java keeps for the whole JVM.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from pyflink import pyflink_gateway_server
from pyflink.java_gateway import get_gateway

from flink_jobs.run.class_archive import ClassArchive
from flink_jobs.system.jars import connector_jars, token_jars

_archives: list[ClassArchive] = []


def begin_gateway() -> None:
    """Starts the JVM while this process does other work. Who needs it waits, and tries again if it failed."""
    threading.Thread(target=_begin, name="begin-jvm", daemon=True).start()


def _begin() -> None:
    with suppress(Exception):
        apart_gateway()


def apart_gateway() -> Any:
    """PyFlink's gateway, started in a session of its own if this call is the first."""
    pyflink_gateway_server.Popen = _start
    return get_gateway()


def field_of(owner: Any, name: str) -> Any:
    """A field that no method of Java gives, of the object's class or of one above, to get and to set."""
    kind = owner.getClass()
    while all(each.getName() != name for each in kind.getDeclaredFields()):
        kind = kind.getSuperclass()
    field = kind.getDeclaredField(name)
    field.setAccessible(True)
    return field


def archive_classes() -> None:
    """Lets the next JVM begin sooner, if this one is the first of its kind."""
    for archive in _archives:
        try:
            archive.write(get_gateway())
        except Exception as error:
            structlog.get_logger().warning("no_class_archive", error=str(error))
    _archives.clear()


def _start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    words = list(command)
    if "-cp" in words:
        path = words.index("-cp") + 1
        ours = [*connector_jars(), *token_jars()]
        given = [Path(jar) for jar in words[path].split(os.pathsep) if jar]
        archive = ClassArchive(words[0], [*given, *ours], ours[0].parent.parent / "java")
        words[path] = os.pathsep.join(map(str, archive.jars))
        words[1:1] = archive.options
        _archives[:] = [archive]
    return subprocess.Popen(words, start_new_session=True, **options)
