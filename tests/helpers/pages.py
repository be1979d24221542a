"""README and docs as tests read them, and a place to run their commands in.

>>> commands("```console\\n$ tailrace --help\\nUsage: …\\n```")
['tailrace --help']
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.system.jars import PROJECT
from tests.helpers.flight_model import FlightFiles, flight_files

__all__ = ["flight_files"]

README = (PROJECT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((PROJECT / "docs").glob("*.md"))}
PAGES = {"README.md": README, **DOCS}
Workspace = tuple[Path, dict[str, str]]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The lines of console blocks that a person types."""
    return [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line[:2] == "$ "]


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading, or after any other line that begins so."""
    lines = text[re.search(rf"^{re.escape(heading)}", text, re.MULTILINE).start() :].splitlines()  # type: ignore[union-attr]
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def workspace(tmp_path: Path, flight_files: FlightFiles) -> Workspace:
    """A checkout's files that commands name, and the environment to run them in."""
    (tmp_path / "conf").mkdir()
    for file in ("flight_delay.yaml", "flight_delay_live.yaml"):
        shutil.copy(PROJECT / "conf" / file, tmp_path / "conf")
    shutil.copytree(flight_files.models, tmp_path / "models")
    shutil.copytree(flight_files.tables, tmp_path / ".tailrace" / "demo")
    venv = Path(sys.executable).parent
    (tmp_path / ".venv").symlink_to(venv.parent)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TAILRACE_")}
    jars = os.environ.get("TAILRACE_JARS", str(PROJECT / ".jars"))
    return tmp_path, {**kept, "PATH": f"{venv}:{os.environ['PATH']}", "TAILRACE_JARS": jars}


def run_script(lines: list[str], workspace: Workspace, **environ: str) -> str:
    """Runs the lines as one bash script that ends at the first failure; returns its output."""
    folder, inherited = workspace
    script = "set -euxo pipefail\n" + "\n".join(lines)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**inherited, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
