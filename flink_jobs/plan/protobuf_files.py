"""Protobuf schemas of a job's own: a .proto file, which protoc compiles, or the set of descriptors it wrote.

descriptors = read_descriptors(Path("payment.proto"))
chosen_message(descriptors, None)
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from flink_jobs.errors import InputError
from udfs.records.protobuf import message_names

LARGEST_FILE = 1_000_000
_SECONDS = 60


def read_descriptors(path: Path) -> bytes:
    """The set of descriptors of the file. Raises InputError where it cannot be read or compiled."""
    if path.suffix == ".proto":
        return _compiled(path)
    try:
        with path.open("rb") as file:
            found = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path} ({error.strerror})") from None
    if len(found) > LARGEST_FILE:
        raise InputError(f"{path} (more than {LARGEST_FILE} bytes)")
    return found


def chosen_message(descriptors: bytes, name: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The message that records are, None where that is not clear, and all that the file has.

    A name may leave the package out. Raises SchemaError for what is no set of descriptors.
    """
    names = tuple(message_names(descriptors))
    return chosen_of(names, name), names


def chosen_of(names: Sequence[str], name: str | None) -> str | None:
    """The message of these that records are, None where that is not clear."""
    if name is None:
        # Messages within the only one are its parts.
        tops = [each for each in names if not any(each.startswith(f"{other}.") for other in names)]
        return tops[0] if len(tops) == 1 else None
    found = [each for each in names if each == name or each.endswith(f".{name}")]
    exact = name if name in found else None
    return exact or (found[0] if len(found) == 1 else None)


def _compiled(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} (No such file)")
    with TemporaryDirectory() as folder:
        out = Path(folder, "set.desc")
        options = [f"--proto_path={path.parent}", "--include_imports", f"--descriptor_set_out={out}"]
        try:
            done = subprocess.run(
                [*_compiler(), *options, path.name],
                cwd=path.parent,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{path} (protoc cannot be run: {error})") from None
        if done.returncode != 0 or not out.is_file():
            said = " ".join(done.stderr.split())
            raise InputError(f"{path} (protoc: {said:.500})")
        return read_descriptors(out)


def _compiler() -> list[str]:
    if protoc := shutil.which("protoc"):
        return [protoc]
    if importlib.util.find_spec("grpc_tools"):
        return [sys.executable, "-m", "grpc_tools.protoc"]
    raise InputError(
        "no protoc (install protobuf-compiler, or the package grpcio-tools; or give what "
        "`protoc --include_imports --descriptor_set_out=FILE.desc` has written elsewhere)"
    )
