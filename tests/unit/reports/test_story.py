"""A column's drift in words, against a reader who takes two events for one or blames what did not move."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from flink_jobs.reports.drift.page import render
from flink_jobs.reports.drift.series import Line, grouped
from flink_jobs.reports.drift.story import story
from flink_jobs.reports.drift.table import print_report
from flink_jobs.reports.quality.summary import grouped as versions_of
from tests.helpers.alerts import alert, time
from tests.helpers.drift_records import drift_records
from tests.helpers.quality_records import record as quality_record
from udfs.alerts.records import WindowSpan
from udfs.drift.records import DriftRecord


def hours(
    changes: Sequence[float], role: str = "score", version: int = 1, first: int = 0
) -> list[DriftRecord]:
    """Of a column whose mean was .3, and changed by so much; 0 is no drift."""
    found = []
    for hour, change in enumerate(changes, start=first):
        [record] = drift_records(1, {"score": "score"})
        column = msgspec.structs.replace(
            record.columns[0],
            role=role,
            verdict="drift" if change else "ok",
            effect=abs(change) / 2,
            direction=f"score moved {'up' if change > 0 else 'down'}; and so on",
            mean=0.3 * (1 + change),
            reference_mean=0.3,
            reference_std=0.3,
        )
        found.append(
            msgspec.structs.replace(
                record,
                job="flights",
                model="delay",
                version=version,
                window=WindowSpan(time(hour), time(hour + 1)),
                columns=(column,),
                verdict=column.verdict,
                joint=None,
            )
        )
    return found


def line(changes: Sequence[float]) -> Line:
    [group] = grouped(hours(changes))
    return group.total.lines[0]


def test_a_break_after_a_harmless_rise_is_told_apart_from_it() -> None:
    told = story(line([0.04] * 10 + [-0.45]))
    assert told
    assert (told.since, len(told.before)) == (time(10), 10)
    assert told.sentence() == (
        "score suddenly moved down at 2026-01-01 10:00: mean 0.165, in the reference 0.3 (-45%); 22% of the"
        " rows moved."
    )
    assert told.earlier() == "Before that, for 10 windows, up: mean +4%, 2.0% of the rows"


@pytest.mark.parametrize(
    ("changes", "since", "before"),
    [
        ([0.0, 0.3, 0.3, 0.3], 1, 0),  # As large from its first window on.
        ([0.0, 0.04, 0.04, 0.3], 3, 2),  # The same way, but many times as far.
        ([0.04, 0.04, -0.3, -0.28], 2, 2),
        ([-0.5, 0.0, 0.1], 2, 0),  # What is over is not part of it.
        ([0.02, 0.03, 0.04, 0.06, 0.09, 0.13, 0.19], 0, 0),  # Slow: no moment stands out.
    ],
)
def test_the_worst_part_begins_where_it_turned_or_doubled(
    changes: list[float], since: int, before: int
) -> None:
    told = story(line(changes))
    assert told
    assert (told.since, len(told.before)) == (time(since), before)


@pytest.mark.parametrize(
    ("changes", "sudden"),
    [([0.0, 0.3], True), ([0.04, -0.05], True), ([0.3], False), ([0.04, 0.06, 0.1, 0.14, 0.19], False)],
)
def test_what_grew_slowly_or_has_no_window_before_is_not_called_sudden(
    changes: list[float], sudden: bool
) -> None:
    told = story(line(changes))
    assert told
    assert ("suddenly" in told.sentence()) == sudden


def test_the_terminal_advises_once_too() -> None:
    console = Console(file=StringIO(), width=400)
    fall = alert("realized-quality/1", 11, "realized", statistic="auc", threshold=0.85)
    quality = [quality_record(hour, changed=hour == 10) for hour in range(11)]
    print_report(console, grouped(hours([0.04] * 10 + [-0.45])), [fall], versions_of(quality))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("tailrace retrain") == 1
    assert "labels are known" not in text
    assert "suddenly moved down at 2026-01-01 10:00" in text


def test_labels_that_are_better_than_expected_are_no_reason_to_act() -> None:
    good = alert("concept-change/1", 11, "realized", severity="info", rule="concept-change")
    quality = [quality_record(hour, changed=hour == 10, worse=False) for hour in range(11)]
    page = render(grouped(hours([0.0] * 11)), [good], versions_of(quality))
    assert "Act." not in page
    assert "Not sure." in page


def test_an_estimate_alone_says_that_no_label_has_come_or_what_those_say_that_did() -> None:
    fall = alert(
        "estimated-quality/1", 11, "estimated", statistic="auc", threshold=0.895, rule="estimated-quality"
    )
    quality = [quality_record(hour) for hour in range(11)]
    bare = msgspec.structs.replace(quality[-1], realized={}, labels=None, gap=None)
    page = render(grouped(hours([0.0] * 11)), [fall], versions_of([*quality[:-1], bare]))
    assert "estimated AUC 0.890 ±0.020 (without labels), expected at least 0.895" in page
    assert "No labels of it have come yet." in page
    page = render(grouped(hours([0.0] * 11)), [fall], versions_of(quality))
    assert "By the labels that came, AUC is 0.900 ±0.020." in page


def test_without_drift_now_there_is_nothing_to_tell() -> None:
    assert story(line([0.5, 0.0])) is None


def shown(records: list[DriftRecord], *, version: int = 1) -> str:
    """The page's text while an alarm of quality is open since ten o'clock."""
    quality = [quality_record(hour, changed=hour == 10, version=version) for hour in range(11)]
    fall = alert("realized-quality/1", 11, "realized", statistic="auc", threshold=0.85, version=version)
    fall = msgspec.structs.replace(fall, rule="realized-quality", message="AUC fell")
    source = render(grouped(records), [fall], versions_of(quality))
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", source, flags=re.DOTALL).split())


def test_a_release_that_began_with_the_alarm_is_what_to_go_back_from() -> None:
    page = shown(hours([0.0] * 11) + hours([-0.4], version=2, first=10), version=2)
    assert "What to do. Go back to the version before (tailrace release rollback)" in page
    assert "It began with the release of version 2, at 2026-01-01 10:00." in page
    same = shown(hours([0.0] * 11))
    assert "no new version came with it" in same
    assert "Go back to the version" not in same


def test_inputs_that_moved_are_named_and_those_that_did_not_are_not_blamed() -> None:
    moved = shown(hours([0.0] * 10 + [0.4], role="input"))
    assert "Of 1 input watched, moved: score since 2026-01-01 10:00 (20%)." in moved
    assert "Inputs are as" not in moved


def test_outcomes_that_left_the_scores_are_not_called_calibrated() -> None:
    """The records' `gap` says that labels changed: then it is no matter of other records."""
    page = shown(hours([0.0] * 11))
    assert "scores and outcomes no longer agree" in page
    assert "agree as before" not in page
    assert "+50%, worse" in page
    assert "log loss by labels beside what the scores predict" in page


def test_a_window_in_range_again_is_said_while_the_alert_is_still_open() -> None:
    quality = [quality_record(hour, changed=hour == 9) for hour in range(11)]
    fall = alert(
        "realized-quality/1", 10, "realized", statistic="auc", threshold=0.85, rule="realized-quality"
    )
    page = render(grouped(hours([0.0] * 11)), [fall], versions_of(quality))
    assert "in the window of 2026-01-01 10:00; it is in range again" in page
