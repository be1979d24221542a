"""A writer of a version that dies with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flink_jobs.registry import Registry
from flink_jobs.system.jars import PROJECT
from tests.helpers.registered import write
from udfs.model.loading import load_version


def test_a_writer_that_is_killed_leaves_no_version(tmp_path: Path) -> None:
    """The process dies between the last file and the rename."""
    registry = Registry(tmp_path)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from flink_jobs.registry import Registry; from tests.helpers.registered import write\n"
        "os.rename = lambda *_: os._exit(9)\n"
        "write(Registry(Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(registry.root)]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 9
    assert registry.models() == []
    assert write(registry).version == 1
    assert load_version(registry.folder("fraud", 1)).manifest.version == 1
