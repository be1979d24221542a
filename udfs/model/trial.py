"""Tries in a process of its own whether a version loads, where a damaged one could end the process.

Libraries that parse models in native code abort, or crash, on some damage: a hash protects against what came
later, not against a file that was damaged when it was signed. What is tried here first ends a child.

    python -m udfs.model.trial      # reads a Tried on its standard input, prints why not
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgspec
import structlog

from udfs.errors import ModelError
from udfs.model.format_table import FORMATS
from udfs.model.loading import load_version
from udfs.model.manifest import read_manifest
from udfs.model.signatures import ANYONE, Trust

SECONDS = 300.0
_REFUSED = 3
log = structlog.get_logger(__name__)


class Tried(msgspec.Struct, frozen=True):
    """A version: its folder or URI, and what is demanded of it."""

    folder: str
    digest: str | None = None
    trust: Trust = ANYONE


# Made on import, as all decoders: see `udfs.model.manifest`.
_decoder = msgspec.msgpack.Decoder(Tried)


def check_survives(
    folder: str, *, digest: str | None = None, trust: Trust = ANYONE, seconds: float = SECONDS
) -> None:
    """Raise `ModelError` unless a child loads the version, and reproduces its golden rows, and lives on.

    Nothing is tried of formats that Python itself parses.
    """
    if FORMATS[read_manifest(folder).format].estimator:
        return
    # With the same import path: Flink ships this code to a folder of its own.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "udfs.model.trial"]
    asked = msgspec.msgpack.encode(Tried(folder, digest, trust))
    try:
        done = subprocess.run(command, input=asked, capture_output=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise ModelError(f"{folder} cannot be used: it does not load within {seconds:g} s") from None
    except OSError as error:
        log.warning("version_not_tried", error=str(error))
        return
    if done.returncode == _REFUSED:
        raise ModelError(done.stderr.decode(errors="replace").strip())
    if done.returncode:
        raise ModelError(
            f"{folder} cannot be used: {_end(done.returncode)} when the model is loaded or scores"
        )


def _end(code: int) -> str:
    if code > 0:
        return f"its process ends with {code}"
    try:
        return f"its process is ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process is ended by signal {-code}"


def main() -> None:
    """Exits with 0 if the version loads. What a library says on the way is not for the one who asked."""
    said = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    asked = _decoder.decode(sys.stdin.buffer.read())
    try:
        load_version(asked.folder, digest=asked.digest, trust=asked.trust)
    except ModelError as error:
        os.write(said, str(error).encode())
        sys.stdout.flush()
        os._exit(_REFUSED)


if __name__ == "__main__":
    main()
