"""Runs the sequential detector of a job: a chart per model version and column, their alerts and reports.

A pure function of counts and states, as the monitor is.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from udfs.alerts.records import AlertRecord, WindowSpan
from udfs.drift.alert_states import ranked
from udfs.drift.findings import alert_id
from udfs.drift.params import MonitorParams
from udfs.drift.records import SequentialReport
from udfs.drift.sequential import (
    Change,
    Direction,
    RankStep,
    SequentialSettings,
    SequentialState,
    advance,
    threshold,
)
from udfs.profile.reference import Reference
from udfs.profile.steps import Ranks, Sums, ranks
from udfs.times import iso, window_start

RULE = "sequential"  # as flink_jobs.plan.drift knows it


class Chart(msgspec.Struct, frozen=True):
    """`opened` is the record that fired the open alert."""

    state: SequentialState = SequentialState()
    opened: AlertRecord | None = None


# Version and column, as JSON and msgpack have text keys only.
Charts = dict[str, Chart]


class Detector:
    """Holds the settings; the references come with each call."""

    def __init__(self, params: MonitorParams) -> None:
        assert params.sequential
        self._job = params
        self._params = params.sequential
        steps = self._params.run_length_ms / self._params.step_ms * len(self._params.columns)
        self._settings = SequentialSettings(min(steps, 100_000), min_effect=params.settings.min_effect)
        self._ranks: dict[tuple[int, str], Ranks] = {}

    def advance(
        self,
        start: int,
        steps: Mapping[tuple[int, str], Sums],
        charts: Charts,
        references: Mapping[int, Reference],
        importance: Mapping[str, float],
    ) -> tuple[Charts, list[AlertRecord]]:
        """The charts after the step that begins at `start`, and the alerts that it changed."""
        after, changed = dict(charts), []
        end = start + self._params.step_ms
        for (version, name), (n, total) in sorted(steps.items()):
            known = self._ranks_of(references, version, name)
            if known is None or name not in self._params.columns:
                continue
            chart = charts.get(_key(version, name), Chart())
            settings = self._settings_of(name)
            state, change = advance(chart.state, settings, known, RankStep(start, end, n, total))
            chart = Chart(state, chart.opened)
            if change:
                alert = self._alert(version, name, known, change, chart.opened, end, importance)
                chart = Chart(state, alert if change.began else None)
                changed.append(alert)
            after[_key(version, name)] = chart
        return after, ranked(changed)

    def reports(self, charts: Charts, version: int) -> tuple[SequentialReport, ...]:
        """How far each chart of a version is, in the order of the job file."""
        limit = threshold(self._settings)
        found = []
        for name in self._params.columns:
            state = charts.get(_key(version, name), Chart()).state
            leading = state.up if state.up.value >= state.down.value else state.down
            since = None if leading.since is None else iso(leading.since)
            direction: Direction | None = "up" if leading is state.up else "down"
            direction = direction if leading.value else None
            found.append(
                SequentialReport(name, leading.value, limit, direction, since, state.open is not None)
            )
        return tuple(found)

    def _settings_of(self, column: str) -> SequentialSettings:
        least = self._job.settings.of(column).min_effect
        return msgspec.structs.replace(self._settings, min_effect=least)

    def _ranks_of(self, references: Mapping[int, Reference], version: int, name: str) -> Ranks | None:
        reference = references.get(version)
        column = (reference.columns | reference.outputs).get(name) if reference else None
        if column is None:
            return None
        if (version, name) not in self._ranks:
            self._ranks[version, name] = ranks(column, self._params.step_ms)
        return self._ranks[version, name]

    def _alert(
        self,
        version: int,
        name: str,
        known: Ranks,
        change: Change,
        opened: AlertRecord | None,
        at: int,
        importance: Mapping[str, float],
    ) -> AlertRecord:
        span = window_start(at - 1, self._job.window_ms)
        output = self._job.roles.get(name) in ("prediction", "score")
        since = iso(change.since) if change.began or opened is None else opened.since
        impact = change.effect * (1.0 if output else importance.get(name, 0.0))
        return AlertRecord(
            job=self._job.job,
            id=alert_id(RULE, version, None, name),
            rule=RULE,
            state="firing" if change.began else "resolved",
            severity="warning" if output else "info",
            model=self._job.model,
            version=version,
            segment=None,
            column=name,
            statistic="cusum",
            value=change.value,
            threshold=change.threshold,
            message=_message(name, known, change),
            window=WindowSpan(iso(span), iso(span + self._job.window_ms), "early"),
            since=since,
            windows_bad=0,
            windows_seen=0,
            impact=min(max(impact, 0.0), 1.0),
            rank=0,
            examples=(),
            at=iso(at),
            damage="outputs" if output else "inputs",
        )


def _key(version: int, name: str) -> str:
    return f"{version}/{name}"


def _message(name: str, known: Ranks, change: Change) -> str:
    """Of categories the most frequent ones are the lowest."""
    to: str = change.direction
    if not known.numeric:
        to = {"up": "to rarer values", "down": "to more frequent values"}[to]
    if not change.began:
        return f"back to normal: {name} no longer moves {to}"
    since = iso(change.since)[:16].replace("T", " ")
    share = f"{50 + 100 * change.effect:.0f}%"
    side = {"up": "above", "down": "below"} if known.numeric else {"up": "rarer than", "down": "usual beside"}
    pairs = f"a value now is {side[change.direction]} an earlier one in {share} of pairs, not 50%"
    return f"{name} moved {to} since {since}: {pairs}"
