"""What the servers of the local stack have in common: one process each, on 127.0.0.1 only."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from flink_jobs.errors import WorkError
from flink_jobs.local.variables import passed_on
from flink_jobs.system.processes import ProcessId, free_port, require_free_port, spawn, tail, wait_until

HOST = "127.0.0.1"


class LocalServer(ABC):
    """A server's process; a context manager that starts and stops it.

    `directory` keeps data, settings and log; without one they are temporary. Its port is a free one unless
    chosen, by the option of that name. A `detached` server outlives this process; any other dies with it,
    even if this process is killed.
    """

    #: What messages call it, what a temporary directory and its log are called, and how often it is asked.
    called: str
    name: str
    log_name: str
    poll_seconds = 0.05

    def __init__(self, directory: Path | None, port: int | None, port_option: str, detached: bool) -> None:
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"tailrace-{self.name}-"))
        self.log = self.directory / self.log_name
        self._chosen_port, self._port_option = port, port_option
        self.port = port or free_port()
        self.process: ProcessId | None = None
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """What clients are given."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does, within seconds."""

    @abstractmethod
    def command(self) -> list[str]:
        """Starts it, after what it needs has been written."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout: float = 120.0) -> None:
        """Starts the server and waits until it answers.

        Raises InputError when its port is in use or Java or its files are missing, WorkError with the end of
        its log when it does not come up within `timeout` seconds.
        """
        try:
            self.launch()
            self.wait(timeout)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> ProcessId:
        """Starts the process without waiting for it; else like `start`."""
        if self._chosen_port is not None:
            require_free_port(self.port, self.called, self._port_option)
        self._child = spawn(
            self.command(), self.log, env=passed_on(os.environ), dies_with_parent=not self._detached
        )
        self.process = ProcessId.of(self._child.pid)
        if not self._detached:
            atexit.register(self.stop)
        return self.process

    def wait(self, timeout: float = 120.0) -> None:
        """Waits until the launched server answers; else like `start`."""
        process = self.process
        if process is None:
            raise RuntimeError(f"{self.called} was not launched")
        ready = False

        def settled() -> bool:
            nonlocal ready
            ready = self.answers()
            return ready or not process.alive()

        wait_until(settled, timeout, self.poll_seconds)
        if not ready:
            raise WorkError(f"{self.called} at {self.address} did not come up:\n{tail(self.log)}")

    def stop(self, grace: float = 15.0) -> None:
        """Stops the server, if it runs, and deletes its directory if that was temporary."""
        atexit.unregister(self.stop)
        if self.process is not None:
            self.process.stop(0 if self._temporary else grace)
        if self._child is not None:
            self._child.wait()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
