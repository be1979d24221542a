"""Tables at 80 columns; the adversary is a name that is longer than its column and has no space."""

from __future__ import annotations

import io
import re

from rich.table import Table

from flink_jobs.system.terminal import open_console

NAME = "card-fraud-of-the-north-and-the-south-and-the-rest-of-the-world-by-hour-" * 3


def test_names_are_folded_and_never_cut() -> None:
    out = io.StringIO()
    table = Table("version", "name", "a column of some width", "and another one")
    table.add_row("1", NAME, "x" * 20, "y" * 20)
    open_console(file=out, width=80).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    cells = [re.split("[│┃]", line)[2].strip() for line in lines if line.count("│") == 5]
    assert "".join(cells) == NAME
