"""Shadows of regressions beside what training makes expect of them: numbers are numpy's, on the raw rows."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
import rich.console

from flink_jobs.reports.releases import beside_training
from tests.helpers.examples import sized
from udfs.alerts.records import WindowSpan
from udfs.rollout.compare import add_up, compare_window
from udfs.rollout.events import Role
from udfs.rollout.labels import LabelCounts, LabelSums, decode_labels, encode_labels
from udfs.rollout.losses import Quality, ScoredRow, UsualError, measured, quality_of
from udfs.rollout.records import ComparisonRecord, ExpectedLoss, QualityReport
from udfs.rollout.version_metrics import VersionCounts

Floats = npt.NDArray[np.float64]
KNOWN = 20_000
MEAN = np.sqrt(2 / np.pi)


def quality(wide: Floats, off: Floats) -> Quality:
    """Records whose errors were of the spread `wide` in training, and came as `off`."""
    rows = [
        measured(
            ScoredRow(
                2, "shadow", 1, "regression", (), o, usual=UsualError(w * MEAN, w**2 * (1 - MEAN**2), KNOWN)
            ),
            0.0,
        )
        for w, o in zip(wide.tolist(), off.tolist(), strict=True)
    ]
    return quality_of([row for row in rows if row])


def record(number: int, of_shadow: Quality) -> ComparisonRecord:
    span = WindowSpan(f"2026-01-01T{number:02}:00:00.000Z", f"2026-01-01T{number + 1:02}:00:00.000Z")
    n = of_shadow.loss.n
    keys: list[tuple[int, int, Role, int]] = [(0, 1, "champion", 1), (0, 2, "shadow", 1)]
    labels = LabelSums(
        dict(zip(keys, (msgspec.structs.replace(of_shadow, usual=(0, 0, 0, 0, 0)), of_shadow), strict=True)),
        {0: LabelCounts(n, 0, n)},
    )
    labels = decode_labels(encode_labels(labels))
    return compare_window("ride", "fare", span, {key: VersionCounts(n) for key in keys}, labels)


def stream(
    random: np.random.Generator, windows: int, storm: float, worse: float = 1.0
) -> list[ComparisonRecord]:
    """Windows of 200 records; each has a storm of its own, and on the whole errors are as in training."""
    found = []
    for number in range(windows):
        wide = random.uniform(1, 5, 200)
        force = np.exp(random.normal(-(storm**2) / 2, storm))
        found.append(record(number, quality(wide, worse * force * wide * random.normal(size=200))))
    return found


def usual_of(total: ComparisonRecord) -> ExpectedLoss:
    labels: dict[str, QualityReport | None] = {v.role: v.labels for v in total.versions}
    assert labels["champion"] is not None
    assert labels["champion"].usual is None
    assert labels["shadow"] is not None
    assert labels["shadow"].usual is not None
    return labels["shadow"].usual


def test_what_was_expected_and_its_error_are_those_of_the_rows() -> None:
    random = np.random.default_rng(1)
    wide = random.uniform(1, 5, 300)
    off = wide * random.normal(size=300)
    found = usual_of(record(0, quality(wide, off)))
    assert (found.n, found.rows, found.changed) == (300, KNOWN, None)
    assert found.realized == pytest.approx(np.abs(off).mean(), rel=1e-9)
    assert found.expected == pytest.approx(MEAN * wide.mean(), rel=1e-9)
    variance = (wide**2 * (1 - MEAN**2)).mean()
    assert found.error == pytest.approx(np.sqrt(variance * (1 / 300 + 1 / KNOWN)), rel=1e-9)


def test_windows_add_up_to_what_all_their_rows_say_together() -> None:
    random = np.random.default_rng(2)
    wide, parts = random.uniform(1, 5, 900), [100, 500]
    off = wide * random.normal(size=900)
    pieces = zip(np.split(wide, parts), np.split(off, parts), strict=True)
    total = usual_of(add_up([record(i, quality(w, o)) for i, (w, o) in enumerate(pieces)]))
    whole = usual_of(record(0, quality(wide, off)))
    assert msgspec.structs.astuple(total)[:-1] == pytest.approx(msgspec.structs.astuple(whole)[:-1], rel=1e-9)
    assert total.changed is None


@pytest.mark.parametrize("storm", [0.0, 0.5])
def test_neither_chance_nor_a_storm_is_a_change_and_a_change_is(storm: float) -> None:
    """Of 24 windows each; as if records were independent, storms part most by three errors."""
    random, false, alone, found = np.random.default_rng(3), 0, 0, 0
    streams = sized(200, 40)
    for _ in range(streams):
        total = usual_of(add_up(stream(random, 24, storm)))
        z = (total.realized - total.expected) / total.error
        independent = total.deviation * np.sqrt(1 / total.n + 1 / total.rows)
        false += abs(z) > 3
        alone += abs(total.realized - total.expected) > 3 * independent
        worse = usual_of(add_up(stream(random, 24, storm, worse=2.2 if storm else 1.6)))
        found += bool(worse.changed)
    assert false <= 0.03 * streams
    assert alone <= 0.02 * streams if storm == 0 else alone > 0.3 * streams
    assert found >= 0.9 * streams


def test_few_windows_say_nothing_and_small_changes_are_none() -> None:
    random = np.random.default_rng(4)
    assert usual_of(add_up(stream(random, 9, 0.0, worse=3.0))).changed is None
    total = usual_of(add_up([record(i, quality(np.ones(4_000), np.full(4_000, 0.83))) for i in range(12)]))
    assert total.realized / total.expected == pytest.approx(1.04, abs=0.01)
    assert total.changed is False


def test_a_person_reads_what_it_means() -> None:
    random = np.random.default_rng(5)
    for worse, expected in (
        (1.6, "further off than in training"),
        (0.5, "nearer than in training"),
        (1.0, "MAE"),
    ):
        total = add_up(stream(random, 24, 0.0, worse))
        (shadow,) = (v for v in total.versions if v.role == "shadow")
        said = beside_training(shadow, usual_of(total))
        assert expected in said
        assert ("Labels do not follow" in said) == (worse != 1.0)
        assert rich.console.Console(width=80).render_str(said).plain == said
