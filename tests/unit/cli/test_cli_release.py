"""`tailrace release`: what a person types, and what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.errors import InputError
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Releases
from tests.helpers.following import add

runner = CliRunner()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for _ in range(3):
        add(tmp_path)
    return tmp_path


def release(root: Path, *words: str) -> str:
    done = runner.invoke(app, ["release", *words, "--registry", str(root)], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def numbers(root: Path) -> list[int]:
    return Registry(root).releases("fraud")


def test_a_life(root: Path) -> None:
    assert re.match(
        r"release 2: champion 1, shadow 2, from 20\S+Z on\n", release(root, "shadow", "fraud", "2")
    )
    out = release(root, "canary", "fraud", "2", "--share", "5%", "--key", "customer", "--at", "+1h")
    assert "release 3: champion 1, canary 2 (0.05 of customer), from 20" in out
    assert "canary 2 (0.5 of customer)" in release(
        root, "canary", "fraud", "2", "--share", "0.5", "--at", "+1h"
    )
    release(root, "promote", "fraud", "2", "--at", "2100-01-01T00:00Z", "--reason", "better")
    release(root, "rollback", "fraud", "--at", "2100-01-02T00:00Z")
    assert "version 2 withdrawn at once" in release(root, "withdraw", "fraud", "2")
    lines = [json.loads(line) for line in release(root, "history", "fraud", "--json").splitlines()]
    actions = [(line["action"], line["champion"]) for line in lines]
    assert actions == [
        ("promote", 1),
        ("shadow", 1),
        ("canary", 1),
        ("canary", 1),
        ("promote", 2),
        ("rollback", 1),
        ("withdraw", 1),
    ]
    table = release(root, "history", "fraud")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0][:2] == ["release", "what"]
    assert ["6", "to", "come", "rollback", "2100-01-02T00:00:00.000Z", "1"] in [row[:6] for row in rows]
    assert ["1", "now", "promote", "always", "1"] in [row[:5] for row in rows]
    assert "better" in table


def test_a_dry_run_writes_nothing(root: Path) -> None:
    assert release(root, "promote", "fraud", "2", "--dry-run").startswith(
        "would be release 2: champion 2, from"
    )
    assert numbers(root) == [1]


def test_the_past_needs_a_word(root: Path) -> None:
    with pytest.raises(InputError, match=r"at least the lead of 20 s ahead.*--past"):
        release(root, "promote", "fraud", "2", "--at", "2026-01-01T00:00Z")
    assert "from 2026-01-01T00:00:00.000Z on" in release(
        root, "promote", "fraud", "2", "--at", "2026-01-01T00:00Z", "--past"
    )
    assert "for all records" in release(root, "promote", "fraud", "3", "--at", "start")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["canary", "fraud", "2", "--share", "5", "--key", "k"],
            "--share must be above 0 and at most 1.*'5'",
        ),
        (["canary", "fraud", "2", "--share", "5%"], "needs a key.*--key COLUMN"),
        (["canary", "fraud", "1", "--share", "5%", "--key", "k"], "version 1 is the champion already"),
        (["promote", "fraud", "2", "--at", "noon"], "--at: a time must be ISO 8601.*or start"),
        (["promote", "fraud", "2", "--lead", "soon"], "--lead must be a duration such as 90s"),
        (["promote", "fraud", "9"], "version 9 of model fraud must be one of 1, 2, 3"),
        (["promote", "fruad", "1"], "did you mean 'fraud'"),
        (["rollback", "fraud"], "no champion before version 1; give --to VERSION"),
        (["shadow", "fraud", "1"], "version 1 scores already"),
    ],
)
def test_mistakes_are_named_and_write_nothing(root: Path, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        release(root, *words)
    assert numbers(root) == [1]


def test_two_at_once_are_both_recorded(root: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from flink_jobs.registry.releases import Activation

    log = Releases(Registry(root), "fraud")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda v: log.promote(v, Activation()).number, [2, 3] * 4))
    assert sorted(made) == list(range(2, 10))
    assert numbers(root) == list(range(1, 10))
