"""The loop of the benchmark, on a made-up year in which labels turn round: the concept, not the inputs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import log_loss

from tests.bench import loop
from udfs.times import parse_time

TURN, END = parse_time("2013-08-01"), parse_time("2013-10-01")
A_DAY = 160


def made_up(turn: int) -> loop.Year:
    """From March on; whether a flight is late follows from one number, and from its opposite later."""
    random = np.random.default_rng(3)
    left = np.arange(parse_time("2013-03-01"), END, loop.DAY_MS // A_DAY, dtype=np.int64)
    drawn = random.normal(0, 2, len(left))
    odds = 1 / (1 + np.exp(np.where(left < turn, -drawn, drawn)))
    late = random.random(len(left)) < odds
    return loop.Year(drawn[:, None], left, left + 7_200_000, random.random(len(left)) < 0.98, late)


def lived(root: Path, turn: int) -> tuple[list[str], float]:
    """The steps, and the log loss of the last month."""
    data = made_up(turn)
    life = loop.Life(data, root)
    scores, last = life.live(), data.left[life.rows] >= END - 30 * loop.DAY_MS
    return [kind for _, kind, _ in life.steps], float(log_loss(data.late[life.rows[last]], scores[last]))


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "END", END)
    # What has learnt another concept has other scores.
    monkeypatch.setattr(loop, "GATE", msgspec.structs.replace(loop.GATE, drift=None))


def test_a_concept_that_turns_round_is_learnt_and_released(tmp_path: Path) -> None:
    """No input moves: labels alone tell, two weeks later, and each week more of them."""
    kinds, loss = lived(tmp_path, TURN)
    data = made_up(TURN)
    rows = data.between(END - 30 * loop.DAY_MS, END)
    kept = log_loss(data.late[rows], loop.fit(data, loop.START).scores(data, rows))
    assert kinds[:4] == ["train", "fit", "shadow", "promote"]
    assert kinds.count("train") <= 9
    # Of what has landed since March most is from before: it learns as fast as the mixture changes.
    assert loss < 0.75 * kept


def test_without_a_change_nothing_is_trained(tmp_path: Path) -> None:
    kinds, _ = lived(tmp_path, END)
    assert kinds == []
