"""The detector of a job: each column is held to what is said to matter of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from udfs.drift.detect import Charts, Detector
from udfs.drift.params import JudgeSettings, MonitorParams, SequentialParams
from udfs.profile.params import CollectParams
from udfs.profile.profile import encode_profile, reference_profile
from udfs.profile.reference import parse_reference
from udfs.profile.steps import StepCounter, merged_steps

MINUTE, NAMES = 60_000, ("ramp", "x")


def test_a_column_with_a_least_effect_of_its_own_signals_only_beyond_it() -> None:
    """Both move by a quarter of a deviation: a mean rank of .57."""
    draw = np.random.default_rng(2)
    table = pa.table({name: draw.normal(size=5_000) for name in NAMES})
    reference = parse_reference(encode_profile(reference_profile(table)))
    sequential = SequentialParams(NAMES, MINUTE, 1_000 * MINUTE)
    settings = JudgeSettings(min_effects={"ramp": 0.3})
    roles = dict.fromkeys(NAMES, "input")
    detector = Detector(
        MonitorParams("j", "m", {}, 60 * MINUTE, roles, (), settings, sequential=sequential)  # type: ignore[arg-type]
    )
    collect = CollectParams(60 * MINUTE, tuple((n, n) for n in NAMES), step_ms=MINUTE, step_columns=NAMES)
    counter = StepCounter(collect, reference, 1)
    charts: Charts = {}
    fired = []
    for step in range(60):
        columns = {name: pa.array(draw.normal(0.25, 1, 200)) for name in NAMES}
        (part,) = counter.count(columns, np.full(200, step * MINUTE))
        charts, alerts = detector.advance(step * MINUTE, merged_steps([part]), charts, {1: reference}, {})
        fired += [(alert.column, alert.severity, alert.damage) for alert in alerts]
    assert fired == [("x", "info", "inputs")]
