"""`tailrace` as a shell calls it, in a process of its own, or here.

A process of its own begins with the libraries of others imported, as to import them takes most of a command's
CPU. Tests of signals, and of who is killed when, do without. Its Java is a new one, whose first job takes
some 15 CPU seconds more than the next: where processes are not what a test is about, the command is run here.

done = tailrace_here("submit", "job.yaml", "--cluster", url, folder=tmp_path)
assert done.returncode == 0, done.stderr
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from flink_jobs.cli import main
from flink_jobs.system.warm_workers import warm_python

_LIBRARIES = (
    *("confluent_kafka.admin", "fastavro", "jmespath", "msgspec", "pandas", "pydantic", "pyarrow.parquet"),
    *(
        "pyflink.datastream",
        "pyflink.java_gateway",
        "pyflink.table",
        "requests",
        "rich.console",
        "rich.table",
    ),
    *("ruamel.yaml", "scipy.stats", "sqlglot", "typer"),
)


def tailrace_command() -> list[str]:
    """What the words of a command follow."""
    return [warm_python(*_LIBRARIES), "-m", "flink_jobs.cli"]


def tailrace_here(
    *words: str, environ: Mapping[str, str] = os.environ, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What the command says, and its exit code; with this environment, in this folder."""
    out, err = io.StringIO(), io.StringIO()
    with (
        _environment(dict(environ)),
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        arguments, sys.argv = sys.argv, ["tailrace", *words]
        code: int | str | None = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = arguments
    assert isinstance(code, int | None)
    return subprocess.CompletedProcess(words, code or 0, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
