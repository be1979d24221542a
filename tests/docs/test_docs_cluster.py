"""The day on a cluster that the README tells of, command by command."""

from __future__ import annotations

import re

import pytest

from flink_jobs.local import stack
from flink_jobs.registry import Registry
from flink_jobs.system.processes import free_port
from tests.helpers.flight_model import add_version
from tests.helpers.pages import README, Workspace, commands, flight_files, run_script, workspace

__all__ = ["flight_files", "workspace"]


@pytest.mark.timeout(600)
def test_a_day_on_the_cluster_of_the_readme(workspace: Workspace) -> None:
    """The commands as they stand, but for ports and memory, and with an edit before the job goes on."""
    kafka, flink = free_port(), free_port()
    ports = f"--kafka-port {kafka} --flink-port {flink}"
    lines = [f"{line} {ports}" if line == "tailrace up" else line for line in commands(README)]
    day = lines[: lines.index("tailrace down") + 1]
    resume = next(
        i for i, line in enumerate(day) if line.startswith("tailrace submit") and "savepoint" in line
    )
    day.insert(resume, "sed -i 's/include: .flight_id,/include: [flight_id, hour,/' conf/flight_delay.yaml")
    add_version(Registry(workspace[0] / "models"))
    day = [line for line in day if not line.startswith("tailrace train ")]
    compare = next(i for i, line in enumerate(day) if "release compare" in line)
    day.insert(compare, f"until {day[compare]} | grep 'shadow 2 to' > compared; do sleep 2; done")
    # It has learned so little that the gate would never let it pass.
    day = [line.replace(" --if conf/flight_delay_live.yaml", "") for line in day]
    day = [line.replace("--seconds 600", "--seconds 120") for line in day]
    try:
        output = run_script(day, workspace, TAILRACE_BROKERS=f"127.0.0.1:{kafka}")
    finally:
        stack.down(workspace[0] / ".tailrace")
    assert "release 2: champion 1, shadow 2, from 20" in output
    assert "shadow 2 to 1" in output
    assert "release 5: champion 1, from 20" in output
    assert "28485 records written to flights.departed" in output
    read = [line for line in output.splitlines() if '"topic": "flight-delay.predictions"' in line]
    assert len([line for line in read if '"offset"' in line]) == 2
    assert "flight-delay │ running" in output or re.search(r"flight-delay\s.*running", output)
