"""Windows of quality in the operators that keep them: restarts, silence, and labels before their records."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyflink.common import Row

from tests.helpers.keyed_operator import KeyedOperator
from tests.helpers.labelled import BINARY, HOUR, T0, report_of
from udfs.flink.quality import LABELS, QualityFunction, QualityWindowsFunction
from udfs.flink.results import RECORD
from udfs.quality.counts import QualityReport, encode_report
from udfs.quality.params import LabelWait, QualityCount, QualityParams
from udfs.quality.predicted import QualityCounter

WAIT = 24 * HOUR
PARAMS = QualityParams("j", "m", QualityCount(HOUR), LabelWait(WAIT, HOUR), idle_ms=30_000)
BATCHES = 12


def predicted(start: int, stop: int) -> bytes:
    """Of records that come a second apart; 3,000 of them are one window."""
    counter = QualityCounter(QualityCount(HOUR))
    rows = [row for row, _ in BINARY[start:stop]]
    columns = {
        "prediction": pa.array([row.prediction for row in rows]),
        "score": pa.array([row.score for row in rows]),
    }
    times = T0 + np.arange(start, stop) * 1_000
    counter.predicted(1, ("binary", (False, True)), columns, {}, times)
    return encode_report(counter.take_report())


def labelled(start: int, stop: int, delay: int) -> Row:
    times = np.arange(start, stop) * 1_000
    report = report_of(BINARY[start:stop], times, [delay] * (stop - start))
    return Row(0, LABELS, encode_report(report))


def records(rows: list[Row]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row[2]) for row in rows if row[0] == RECORD]


def closed() -> Row:
    operator = KeyedOperator(QualityWindowsFunction(PARAMS))
    for start in range(0, 3_000, 250):
        operator.send(predicted(start, start + 250))
    operator.watermark(T0 + HOUR - 1)
    (row,) = operator.results
    return row


def seen_at(time: int) -> int:
    """The watermark behind the join as both of its inputs have come to this time."""
    return time - 1 - WAIT


def published(steps: list[Row | int], restart_at: int | None = None) -> list[Row]:
    """Rows are sent; numbers are how far records and labels have come."""
    operator = KeyedOperator(QualityFunction(PARAMS, live=True))
    for place, step in enumerate(steps):
        if place == restart_at:
            operator.restart(100 * HOUR)
        if isinstance(step, Row):
            operator.send(step)
        else:
            operator.watermark(seen_at(step))
    return operator.results


EARLY, LATER = labelled(0, 1_500, 2 * HOUR), labelled(1_500, 2_700, 5 * HOUR)
STEPS: list[Row | int] = [closed(), EARLY, T0 + 3 * HOUR, LATER, T0 + 4 * HOUR, T0 + 6 * HOUR, T0 + 26 * HOUR]


def test_a_window_is_published_when_it_closes_when_labels_came_and_at_last() -> None:
    found = records(published(STEPS))
    assert [(r["revision"], r["labels"]["n"], r["final"]) for r in found] == [
        (0, 0, False),
        (1, 1_500, False),
        (2, 2_700, False),
        (3, 2_700, True),
    ]
    assert [r["labels"]["until"] for r in found[1:]] == [
        "2026-01-01T03:00:00.000Z",
        "2026-01-01T06:00:00.000Z",
        "2026-01-02T01:00:00.000Z",
    ]
    assert found[3]["labels"]["coverage"] == 0.9
    assert all(r["records"] == 3_000 for r in found)


@pytest.mark.parametrize("restart_at", range(1, len(STEPS)))
def test_a_restart_changes_nothing(restart_at: int) -> None:
    assert published(STEPS, restart_at) == published(STEPS)


@pytest.mark.parametrize("place", range(2, len(STEPS)))
def test_labels_that_are_there_before_their_records_wait_for_them(place: int) -> None:
    """The branch that closes windows may be behind the join, however far."""
    steps = [step for step in STEPS if step is not STEPS[0]]
    steps.insert(place, STEPS[0])
    assert published(steps) == published(STEPS)


def test_the_order_of_parts_of_labels_does_not_matter() -> None:
    parts: list[Row | int] = [labelled(n, n + 500, 2 * HOUR) for n in (1_000, 0, 500)]
    assert published([STEPS[0], *parts, T0 + 3 * HOUR]) == published([STEPS[0], EARLY, T0 + 3 * HOUR])


@pytest.mark.parametrize("down", [0, 1_000, 300_000])
def test_open_windows_survive_a_restart(down: int) -> None:
    operator = KeyedOperator(QualityWindowsFunction(PARAMS))
    for start in range(0, 3_000, 250):
        operator.send(predicted(start, start + 250))
        operator.pass_time(20_000)
        if start in (750, 2_000):
            operator.restart(down)
            operator.pass_time(20_000)
    assert operator.results == []
    operator.watermark(T0 + HOUR - 1)
    assert operator.results == [closed()]


def test_what_comes_after_a_silence_is_added_to_its_window() -> None:
    """A stream that stood still for a while: the window is published again, with all of its records."""
    windows = KeyedOperator(QualityWindowsFunction(PARAMS))
    windows.send(predicted(0, 1_000))
    windows.pass_time(60_000)
    windows.send(predicted(1_000, 3_000))
    windows.watermark(T0 + HOUR)
    assert [row[1] for row in windows.results] == ["idle", "watermark"]
    found = records(published(list(windows.results)))
    assert [(r["revision"], r["records"]) for r in found] == [(0, 1_000), (1, 3_000)]
    whole = records(published([closed()]))
    assert found[1]["estimated"] == whole[0]["estimated"]


def test_labels_are_published_when_nothing_moves_any_more() -> None:
    operator = KeyedOperator(QualityFunction(PARAMS, live=True))
    operator.send(closed())
    operator.send(EARLY)
    operator.pass_time(60_000)
    found = records(operator.results)
    assert [(r["revision"], r["labels"]["n"]) for r in found] == [(0, 0), (1, 1_500)]


def test_without_labels_a_window_is_final_at_once() -> None:
    operator = KeyedOperator(QualityFunction(msgspec.structs.replace(PARAMS, labels=None), live=True))
    operator.send(closed())
    (record,) = records(operator.results)
    assert record["final"]
    assert record["labels"] is None
    assert record["estimated"]["auc"]["value"] > 0.5
    assert operator.maps["windows"] == {}


def test_a_final_window_leaves_nothing_behind() -> None:
    operator = KeyedOperator(QualityFunction(PARAMS, live=True))
    for step in STEPS:
        if isinstance(step, Row):
            operator.send(step)
    operator.watermark(seen_at(T0 + 25 * HOUR))
    assert records(operator.results)[-1]["final"]
    assert operator.maps["windows"] == {}
    assert operator.maps["labels"] == {}
    operator.send(Row(0, LABELS, encode_report(QualityReport())))
    assert len(records(operator.results)) == 4
