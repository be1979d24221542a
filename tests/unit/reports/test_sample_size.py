"""How long a comparison takes: against simulated ones, and what the command says."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.reports.sample_size import lasting, measured
from tests.helpers.quality import compared, of_numbers
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.sample_size import Spread, canary_labels, information, steps_labels
from udfs.rollout.sequential import Estimate, log_evidence

runner = CliRunner()


@pytest.mark.parametrize("power", [0.8, 0.95])
def test_so_much_information_decides_so_many_cases(power: float) -> None:
    """Brownian motion with a drift, looked at 100 times on the way: crossing early is possible too."""
    distance, effects = 0.05, (0.05, 0.2)
    needed = information(distance, 0.01, power, effects)
    draw = np.random.default_rng(8)
    looks = np.linspace(0, needed, 101)[1:]
    paths = np.cumsum(draw.normal(distance * needed / 100, math.sqrt(needed / 100), (400, 100)), axis=1)
    decided = [
        any(
            log_evidence(Estimate(1.0, s / v, 1 / v, 0.0, 0.0), 0.0, effects) >= math.log(100)
            for v, s in zip(looks.tolist(), path.tolist(), strict=True)
        )
        for path in paths
    ]
    assert power - 0.06 < np.mean(decided) < power + 0.1


def test_both_sides_need_labels() -> None:
    """The variance of a difference of two means, by share."""
    spread = Spread(1.44)
    for share in (0.01, 0.5, 0.9):
        own = canary_labels(spread, 1_000.0, share)
        assert 1.44 / own + 1.44 / (own * (1 - share) / share) == pytest.approx(1 / 1_000)
    first, second = steps_labels(spread, [100.0, 400.0], [0.1, 0.5], 10)
    assert first[0] == pytest.approx(160)
    assert second == pytest.approx((864, 1_728))
    assert steps_labels(spread, [100.0, 100.0], [0.1, 0.5], 500) == [(500, 5_000), (0.0, 0.0)]


def plan(tmp_path: Path, records: list[ComparisonRecord], *words: str) -> str:
    file = tmp_path / "comparisons.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(record) for record in records))
    done = runner.invoke(app, ["release", "plan", str(file), *words], env={"COLUMNS": "80"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_says_labels_records_and_time(tmp_path: Path) -> None:
    output = plan(tmp_path, [compared(0.0, role="shadow")], "--detect", "2%", "--rate", "100")
    lines = {line[:15].strip(): line[15:].split() for line in output.splitlines()}
    labels = {name: int(lines[name][0].replace(",", "")) for name in ("shadow", "canary at 0.5")}
    assert labels["shadow"] < labels["canary at 0.5"]
    own, every, records = (int(cell.replace(",", "")) for cell in lines["canary at 0.1"][:3])
    assert every == pytest.approx(10 * own, rel=1e-3)
    assert records == every  # each record has its label
    assert " ".join(lines["canary at 0.1"][3:]) == lasting(records / 100)
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output


def test_numbers_have_the_root_of_their_loss(tmp_path: Path) -> None:
    output = plan(tmp_path, [of_numbers().window])
    assert "An equal version's RMSE is shown" in output
    assert "From RMSE 2," in " ".join(output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--detect", "0"], "--detect must be from 0.0001 to 1"),
        (["--power", "many"], "--power must be from 0.5"),
        (["--confidence", "10%"], "--confidence must be from 0.5"),
        (["--rate", "0"], "--rate must be above 0; got 0"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(tmp_path, [compared(0.0)], *words)


def test_without_labels_nothing_can_be_said() -> None:
    record = compared(0.0)
    bare = msgspec.structs.replace(
        record, versions=tuple(msgspec.structs.replace(v, labels=None) for v in record.versions), pairs=()
    )
    with pytest.raises(InputError, match="must have labels of a champion"):
        measured([bare], None)
