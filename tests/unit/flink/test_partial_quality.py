"""A stream begins and ends at noon: how right a model was in half of a day says nothing of whole ones."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
from pyflink.common import Row

from tests.helpers.keyed_operator import KeyedOperator
from tests.helpers.labelled import BINARY, HOUR, T0, report_of
from udfs.flink.quality import LABELS, QualityFunction, QualityWindowsFunction
from udfs.flink.results import ALERT, RECORD
from udfs.quality.counts import encode_report
from udfs.quality.params import LabelWait, QualityCount, QualityParams
from udfs.quality.predicted import QualityCounter
from udfs.quality.records import QualityRecord

WAIT = 24 * HOUR
PARAMS = QualityParams("j", "m", QualityCount(HOUR), LabelWait(WAIT, HOUR), idle_ms=30_000)
ROWS = 720


def part(first: float, last: float, *, upside_down: bool = False) -> tuple[bytes, bytes]:
    """Records five seconds apart between these hours, and their labels, which may be the wrong ones."""
    times = np.arange(round(first * ROWS), round(last * ROWS)) * (HOUR // ROWS)
    rows = [BINARY[i % len(BINARY)] for i in range(len(times))]
    labels = [(row, label != upside_down) for row, label in rows]
    counter = QualityCounter(QualityCount(HOUR))
    columns = {
        "prediction": pa.array([row.prediction for row, _ in rows]),
        "score": pa.array([row.score for row, _ in rows]),
    }
    counter.predicted(1, ("binary", (False, True)), columns, {}, T0 + times)
    return encode_report(counter.take_report()), encode_report(
        report_of(labels, times, [60_000] * len(times))
    )


def run(*parts: tuple[bytes, bytes], restart: bool = False) -> tuple[list[QualityRecord], list[str]]:
    """To the end of the input: final records, and the rules of alerts that fired."""
    windows = KeyedOperator(QualityWindowsFunction(PARAMS))
    for predicted, _ in parts:
        windows.send(predicted)
        if restart:
            windows.restart(1_000)
    windows.finish()
    quality = KeyedOperator(QualityFunction(PARAMS, live=False))
    for row in windows.results:
        quality.send(row)
    for _, labels in parts:
        quality.send(Row(0, LABELS, labels))
    quality.finish()
    records = [msgspec.json.decode(row[2], type=QualityRecord) for row in quality.results if row[0] == RECORD]
    alerts = [msgspec.json.decode(row[2]) for row in quality.results if row[0] == ALERT]
    fired = [alert["rule"] for alert in alerts if alert["state"] == "firing"]
    return [record for record in records if record.final], fired


def test_only_the_ends_of_the_input_are_partial() -> None:
    middle = [part(hour, hour + 1) for hour in (1, 2)]
    records, _ = run(part(0.5, 1), *middle, part(3, 3.5))
    assert [(record.records, record.partial) for record in records] == [
        (360, True),
        (720, False),
        (720, False),
        (360, True),
    ]


def test_an_outage_in_between_and_whole_ends_are_no_parts() -> None:
    records, _ = run(part(0, 1), part(1, 1.5), part(2, 3))
    assert [record.partial for record in records] == [False, False, False]


def test_a_part_of_a_window_fires_nothing_and_a_whole_one_does() -> None:
    good = [part(hour, hour + 1) for hour in range(6)]
    assert "realized-quality" not in run(*good, part(6, 6.5, upside_down=True))[1]
    assert "realized-quality" in run(*good, part(6, 7, upside_down=True))[1]
    assert run(part(0.5, 1, upside_down=True))[1] == []
    assert run(part(0, 1, upside_down=True))[1] == ["concept-change"]


def test_a_restart_in_the_first_window_changes_nothing() -> None:
    parts = [part(0.5, 0.8), part(0.8, 1), part(1, 2)]
    assert run(*parts, restart=True) == run(*parts)
    assert [record.partial for record in run(*parts, restart=True)[0]] == [True, False]


def test_a_silence_does_not_make_the_rest_of_a_window_whole() -> None:
    windows = KeyedOperator(QualityWindowsFunction(PARAMS))
    windows.send(part(0.5, 0.7)[0])
    windows.pass_time(60_000)
    windows.send(part(0.7, 1)[0])
    windows.watermark(T0 + HOUR)
    quality = KeyedOperator(QualityFunction(PARAMS, live=True))
    for row in windows.results:
        quality.send(row)
    found = [msgspec.json.decode(row[2], type=QualityRecord) for row in quality.results]
    assert [(record.records, record.partial) for record in found] == [(144, True), (360, True)]
