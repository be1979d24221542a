"""`tailrace quality`: what a person reads first, revisions, hostile text, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from tests.helpers.quality_records import record
from udfs.quality.records import QualityRecord


def written(path: Path, records: list[QualityRecord]) -> str:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, records)) + b"\n")
    return str(path)


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["quality", *arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_begins_with_what_is_wrong(tmp_path: Path) -> None:
    topic = written(tmp_path / "q.jsonl", [record(0), record(1), record(2, changed=True)])
    text = shown(topic)
    first = " ".join(text.split("\n\n")[0].split())
    assert first.startswith("AUC 0.810 (0.790 to 0.830) in the window of 2026-01-01 02:00, by 500 labels")
    assert "log loss is 50% higher than expected from the scores" in first
    assert max(map(len, text.splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("2026-01-01 02:00"))
    assert row.split()[2:] == ["1,000", "50%", "…", "0.810", "±0.020", "0.600", "0.890", "+50.0%!"]
    assert "Differences between values of age" in text


def test_the_newest_revision_holds(tmp_path: Path) -> None:
    newer = msgspec.structs.replace(record(1, changed=True), revision=3)
    topic = written(tmp_path / "q.jsonl", [newer, record(1)])
    (line,) = shown(topic, "--json").splitlines()
    assert (json.loads(line)["revision"], json.loads(line)["gap"]["changed"]) == (3, True)


def test_a_segment_alone(tmp_path: Path) -> None:
    topic = written(tmp_path / "q.jsonl", [record(1), record(1, changed=True, segment="EWR")])
    assert shown(topic, "--segment", "EWR").startswith("AUC 0.810")
    assert "origin=EWR" in shown(topic)
    done = CliRunner().invoke(app, ["quality", topic, "--segment", "LGA"])
    assert done.exit_code != 0
    assert "(EWR)" in done.output + str(done.exception)


def test_without_labels_it_says_what_an_estimate_is_worth(tmp_path: Path) -> None:
    unlabelled = msgspec.structs.replace(record(1), realized={}, gap=None, labels=None)
    text = " ".join(shown(written(tmp_path / "q.jsonl", [unlabelled])).split())
    assert text.startswith(
        "no labels yet; AUC of 2026-01-01 01:00 is estimated at 0.890 (0.870 to 0.910), if"
    )


def test_names_of_records_cannot_steer_the_terminal(tmp_path: Path) -> None:
    hostile = record(1, segment="\x1b[2J\x07", job="\x1b]0;x\x07")
    assert "\x1b]" not in shown(written(tmp_path / "q.jsonl", [hostile, record(1, job="\x1b]0;x\x07")]))


@pytest.mark.parametrize("line", [b"{}", b"nothing", b'{"schema": "tailrace.drift/1"}', b"[" * 3_000])
def test_other_lines_are_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(line + b"\n")
    done = CliRunner().invoke(app, ["quality", str(path)])
    assert done.exit_code != 0
    assert f"{path}:1" in (done.output + str(done.exception)).replace("\n", "")
