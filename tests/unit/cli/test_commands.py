"""The table of commands says what the commands' own modules say, and `--help` imports none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flink_jobs.cli.commands import COMMANDS, load

# What hides values of the environment in an error.
MASKS = ("flink_jobs.system", "flink_jobs.system.masks")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_repeats_the_commands_own_help(name: str) -> None:
    command, entry = load(name), COMMANDS[name]
    assert " ".join(command.help.split("\n\n")[0].split()) == entry.help


def test_help_imports_no_command() -> None:
    code = (
        "import sys\nfrom flink_jobs.cli import app\napp(['--help'], standalone_mode=False)\n"
        "print(sorted(m for m in sys.modules if m.startswith('flink_jobs')), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stderr.strip() == str(
        ["flink_jobs", "flink_jobs.cli", "flink_jobs.cli.commands", "flink_jobs.errors", *MASKS]
    )
    assert all(name in run.stdout for name in COMMANDS)
