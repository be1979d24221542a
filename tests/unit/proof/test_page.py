"""The page has each run once, in the line of its case; and the file of results keeps what it has."""

from __future__ import annotations

import re
from pathlib import Path

from tests.proof.faults import FAULTS
from tests.proof.ledger import Ledger
from tests.proof.load import Load
from tests.proof.page import page
from tests.proof.proof import Proof
from tests.proof.results import entry, merged, read, read_edits, read_loads, write

STOPS = [
    Proof(7, ["stop", "stop"], 1_000, 5, [3.0, 8.0], Ledger(), [], date="2026-11-28", commit="abc"),
    Proof(8, ["stop"], 500, 2, [4.0], Ledger(doubled=[9]), [], date="2026-11-29", commit="def"),
]
ADDED = Proof(9, ["partitions-added"], 700, 3, [], Ledger(lost=[1, 2], named=[5]), [], date="2026-11-29")


def cells(text: str, name: str) -> list[str]:
    [line] = re.findall(rf"^\| `{name}`.*", text, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_runs_of_one_case_are_one_line_with_their_sums() -> None:
    text = page([entry(each) for each in (ADDED, *STOPS)], FAULTS)
    assert cells(text, "stop")[1:] == [
        *("3", "1500", "0", "0", "1", "0", "0", "7", "0", "4 to 6, 8", "7, 8"),
        *("2026-11-28, 2026-11-29", "abc, def"),
    ]
    assert cells(text, "partitions-added")[1:5] == ["1", "700", "2", "1"]
    assert text.index("| `stop`") < text.index("| `partitions-added`")
    assert "4 runs in all" in text
    assert "`worker`" in text.partition("Not run:")[2]


def test_faults_of_several_kinds_to_one_job_are_a_line_of_their_own() -> None:
    both = Proof(5, ["full", "slow"], 900, 4, [2.0], Ledger(), [], date="2026-11-29")
    text = page([entry(both), entry(STOPS[0])], FAULTS)
    [line] = [line for line in text.splitlines() if line.startswith("| `full`, `slow`")]
    assert line.split("|")[2:4] == [" 2 ", " 900 "]
    assert "`full`" not in text.partition("Not run:")[2]
    assert text.index("| `stop`") < text.index("| `full`")


def test_new_runs_join_those_that_are_there_once(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    write(file, merged(read(file), [entry(STOPS[0])]))
    write(file, merged(read(file), [entry(each) for each in STOPS]))
    assert read(file) == [entry(each) for each in STOPS]
    assert len(file.read_text().splitlines()) == len(STOPS) + 2


LOAD = Load(
    15,
    9,
    1_000.0,
    700.0,
    {"lag": 2.0},
    {"lag": 400.0},
    6_300.0,
    31.0,
    9,
    850.0,
    (1.0, 7.5),
    2,
    3,
    "2026-11-29",
    "abc",
)


def test_what_was_seen_under_load_stands_on_the_page_in_ratios(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    write(file, [LOAD])
    write(file, [*read_loads(file), LOAD])
    assert read_loads(file) == [LOAD, LOAD]
    assert LOAD.holds()
    text = page([entry(STOPS[0])], FAULTS, [LOAD])
    assert "a burst of 9.0 times that for 60 s was caught up 31 s after its end" in text.replace("\n  ", " ")
    assert "drained at 0.85 times the first rate" in text.replace("\n  ", " ")
    assert "| records that wait | 400.0 | +2.00 | +30.0 |" in text
    assert "Under load" not in page([entry(STOPS[0])], FAULTS)


def test_the_documented_page_is_that_of_the_documented_results() -> None:
    docs = Path(__file__).parents[3] / "docs"
    written, made = (
        (docs / "proof.md").read_text(),
        page(
            read(docs / "proof.json"), FAULTS, read_loads(docs / "load.json"), read_edits(docs / "edits.json")
        ),
    )
    assert [line for line in written.splitlines() if line.startswith(("| `", "  | "))] == [
        line for line in made.splitlines() if line.startswith(("| `", "  | "))
    ]
