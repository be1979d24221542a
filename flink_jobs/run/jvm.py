"""Starts the JVM that PyFlink drives where signals to our own process group do not reach it.

A TERM for the group would end Flink before the job has committed what it read. The JVM still ends with us: it
reads from a pipe that we hold.
"""

from __future__ import annotations

import functools
import subprocess
from typing import Any

from pyflink import pyflink_gateway_server
from pyflink.java_gateway import get_gateway


def apart_gateway() -> Any:
    """PyFlink's gateway, started in a session of its own if this call is the first."""
    pyflink_gateway_server.Popen = functools.partial(subprocess.Popen, start_new_session=True)
    return get_gateway()
