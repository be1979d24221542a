"""Runs a schema registry on this machine: Apicurio Registry, by Confluent's API, on 127.0.0.1 only.

It is for tests, the demo and `tailrace up --schema-registry`. Its directory keeps what is registered.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import requests

from flink_jobs.errors import WorkError
from flink_jobs.local.broker import HOST
from flink_jobs.local.variables import passed_on
from flink_jobs.system.fetch_registry import registry_program
from flink_jobs.system.processes import (
    ProcessId,
    find_java,
    free_port,
    require_free_port,
    spawn,
    tail,
    wait_until,
)

_JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# A line for each request else.
_QUIET = ("-Dquarkus.log.level=WARN", "-Dquarkus.http.access-log.enabled=false")


class LocalRegistry:
    """A registry's process; a context manager that starts and stops it.

    `directory` keeps schemas and log; without one they are temporary. A `detached` registry outlives this
    process; any other dies with it.
    """

    def __init__(
        self, *, directory: Path | None = None, port: int | None = None, detached: bool = False
    ) -> None:
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="tailrace-registry-"))
        self.log = self.directory / "registry.log"
        self._chosen_port = port
        self.port = port or free_port()
        self.process: ProcessId | None = None
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `schema_registry.url` is in a job file."""
        return registry_url(self.port)

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def launch(self) -> ProcessId:
        """Starts the process without waiting for it.

        Raises InputError when its port is in use, or Java or the registry's files are missing.
        """
        if self._chosen_port is not None:
            require_free_port(self.port, "the schema registry", "--registry-port")
        data = self.directory.resolve() / "data" / "schemas"
        data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        options = [
            f"-Dquarkus.http.port={self.port}",
            f"-Dquarkus.http.host={HOST}",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{data}",
        ]
        command = [find_java(), *_JVM, *_QUIET, *options, "-jar", str(registry_program())]
        self._child = spawn(command, self.log, env=passed_on(os.environ), dies_with_parent=not self._detached)
        self.process = ProcessId.of(self._child.pid)
        if not self._detached:
            atexit.register(self.stop)
        return self.process

    def wait(self, timeout: float = 120.0) -> None:
        """Waits until it answers. Raises WorkError with the end of its log when it does not."""
        process = self.process
        if process is None:
            raise RuntimeError("the registry was not launched")
        wait_until(lambda: registry_answers(self.url) or not process.alive(), timeout, interval=0.2)
        if not registry_answers(self.url):
            raise WorkError(f"the schema registry at {self.url} did not come up:\n{tail(self.log)}")

    def stop(self, grace: float = 15.0) -> None:
        """Stops it, if it runs, and deletes its directory if that was temporary."""
        atexit.unregister(self.stop)
        if self.process is not None:
            self.process.stop(0 if self._temporary else grace)
        if self._child is not None:
            self._child.wait()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def registry_url(port: int) -> str:
    """Confluent's API of a local registry."""
    return f"http://{HOST}:{port}/apis/ccompat/v7"


def registry_answers(url: str) -> bool:
    """Whether it does, within seconds."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between two processes of one machine
        try:
            return session.get(f"{url}/subjects", timeout=3.0).ok
        except requests.RequestException:
            return False
