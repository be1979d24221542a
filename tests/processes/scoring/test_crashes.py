"""A record on which the model takes the process down becomes a dead letter after one restart.

The adversary is a model whose native code calls abort() on one value: the process is really gone, and the
records come again in other batches.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import crashing, crashing_explained
from udfs.scoring.crashes import FOLDER
from udfs.scoring.in_flight import InFlight, Range
from udfs.scoring.scorer import DEAD, PREDICTED, Scorer

OFFSETS = range(40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crashing.write(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a job notes what is in flight: no test finds the notes of another."""
    monkeypatch.setenv(FOLDER, str(tmp_path / "crashes"))
    return tmp_path / "crashes"


@pytest.fixture(scope="module")
def left(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The notes of a process that scored records in tens until the model took it down."""
    left = tmp_path_factory.mktemp("crashes")
    code, lines = scored(folder, 10, left)
    assert code == -signal.SIGABRT
    assert lines == expected()[:10]
    return left


def scored(folder: Path, cut: int, notes: Path, explain: int = 0) -> tuple[int, list[list[str]]]:
    """The exit code of a process that scores all records, and what it printed."""
    numbers = map(str, (cut, 0, len(OFFSETS), explain))
    command = [sys.executable, "-m", "tests.helpers.crashing", str(folder), *numbers]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        env={**os.environ, FOLDER: str(notes)},
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return done.returncode, [line for line in lines if line[0].isdecimal()]  # without what is logged


def expected() -> list[list[str]]:
    deadly = int(crashing.DEADLY)
    return [
        [str(o), str(DEAD), "model_crash"] if o == deadly else [str(o), str(PREDICTED), "-"] for o in OFFSETS
    ]


@pytest.mark.parametrize("again", [40, 7])
def test_the_record_is_a_dead_letter_after_one_restart(
    folder: Path, left: Path, notes: Path, again: int
) -> None:
    shutil.copytree(left, notes)
    assert scored(folder, again, notes) == (0, expected())


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A version, and the notes of a process that explained records in tens until that took it down."""
    folder = crashing.write(tmp_path_factory.mktemp("explained"), crashing_explained.fitted())
    left = tmp_path_factory.mktemp("crashes")
    code, lines = scored(folder, 10, left, explain=1)
    assert (code, len(lines)) == (-signal.SIGABRT, 10)
    return folder, left


@pytest.mark.parametrize("again", [40, 7])
def test_a_crash_of_an_explanation_costs_only_the_explanation(
    again: int, explaining: tuple[Path, Path], notes: Path
) -> None:
    """The prediction is there, and those of the neighbours are explained."""
    folder, left = explaining
    shutil.copytree(left, notes)
    code, lines = scored(folder, again, notes, explain=1)
    assert (code, len(lines)) == (0, len(OFFSETS))
    for offset, kind, reason, prediction, explained in lines:
        assert (kind, reason, float(prediction)) == (str(PREDICTED), "-", int(offset) / 2)
        if float(offset) == crashing.DEADLY:
            assert explained == "unexplained"
        else:
            assert float(explained) == pytest.approx(int(offset) / 2)


def test_a_process_that_was_killed_for_another_reason_costs_no_record(folder: Path, tmp_path: Path) -> None:
    """Such as by the system, for its memory: the rows in flight are tried, and predicted."""
    program = (
        "import os, sys; from pathlib import Path; from udfs.scoring.crashes import folder_of;"
        "from udfs.scoring.in_flight import InFlight, Range; from tests.helpers.crashing import params_of;"
        "p = params_of(Path(sys.argv[1])); n = InFlight(folder_of(f'{p.source.topic} {p.model.folder}'));"
        "n.of([Range(0, 20, 30), Range(1, 20, 30)]).__enter__(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    scorer = Scorer(crashing.params_of(folder))
    outcomes = scorer.score(crashing.batch(range(20, 31)))
    scorer.close()
    assert set(outcomes.kind.tolist()) == {PREDICTED}


def test_notes_of_living_processes_and_of_finished_predictions_accuse_nobody(tmp_path: Path) -> None:
    first = InFlight(tmp_path)
    with first.of([Range(0, 1, 2)]):
        assert InFlight(tmp_path).left_behind == []
    first.close()
    assert InFlight(tmp_path).left_behind == []


def test_notes_without_a_place_stop_no_job(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    outcomes = Scorer(crashing.params_of(folder)).score(crashing.batch(range(5)))
    assert set(outcomes.kind.tolist()) == {PREDICTED}


def test_notes_cost_next_to_nothing(tmp_path: Path) -> None:
    """Two stores into memory: a slow machine has a hundred times what they take here."""
    notes, count = InFlight(tmp_path), 2_000
    started = time.perf_counter()
    for offset in range(count):
        with notes.of([Range(0, offset, offset + 1_000)]):
            pass
    assert (time.perf_counter() - started) / count < 500e-6
    assert os.path.getsize(next(tmp_path.glob("*.live"))) == 4096
