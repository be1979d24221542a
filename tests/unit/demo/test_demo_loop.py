"""The demo's loop, on a made-up year in which labels turn round: the concept, not the inputs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import log_loss, roc_auc_score

from flink_jobs.demo import loop, loop_year
from flink_jobs.demo.loop_life import Happened, Life
from flink_jobs.demo.loop_year import DAY_MS, START, Year
from udfs.times import parse_time

TURN, END = parse_time("2013-08-01"), parse_time("2013-10-01")
A_DAY = 160


def made_up(turn: int) -> Year:
    """From March on; whether a flight is late follows from one number, and from its opposite later."""
    random = np.random.default_rng(3)
    left = np.arange(parse_time("2013-03-01"), END, DAY_MS // A_DAY, dtype=np.int64)
    drawn = random.normal(0, 2, len(left))
    odds = 1 / (1 + np.exp(np.where(left < turn, -drawn, drawn)))
    late = random.random(len(left)) < odds
    return Year(drawn[:, None], left, left + 7_200_000, random.random(len(left)) < 0.98, late)


def lived(root: Path, turn: int) -> tuple[list[Happened], float]:
    """The steps, and the log loss of the last month."""
    data = made_up(turn)
    life = Life(data, root)
    scores, last = life.live(), data.left[life.rows] >= END - 30 * DAY_MS
    return life.steps, float(log_loss(data.late[life.rows[last]], scores[last]))


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_year, "END", END)
    monkeypatch.setattr(loop, "END", END)


def test_a_concept_that_turns_round_is_learnt_and_released(tmp_path: Path) -> None:
    """No input moves: labels alone tell, two weeks later, and each week more of them."""
    steps, loss = lived(tmp_path, TURN)
    data = made_up(TURN)
    rows = data.between(END - 30 * DAY_MS, END)
    kept = log_loss(data.late[rows], loop_year.fit(data, START).scores(data, rows))
    kinds = [happened.step for happened in steps]
    assert kinds[:4] == ["train", "fit", "shadow", "promote"]
    assert steps[0].day >= "2013-08-08"
    assert [happened.version for happened in steps[:4]] == [None, 2, 2, 2]
    assert kinds.count("train") <= 9
    # Of what has landed since March most is from before: it learns as fast as the mixture changes.
    assert loss < 0.75 * kept


def test_without_a_change_nothing_is_trained(tmp_path: Path) -> None:
    steps, _ = lived(tmp_path, END)
    assert steps == []


def test_the_demo_prints_each_step_with_its_reason_and_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adversary is a table that is not of the scores: its AUC of the model of June is scikit-learn's."""
    data = made_up(TURN)
    monkeypatch.setattr(loop, "year", lambda: data)
    # Each night would take a minute.
    monkeypatch.setattr(loop, "every", lambda data, days: loop_year.every(data, 30))
    out = io.StringIO()
    assert loop.run(Console(file=out, width=200))
    lines = out.getvalue().splitlines()
    steps = [line.strip() for line in lines if line.startswith("  2013-")]
    assert [step.split("  ")[1].split(":")[0] for step in steps[:4]] == [
        "a training begins",
        "version 2 is trained",
        "version 2 scores as a shadow",
        "version 2 is champion",
    ]
    assert "the realized log_loss was worse than" in steps[0]
    assert "passed the gate after" in steps[3]
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines if line.startswith("| ")}
    assert list(rows) == ["trained", "never", "loop", "weekly", "always"]
    of_time = data.between(START, END)
    known = of_time[data.known[of_time]]
    kept = loop_year.fit(data, START).scores(data, known)
    assert rows["never"][1] == f"{roc_auc_score(data.late[known], kept):.4f}"
    assert rows["never"][2] == f"{log_loss(data.late[known], kept):.4f}"
    assert float(rows["loop"][2]) < float(rows["never"][2])
