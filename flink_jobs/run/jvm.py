"""Starts the JVM that PyFlink drives where signals to our own process group do not reach it.

A TERM for the group would end Flink before the job has committed what it read. The JVM still ends with us: it
reads from a pipe that we hold.
"""

from __future__ import annotations

import functools
import subprocess
import threading
from contextlib import suppress
from typing import Any

from pyflink import pyflink_gateway_server
from pyflink.java_gateway import get_gateway


def begin_gateway() -> None:
    """Starts the JVM while this process does other work. Who needs it waits, and tries again if it failed."""
    threading.Thread(target=_begin, name="begin-jvm", daemon=True).start()


def _begin() -> None:
    with suppress(Exception):
        apart_gateway()


def apart_gateway() -> Any:
    """PyFlink's gateway, started in a session of its own if this call is the first."""
    pyflink_gateway_server.Popen = functools.partial(subprocess.Popen, start_new_session=True)
    return get_gateway()
