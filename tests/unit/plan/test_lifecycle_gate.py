"""What the gate asks of versions that were trained again: they are to say something else, and be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import Plan, make_plan
from tests.helpers import models
from tests.helpers.quality import SPAN, binary, rows
from udfs.rollout.compare import compare_window
from udfs.rollout.gate import Evidence, Gate, judge_gate
from udfs.rollout.label_tests import labelled
from udfs.rollout.labels import LabelCounts, LabelSums
from udfs.rollout.losses import quality_of
from udfs.rollout.records import GateReport
from udfs.rollout.version_metrics import VersionMetrics, decode

Floats = npt.NDArray[np.float64]
JOB = """
job: homes
source: {{topic: homes, schema: {{size: {{type: double, required: true}}, id: string}}}}
model: {{name: sells, registry: models}}
{sections}
"""
LABELS = "labels: {topic: sold, on: id, field: price, wait: 30d}"
LIFECYCLE = "lifecycle: {train: {quality: {}}}"
N = 4_000
DRAW = np.random.default_rng(2)
CHANCE = DRAW.beta(1, 3, N)
TRUTH = DRAW.random(N) < CHANCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plan")
    inputs = pa.table({"size": [1.0, 2.0, 3.0, 4.0]})
    models.write(root / "models", "sells", LogisticRegression(), inputs, [False, True, False, True], "binary")
    return root


def plan(folder: Path, *sections: str) -> Plan:
    return make_plan(load_job_text(JOB.format(sections="\n".join(sections)), "homes.yaml", folder))


def gate(folder: Path, *sections: str) -> Gate:
    made = plan(folder, *sections)
    assert made.controller is not None
    return made.controller.gate


def judged(asked: Gate, champion: Floats, other: Floats) -> GateReport:
    """Of a shadow on the champion's own records, all of which got their labels."""
    metrics, times = VersionMetrics(300_000), np.zeros(N, np.int64)
    both = [{"prediction": pa.array(s >= 0.5), "score": pa.array(s)} for s in (champion, other)]
    metrics.scored(1, "champion", 3, times, both[0], N * 1_000)
    metrics.scored(2, "shadow", 3, times, both[1], N * 1_000)
    metrics.paired(2, 3, times, *both)
    counts = decode(metrics.take([]) or b"").counts
    live, beside = (rows([binary(s) for s in side.tolist()], TRUTH.tolist()) for side in (champion, other))
    pairs = [(b.loss, a.loss) for a, b in zip(live, beside, strict=True)]
    sums = LabelSums(
        {(0, 1, "champion", 3): quality_of(live), (0, 2, "shadow", 3): quality_of(beside, pairs)},
        {0: LabelCounts(N, 0, N)},
    )
    record = compare_window("homes", "sells", SPAN, {(0, *key[1:]): c for key, c in counts.items()}, sums)
    assert [pair.score_drift is not None and pair.score_drift > 0.1 for pair in record.pairs] == [True]
    return judge_gate(asked, Evidence(record, record, labelled=labelled(sums, 2, "shadow", 1, 2)), 2)


def test_a_version_that_says_something_else_and_is_right_passes(folder: Path) -> None:
    """The champion's scores are too low; those of the retrained one are right, and so far from them."""
    stale = np.clip(CHANCE**2, 1e-3, 1 - 1e-3)
    assert log_loss(TRUTH, CHANCE) < log_loss(TRUTH, stale)
    assert (
        judged(gate(folder, LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}}}"), stale, CHANCE).outcome
        == "pass"
    )
    by_hand = judged(gate(folder, f"comparisons: {{{LABELS}}}"), stale, CHANCE)
    assert by_hand.outcome == "fail"
    assert by_hand.reasons[0].startswith("scores are distributed otherwise")


def test_a_version_that_says_something_else_and_is_wrong_fails_by_its_labels(folder: Path) -> None:
    worse = judged(
        gate(folder, LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}}}"),
        CHANCE,
        np.clip(CHANCE**2, 1e-3, 1 - 1e-3),
    )
    assert worse.outcome == "fail"
    assert "log loss" in worse.reasons[0]


@pytest.mark.parametrize(
    ("sections", "drift"),
    [
        ((LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}}}"), None),
        ((LIFECYCLE, f"quality: {{{LABELS}}}"), None),
        ((LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}, gate: {{drift: 0.1}}}}"), 0.1),
        ((LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}, gate: {{quality: null}}}}"), 0.1),
        ((LIFECYCLE.replace("{}", "{source: estimated}"), "quality: {}"), 0.1),
        ((f"comparisons: {{{LABELS}}}",), 0.1),
    ],
)
def test_scores_may_differ_where_labels_decide(
    folder: Path, sections: tuple[str, ...], drift: float | None
) -> None:
    """What nobody asks for quality must not say anything it likes; nor where the job file says how far."""
    assert gate(folder, *sections).drift == drift


def test_a_lifecycle_compares_by_the_labels_of_quality(folder: Path) -> None:
    """They are given once; without, no new version would ever be held against what came true."""
    made = plan(folder, LIFECYCLE, f"quality: {{{LABELS}}}")
    assert gate(folder, LIFECYCLE, f"quality: {{{LABELS}}}").quality == 0.05
    assert made.views == plan(folder, LIFECYCLE, "quality: {}", f"comparisons: {{{LABELS}}}").views
    assert gate(folder, f"quality: {{{LABELS}}}", "comparisons: {}").quality is None
