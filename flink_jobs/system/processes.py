"""Starts processes, and stops them without ever stopping another.

A pid alone is not an identity: the system gives it to another process later. A pid with its start time is.

>>> ProcessId.of(os.getpid()).alive()
True
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flink_jobs.errors import InputError

# Below Linux's range for outgoing connections, so that none takes the port between choice and use.
_PORTS = range(20_000, 32_000)
_LINUX = platform.system() == "Linux"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None

# glibc gives threads heaps of their own, up to eight for each core, which keep what was once used. A worker
# has dozens of threads, of which few allocate at once.
FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True)
class ProcessId:
    """One process, for ever: `started` is its start time as the system gives it (Linux: clock ticks)."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this pid now. Raises ProcessLookupError when there is none."""
        started = _start_time(pid)
        if started is None:
            raise ProcessLookupError(f"no process has the pid {pid}")
        return cls(pid, started)

    def alive(self) -> bool:
        """Whether it still runs; a process that took over its pid does not count."""
        return _start_time(self.pid) == self.started

    def stop(self, grace: float = 15.0) -> bool:
        """Asks it to end (TERM), kills it after `grace` seconds. Returns whether it was running.

        What it started in its own process group and left behind is killed too.
        """
        if not self.alive():
            return False
        group = _group(self.pid)
        self._signal(signal.SIGTERM)
        if not wait_until(lambda: not self.alive(), grace):
            self._signal(signal.SIGKILL)
            wait_until(lambda: not self.alive(), 10)
        for member in group:
            if member.alive():
                member._signal(signal.SIGKILL)
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def wait_until(condition: Callable[[], bool], seconds: float, interval: float = 0.05) -> bool:
    """Tries the condition until it holds or the time is over; returns whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def spawn(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    dies_with_parent: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own (Ctrl-C does not reach it), its output appended to `log`.

    With `dies_with_parent` Linux kills it when the thread that called this ends, however that happens: call
    it from a thread that lives as long as the process should.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    before = _kill_with_parent(os.getpid()) if dies_with_parent and _libc else None
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            start_new_session=True,
            preexec_fn=before,
        )


def _kill_with_parent(parent: int) -> Callable[[], None]:
    """Runs between fork and exec, where only system calls are safe: no imports, no locks, no logging."""
    assert _libc is not None
    prctl = _libc.prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl, so no signal will come
            os._exit(1)

    return before_exec


def find_java() -> str:
    """The java command, from JAVA_HOME or PATH. Raises InputError when there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    if java is None:
        source = f"JAVA_HOME={home}" if home else "PATH"
        raise InputError(
            f"no java found in {source}; install Java 17, on Debian: apt-get install openjdk-17-jre-headless"
        )
    return java


def port_in_use(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    choose = random.SystemRandom().choice
    return next(port for port in iter(lambda: choose(_PORTS), None) if not port_in_use(port))


def require_free_port(port: int, what: str, option: str) -> None:
    """Raises InputError when the port is taken, naming the option that chooses another."""
    if not 0 < port < 65_536:
        raise InputError(f"{option} must be a port from 1 to 65535; got {port}")
    if port_in_use(port):
        raise InputError(
            f"port {port} for {what} is in use by another program; choose a free one with {option}"
        )


def tail(path: Path, lines: int = 25) -> str:
    """The last lines of a text file; empty when there is none."""
    try:
        text = path.read_bytes()[-64_000:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _group(leader: int) -> list[ProcessId]:
    """The other processes of the group that this process leads (Linux only)."""
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    found = [(pid, _start_time(pid)) for pid in pids if pid != leader and _group_of(pid) == leader]
    return [ProcessId(pid, started) for pid, started in found if started is not None]


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def _start_time(pid: int) -> str | None:
    """None when there is no such process, or only its remains (a zombie)."""
    if _LINUX:
        return _linux_start_time(pid)
    listed = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    state, _, started = listed.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def _linux_start_time(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else fields[19]
