"""How sure the gate became, in the terminal and on a page: from records as a job writes them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from flink_jobs.cli import app
from flink_jobs.reports.comparisons import judge_records
from flink_jobs.reports.releases_page import render
from flink_jobs.reports.running import running_steps
from tests.helpers.quality import SCORES, TRUTH, of_scores
from udfs.rollout.controller import ControllerState, RolloutController, RolloutControllerParams
from udfs.rollout.gate import Gate
from udfs.rollout.labels import LabelCounts, LabelSums
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import MetricsReport, VersionCounts

WINDOW, T0, EACH = 300_000, 1_767_225_600_000, 100
GATE = Gate(latency=None, drift=None, quality=0.2, labels=200)
runner = CliRunner()


def written(shift: float, windows: int = 16, job: str = "payments") -> list[ComparisonRecord]:
    """As a job writes them; the canary's scores are moved, and labels come from the second window on."""
    params = RolloutControllerParams(job, "fraud", "", WINDOW, 2_000, gate=GATE)
    controller, state = RolloutController(params, lambda: T0, live=False), ControllerState()
    found: list[ComparisonRecord] = []
    draw = np.random.default_rng(4)
    for i in range(windows):
        counts = {
            (0, 1, "champion", 2): VersionCounts(200, histogram={20: 200}),
            (0, 2, "canary", 2): VersionCounts(200, histogram={20: 200}),
        }
        own, other = draw.integers(0, len(SCORES), (2, EACH))
        labels = LabelSums(
            {
                (0, 1, "champion", 2): of_scores(SCORES[other], TRUTH[other]),
                (0, 2, "canary", 2): of_scores(np.clip(SCORES[own] + shift, 0.001, 0.999), TRUTH[own]),
            },
            {0: LabelCounts(2 * EACH, 0, 2 * EACH)},
        )
        report = MetricsReport(counts)  # type: ignore[arg-type]
        result = controller.close(report, T0 + i * WINDOW, state, "watermark", labels if i else None)
        assert result.comparison is not None
        state, found = result.state, [*found, result.comparison]
    return found


def test_the_steps_are_of_the_version_since_it_began() -> None:
    records = written(0.0)
    steps = running_steps(records)
    assert [step.quality.n for step in steps] == [EACH * i for i in range(1, 16)]
    widths = [
        step.quality.high - step.quality.low for step in steps if step.quality.high and step.quality.low
    ]
    assert widths[-1] < widths[0] / 2
    assert [step.gate.windows for step in steps] == list(range(2, 17))
    assert running_steps([*records, *written(0.0, 4)])[0].gate.windows == 2
    assert len(running_steps([*records, *written(0.0, 4)])) == 3


def test_the_terminal_shows_the_interval_over_time(tmp_path: Path) -> None:
    file = tmp_path / "comparisons.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(record) for record in written(0.0, 40)))
    done = runner.invoke(app, ["release", "compare", str(file)], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("until"))
    rows = [line.split() for line in lines[first + 1 : first + 13]]
    assert [row[2] for row in (rows[0], rows[-1])] == ["100", "3,900"]
    assert rows[0][:2] == ["01-01", "00:10"]
    assert all(row[-2:-1] == ["+20.0%"] for row in rows)
    assert max(map(len, lines)) <= 80
    assert "…" not in done.output
    assert "Gate, version 2, last window: pass" in done.output


def test_the_page_shows_it_too(tmp_path: Path) -> None:
    file, page = tmp_path / "comparisons.jsonl", tmp_path / "release.html"
    file.write_bytes(b"\n".join(msgspec.json.encode(record) for record in written(0.3)))
    done = runner.invoke(app, ["release", "compare", str(file), "--html", str(page)])
    assert done.exit_code == 0, done.output
    html = page.read_text()
    assert '<p class="headline alarm"><b>Version 2, canary beside 1: Fails.</b> quality: log loss' in html
    assert html.count("<polyline") == 2
    assert '<polygon class="area"' in html


def test_records_of_the_old_schema_are_read(tmp_path: Path) -> None:
    """A topic holds what an older job wrote."""
    record = msgspec.to_builtins(written(0.0, 2)[-1])
    gate = {"version": 2, "outcome": "wait", "reasons": ["100 of 200 labels"]}
    old = msgspec.json.encode({**record, "schema": "tailrace.comparison/1", "gate": gate})
    file = tmp_path / "comparisons.jsonl"
    file.write_bytes(old)
    done = runner.invoke(app, ["release", "compare", str(file)], env={"COLUMNS": "80"})
    assert "Gate, version 2, last window: wait (100 of 200 labels)" in " ".join(done.output.split())
    assert judge_records(GATE, [msgspec.json.decode(old, type=ComparisonRecord)], 2).outcome == "wait"


def test_text_of_records_cannot_leave_the_page() -> None:
    """Names of jobs and reasons are anybody's."""
    hostile = '<img src=x onerror=alert(1)>"\u202e'
    records = [
        msgspec.structs.replace(record, job=hostile, action=hostile) for record in written(0.0, 3, hostile)
    ]
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

    Tags().feed(render(records))
    assert "img" not in tags
    assert "svg" in tags
    assert "\u202e" not in render(records)


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, "pass"), (0.3, "fail")])
def test_a_person_is_told_what_the_job_was(shift: float, outcome: str) -> None:
    records = written(shift, 40)
    assert records[-1].gate is not None
    assert records[-1].gate.outcome == outcome
    report = judge_records(GATE, records, 2)
    assert (report.outcome, report.quality) == (outcome, records[-1].gate.quality)
    few = judge_records(msgspec.structs.replace(GATE, records=10_000), records, 2)
    assert "8,000 of 10,000 records" in few.reasons or few.outcome == "fail"
