"""Python workers of a local Flink that begin with their libraries imported.

A server imports the libraries once, while Java starts, and forks. What Flink takes for the interpreter is a
small program that asks the server for a process, with its own arguments, environment, folder and files; it
dies with that process, and that process with it. When this process ends, however that happens, all end.

This file is the server, too: it is run as a script, so that it imports nothing that workers do not need.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

import numpy

# Of other projects only: `udfs` comes with each job, and a model's own libraries may start threads.
LIBRARIES = (
    "apache_beam.portability.api.org.apache.beam.model.fn_execution.v1.beam_provision_api_pb2_grpc",
    "pyflink.fn_execution.beam.beam_sdk_worker_main",
    "fsspec",
    "joblib",
    "msgspec",
    "pyarrow.parquet",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "structlog",
)
_LONGEST_ADDRESS = 100
# What Flink starts instead of an interpreter.
CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
try:
    if sys.argv[1:2] != ["-m"]:
        raise OSError
    server.connect({address!r})
except OSError:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
wanted = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(wanted).to_bytes(8, "big")], [0, 1, 2])
server.sendall(wanted)
status = int(server.recv(16) or -signal.SIGKILL)
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@functools.cache
def warm_python(*libraries: str) -> str:
    """The path of an interpreter whose workers are warm, until this process ends; whoever is too early waits.

    It has these libraries beside those of workers.
    It is the ordinary one where processes cannot be forked like that, or the temporary folder has a name that
    is too long for a socket in it.
    """
    # The server has no use for it.
    from flink_jobs.system.temporary import own_folder  # noqa: PLC0415

    folder = own_folder("warm")
    address, client = f"{folder}/server", folder / "python"
    if not sys.platform.startswith("linux") or len(os.fsencode(address)) > _LONGEST_ADDRESS:
        return sys.executable
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        file = listening.fileno()
        command = [sys.executable, "-P", __file__, str(file), *libraries]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, env=environment, pass_fds=[file], start_new_session=True
        )
    atexit.register(_end, server)
    return str(client)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Workers end by the end of the server's standard input, which also comes when this process is killed."""
    assert server.stdin is not None
    server.stdin.close()
    server.kill()
    server.wait()


def serve(file: int, libraries: Sequence[str] = ()) -> None:
    """Forks a process for each connection, until standard input ends."""
    for library in (*LIBRARIES, *libraries):
        with suppress(ModuleNotFoundError):  # fsspec is not in every environment
            __import__(library)
    gc.freeze()  # shared with all that are forked
    with socket.socket(fileno=file) as listening:
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [], 1.0)
            _bury()
            if sys.stdin in ready:
                return
            if listening in ready:
                connection, _ = listening.accept()
                if not os.fork():
                    listening.close()
                    supervise(connection)
                    return
                connection.close()


def _bury() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def supervise(connection: socket.socket) -> None:
    """Forks what is asked for, and says how it ended; it ends with the one who asked, or standard input."""
    header, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        arguments, folder, environment = json.loads(stream.read(int.from_bytes(header, "big")))
    lives, living = os.pipe()
    pid = os.fork()
    if not pid:
        connection.close()
        os.close(lives)
        become(arguments, folder, environment, files)
        return
    os.close(living)
    for file in files:
        os.close(file)
    ready, _, _ = select.select([connection.fileno(), lives, sys.stdin], [], [])
    if lives not in ready:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(OSError):
        connection.sendall(str(status).encode())


def become(arguments: Sequence[str], folder: str, environment: dict[str, str], files: Sequence[int]) -> None:
    """Runs `-m MODULE …` as an interpreter of that folder and environment would."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # which a library may have asked for
    sys.path[:0] = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    numpy.random.seed()  # each process has its own
    _, module, *more = arguments
    sys.argv = [module, *more]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
