"""A stream begins on a Thursday's noon and ends on a Monday: parts of windows are unlike whole ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from flink_jobs.registry import Registry
from tests.helpers.keyed_operator import KeyedOperator
from tests.helpers.registered import write
from udfs.drift.alert_rules import AlertRuleParams
from udfs.drift.params import MonitorParams
from udfs.drift.records import DriftRecord
from udfs.flink.drift import MonitorFunction
from udfs.flink.results import ALERT, RECORD
from udfs.profile.collect import Collector, PartialProfile
from udfs.profile.counts import WindowCounts
from udfs.profile.params import CollectParams
from udfs.profile.profile import reference_profile
from udfs.profile.reference import parse_reference
from udfs.profile.wire import encode_partial_profiles
from udfs.times import iso

HOUR = 3_600_000
T0 = 1_767_225_600_000
RULE = AlertRuleParams("moved", "drift", windows=(1, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    registry = Registry(tmp_path_factory.mktemp("models"))
    values = np.random.default_rng(1).normal(size=4_000)
    write(registry, profile=reference_profile(pa.table({"a": values})))
    return registry.location("fraud", 1)


def part(folder: str, times: npt.NDArray[np.float64], shift: float = 3.0) -> bytes:
    """Records at these hours since T0, all of them moved."""
    reference = parse_reference((Path(folder) / "profile.json").read_bytes())
    at = T0 + (times * HOUR).astype(np.int64)
    columns = {"a": pa.array(np.random.default_rng(len(times)).normal(shift, size=len(times)))}
    collector = Collector(CollectParams(HOUR, (("a", "a"),)), reference, 1)
    return encode_partial_profiles(collector.collect(columns, at))


def run(folder: str, parts: Sequence[bytes], *, restart: bool = False) -> tuple[list[DriftRecord], list[Any]]:
    """To the end of the input; the watermark comes with the last part only."""
    params = MonitorParams("j", "fraud", {1: folder}, HOUR, {"a": "input"}, (RULE,))
    operator = KeyedOperator(MonitorFunction(params, live=False))
    for each in parts:
        operator.send(each)
        if restart:
            operator.restart(0)
    operator.finish()
    rows = operator.results
    drift = [msgspec.json.decode(row[2], type=DriftRecord) for row in rows if row[0] == RECORD]
    return drift, [msgspec.json.decode(row[2]) for row in rows if row[0] == ALERT]


def verdicts(folder: str, *parts: bytes) -> list[tuple[bool, str]]:
    return [(record.partial, record.verdict) for record in run(folder, parts)[0]]


WHOLE = np.arange(0, 1, 0.005)
PARTIAL, JUDGED = (True, "insufficient_data"), (False, "drift")


def test_only_the_ends_of_the_input_are_partial(folder: str) -> None:
    begin, end = part(folder, 0.5 + WHOLE / 2), part(folder, 2 + WHOLE / 2)
    assert verdicts(folder, begin, part(folder, 1 + WHOLE), end) == [PARTIAL, JUDGED, PARTIAL]


def test_an_outage_in_between_is_no_end(folder: str) -> None:
    """All windows close at once at the end of the input; that of a middle one is still not it."""
    first, gap, last = part(folder, WHOLE), part(folder, 1 + WHOLE / 2), part(folder, 2 + WHOLE)
    assert verdicts(folder, first, gap, last) == [JUDGED, JUDGED, JUDGED]


def test_few_records_need_not_be_at_the_very_end(folder: str) -> None:
    """Forty in an hour are 1.5 minutes apart: what is missing is to be more than ten of them, and a tenth."""
    assert verdicts(folder, part(folder, np.linspace(0.15, 0.9, 40))) == [JUDGED]
    assert verdicts(folder, part(folder, np.linspace(0.3, 0.9, 400))) == [PARTIAL]


def test_a_partial_window_says_nothing_of_its_columns_and_fires_nothing(folder: str) -> None:
    drift, alerts = run(folder, [part(folder, 0.5 + WHOLE / 2)])
    assert alerts == []
    (column,) = drift[0].columns
    assert (column.verdict, column.direction) == ("insufficient_data", "only a part of the window")
    assert column.effect > 0.5
    whole, fired = run(folder, [part(folder, WHOLE)])
    assert (whole[0].partial, [alert["state"] for alert in fired]) == (False, ["firing"])


def test_it_is_the_same_after_a_restart_and_in_parts(folder: str) -> None:
    times = 0.5 + WHOLE / 2
    once = run(folder, [part(folder, times[:100]), part(folder, times[100:])])
    assert run(folder, [part(folder, times[:100]), part(folder, times[100:])], restart=True) == once
    assert once[0][0].partial


def test_late_records_open_no_window_of_their_own(folder: str) -> None:
    """The adversary is a producer whose clock is a day behind, and a job that reads all of it at once."""
    yesterday = PartialProfile(T0 - 24 * HOUR, None, None, 0, WindowCounts(late=7))
    timeless = PartialProfile(None, None, None, 0, WindowCounts(dead=3))
    late = encode_partial_profiles([yesterday, timeless])
    (window,), _ = run(folder, [late, part(folder, WHOLE), late])
    assert window.window.start == iso(T0)
    assert (window.records.predicted, window.records.late, window.records.dead) == (len(WHOLE), 14, 6)
    # That of a window that is there counts in it, in whatever order the two come.
    own = encode_partial_profiles([PartialProfile(T0, None, None, 0, WindowCounts(late=2))])
    first, second = run(folder, [part(folder, WHOLE), part(folder, 1 + WHOLE), own])[0]
    assert (first.records.late, second.records.late) == (2, 0)
