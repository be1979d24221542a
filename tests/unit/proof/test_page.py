"""The page has each run once, in the line of its case."""

from __future__ import annotations

import re

from tests.proof.faults import FAULTS
from tests.proof.ledger import Ledger
from tests.proof.page import page
from tests.proof.proof import Proof

STOPS = [
    Proof(7, ["stop", "stop"], 1_000, 5, [3.0, 8.0], Ledger(), [], date="2026-11-28", commit="abc"),
    Proof(8, ["stop"], 500, 2, [4.0], Ledger(doubled=[9]), [], date="2026-11-29", commit="def"),
]
ADDED = Proof(9, ["partitions-added"], 700, 3, [], Ledger(lost=[1, 2]), [], date="2026-11-29")


def cells(text: str, name: str) -> list[str]:
    [line] = re.findall(rf"^\| `{name}`.*", text, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_runs_of_one_case_are_one_line_with_their_sums() -> None:
    text = page([ADDED, *STOPS], FAULTS)
    assert cells(text, "stop")[1:] == [
        *("3", "1500", "0", "1", "0", "0", "7", "0", "4, 8", "7, 8"),
        *("2026-11-28, 2026-11-29", "abc, def"),
    ]
    assert cells(text, "partitions-added")[1:5] == ["1", "700", "2", "0"]
    assert text.index("| `stop`") < text.index("| `partitions-added`")
    assert "4 runs in all" in text
    assert "`worker`" in text.partition("Not run:")[2]
