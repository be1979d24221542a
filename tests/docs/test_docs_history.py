"""Training and backtest as their pages tell of them: commands, files and snippets."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flink_jobs.kafka import ClientSettings, create_topics
from flink_jobs.registry import Registry
from flink_jobs.training import load_trainer
from tests.helpers.flight_model import add_version
from tests.helpers.pages import DOCS, Workspace, blocks, commands, flight_files, run_script, workspace

__all__ = ["flight_files", "workspace"]


@pytest.mark.timeout(600)
def test_a_backtest_of_the_docs(workspace: Workspace) -> None:
    """The commands and the snippet, on the first flights of July and a second version of the model."""
    add_version(Registry(workspace[0] / "models"))
    make, compare = commands(DOCS["backtest.md"])
    (snippet,) = blocks(DOCS["backtest.md"], "python")
    (workspace[0] / "snippet.py").write_text(snippet)
    output = run_script([make, f"{compare} --limit 4000", "python snippet.py"], workspace, COLUMNS="150")
    assert re.search(r"^AUC +0\.\d{4} \(0\.\d{4} to 0\.\d{4}\) .* (A|B) is better", output, re.MULTILINE)
    assert "4,000 records, late is known of" in output
    assert "1000 1000 0 ['prediction', 'score']" in output
    assert "<h2>By origin</h2>" in (workspace[0] / ".tailrace" / "backtest.html").read_text()


def test_training_as_documented(tmp_path: Path, kafka: ClientSettings, workspace: Workspace) -> None:
    """The files and commands of docs/training.md; what the job computed is what an hour is."""
    page = DOCS["training.md"]
    root = workspace[0]
    shutil.rmtree(root / "models")
    for block in (*blocks(page, "yaml"), *blocks(page, "python")):
        path = root / block.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    create_topics(kafka, {"payments.drift": 1})
    output = run_script(commands(page), workspace, TAILRACE_BROKERS=kafka.brokers)
    assert "best of 5 trials: log_loss" in output
    assert "card_fraud version 1 is registered" in output
    assert "card_fraud version 1: no window to judge by" in output
    (features,) = (root / ".tailrace" / "features").glob("*.parquet")
    computed = pq.read_table(features).to_pandas()
    history = load_trainer(root / "models" / "card_fraud").history()
    assert isinstance(history, pa.Table)
    sent = history.to_pandas()
    assert computed["@row"].tolist() == list(range(len(sent))) == list(range(4000))
    assert computed["amount"].tolist() == sent["amount"].tolist()
    for row in range(0, 4000, 37):
        age = sent["paid_at"][row] - sent["paid_at"]
        near = (sent["card"] == sent["card"][row]) & (age >= 0) & (age <= 3_600_000)
        assert computed["spent_1h"][row] == pytest.approx(sent["amount"][near].sum())
