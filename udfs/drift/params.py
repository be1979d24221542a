"""Holds what the monitor of a job is given, as plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.drift.alert_rules import AlertRuleParams
from udfs.model.signatures import Trust
from udfs.profile.params import Role, SegmentParams


class JudgeSettings(msgspec.Struct, frozen=True):
    """How windows are judged.

    `level`: share of windows without drift that may be called drift. `min_effect`: share of the rows that
    must have moved, or `min_ratio`: the factor by which the share of a bin, a value or of nulls must have
    changed, however rare it is; None: `min_effect` alone counts. `enough`: a window that could have hidden a
    larger effect than this is insufficient data.

    `thresholds` maps column and statistic to a value that alone decides that column, with no test; a
    statistic that the column has no value of decides nothing. `min_effects` are those of single columns.
    """

    level: float = 0.01
    min_effect: float = 0.02
    enough: float = 0.2
    min_ratio: float | None = 1.5
    thresholds: dict[str, dict[str, float]] = {}
    min_effects: dict[str, float] = {}

    def of(self, column: str) -> JudgeSettings:
        """Those of one column: who says what share of its rows matters means that share, and no ratio."""
        if column not in self.min_effects:
            return self
        return msgspec.structs.replace(self, min_effect=self.min_effects[column], min_ratio=None)


class SequentialParams(msgspec.Struct, frozen=True):
    """`run_length_ms` is the expected time to a false signal of all `columns` together."""

    columns: tuple[str, ...]
    step_ms: int
    run_length_ms: int


class RecentParams(msgspec.Struct, frozen=True):
    """Compare with what the job saw in `length_ms`, up to `ago_ms` before the window; kept by `bucket_ms`.

    `same_hours`: of that only windows at the same time of the week; then a bucket is one window.
    """

    name: Literal["trailing", "year_ago"]
    length_ms: int
    bucket_ms: int
    ago_ms: int = 0
    same_hours: bool = False


class MonitorParams(msgspec.Struct, frozen=True):
    """What the monitor of a job is told. `versions` maps each model version to its folder.

    With `model_folder` there may be later ones, in its folder `versions`. `trust` is what is demanded of
    each, `digests` are those that are known.
    """

    job: str
    model: str
    versions: dict[int, str]
    window_ms: int
    roles: dict[str, Role]
    rules: tuple[AlertRuleParams, ...]
    settings: JudgeSettings = JudgeSettings()
    idle_ms: int = 300_000
    early_ms: int | None = None
    model_folder: str | None = None
    sequential: SequentialParams | None = None
    segments: tuple[SegmentParams, ...] = ()
    seasonal: bool = False
    recent: RecentParams | None = None
    duplicates: bool = False
    trust: Trust = Trust()
    digests: dict[int, str] = {}
