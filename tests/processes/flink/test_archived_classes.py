"""What Java itself says of where the classes of a second local run came from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flink_jobs.system.jars import connector_jars

PLANNER = "org.apache.flink.table.planner.delegation.DefaultPlannerFactory"
RUN = f"""
from flink_jobs.run.jvm import apart_gateway, archive_classes
apart_gateway().jvm.{PLANNER}()
archive_classes()
"""


def test_the_second_jvm_has_the_planner_from_the_archive(tmp_path: Path) -> None:
    fetched = connector_jars()[0].parent.parent
    for name in ("flink", "kafka"):
        (tmp_path / name).symlink_to(fetched / name)
    said = [_run(tmp_path, tmp_path / f"{number}.log") for number in range(2)]
    assert "shared objects file" not in said[0]
    assert "shared objects file (top)" in said[1]
    for jar in (tmp_path / "java").glob("*.jar"):
        os.utime(jar)  # whoever changed it: the archive is of another jar
    assert "shared objects file" not in _run(tmp_path, tmp_path / "changed.log")


def _run(jars: Path, log: Path) -> str:
    """What Java's log says of the planner's class."""
    java = f"{os.environ['JVM_ARGS']} -Xlog:class+load:file={log}"
    given = os.environ | {"TAILRACE_JARS": str(jars), "JVM_ARGS": java}
    subprocess.run([sys.executable, "-c", RUN], env=given, check=True, timeout=120)
    [line] = [line for line in log.read_text().splitlines() if f" {PLANNER} " in line]
    return line
