"""The table of commands says what the commands' own modules say, and `--help` imports none of them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.cli.commands import COMMANDS, load

# What hides values of the environment in an error.
MASKS = ("flink_jobs.system", "flink_jobs.system.masks")
LARGE = {"confluent_kafka", "flink_jobs.plan", "flink_jobs.spec", "pandas", "pyarrow"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_repeats_the_commands_own_help(name: str) -> None:
    command, entry = load(name), COMMANDS[name]
    assert " ".join(command.help.split("\n\n")[0].split()) == entry.help


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_one_style(name: str) -> None:
    """Values in capitals or as choices, nothing for flags; both names of the option for help."""
    text = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80"}).output
    assert not re.search(r"<(bool|str|int|float|path|dir|file|choice)\b", text)
    assert re.search(r"--help +-h +Show this message", text)
    assert max(map(len, text.splitlines())) <= 80


def test_help_imports_no_command_and_jobs_nothing_of_job_files() -> None:
    """`tailrace jobs` is called again and again."""
    code = (
        "import sys\nfrom flink_jobs.cli import app\napp(['--help'], standalone_mode=False)\n"
        "print(sorted(m for m in sys.modules if m.startswith('flink_jobs')), file=sys.stderr)\n"
        f"from flink_jobs.cli.commands import load\nload('jobs')\n"
        f"print({LARGE} & {{*sys.modules}}, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stderr.splitlines() == [
        str(["flink_jobs", "flink_jobs.cli", "flink_jobs.cli.commands", "flink_jobs.errors", *MASKS]),
        "set()",
    ]
    assert all(name in run.stdout for name in COMMANDS)
