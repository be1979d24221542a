"""A loop on half a year: the product's decisions, gate and release log, called each midnight.

life = Life(year(), folder, print)
scores = life.live()        # of whoever was champion

Flights are scored, joined with their labels and counted in memory, by the release that is in force at their
time, with the functions by which the job's workers do it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flink_jobs.demo import loop_year
from flink_jobs.demo.loop_year import DAY_MS, START, Floats, Ints, Trained, Year, fit
from flink_jobs.lifecycle.advance import Loop
from flink_jobs.lifecycle.steps import Policy, StageRules
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.training.decide_quality import QualityRule
from flink_jobs.training.reasons import AskedQuality, Reasons, reasons_for
from udfs.alerts.records import WindowSpan
from udfs.model.manifest import Input, Output, Signature
from udfs.quality.intervals import of_mean
from udfs.quality.records import LabelState, QualityRecord
from udfs.releases.log import BEGINNING
from udfs.rollout.controller import ControllerState, RolloutController, RolloutControllerParams
from udfs.rollout.gate import Gate
from udfs.rollout.labels import LabelSums
from udfs.rollout.losses import ScoredRow, measured, quality_of
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import MetricsReport, VersionMetrics, decode
from udfs.times import iso

WINDOW_MS = 7 * DAY_MS
WAIT_MS = DAY_MS
JOB, MODEL = "flight-delay", "flight_delay"
RULE = QualityRule(metric="log_loss", margin=0.02)
POLICY = Policy(per_week=1, shadow=StageRules(windows=3))
# As of a job with a lifecycle and labels.
GATE = Gate(latency=None, quality=0.05, drift=None)


@dataclass(frozen=True)
class Happened:
    """A step that the loop took, on which day and why."""

    day: str
    step: str
    version: int | None
    reason: str


@dataclass
class Scored:
    """What was said of the second half's flights: by whom, and by a shadow beside it (0: none)."""

    champion: Ints
    release: Ints
    shadow: Ints
    score: Floats
    beside: Floats


@dataclass
class Life:
    """The loop, day by day."""

    data: Year
    root: Path
    tell: Callable[[Happened], None] = lambda _: None
    models: dict[int, Trained] = field(default_factory=dict)
    compared: list[ComparisonRecord] = field(default_factory=list)
    steps: list[Happened] = field(default_factory=list)
    now: int = START

    def __post_init__(self) -> None:
        self.rows = self.data.between(START, loop_year.END)
        n = len(self.rows)
        whom = [np.zeros(n, np.int64) for _ in range(3)]
        self.said = Scored(whom[0], whom[1], whom[2], np.zeros(n), np.zeros(n))
        self.registry = Registry(self.root, lambda: datetime.fromtimestamp(self.now / 1000, UTC))
        self.releases = Releases(self.registry, MODEL, lambda: self.now)
        params = RolloutControllerParams(JOB, MODEL, "", DAY_MS, 0, gate=GATE)
        self._controller = RolloutController(params, lambda: self.now, live=False)
        self._known = ControllerState()

    def live(self) -> Floats:
        """All days; the scores of whoever was champion."""
        self._register({})
        self.releases.promote(1, Activation(BEGINNING, past=True, by="demo"))
        known = (lambda: self.compared, self._judge, self._fit)
        loop = Loop(POLICY, JOB, MODEL, self.registry, self.releases, *known)
        while self.now < loop_year.END:
            for taken in loop.advance(lambda: self.now)[:-1]:
                version = taken.step.version if taken.trained is None else taken.trained
                happened = Happened(iso(self.now)[:10], taken.step.kind, version, taken.step.reason)
                self.steps.append(happened)
                self.tell(happened)
            self._score_a_day()
            self.now += DAY_MS
            self._compare(self.now - DAY_MS)
        return self.said.score

    def _register(self, why: dict[str, Any]) -> int:
        trained = fit(self.data, self.now)
        training = {"last_event": iso(trained.last_ms), "retrained_for": why}
        metrics = {"holdout_log_loss": trained.held_out}
        names = [f"input_{place}" for place in range(self.data.features.shape[1])]
        version = self.registry.write_version(
            MODEL,
            model=trained.model,
            signature=Signature(
                inputs=tuple(Input(name=name, type="double") for name in names),
                output=Output(kind="binary", classes=(False, True)),
            ),
            golden_inputs=pa.table(dict(zip(names, self.data.features[:3].T, strict=True))),
            profile={},
            metrics=metrics,
            training=training,
        ).version
        self.models[version] = trained
        return version

    def _fit(self, reasons: Reasons, _champion: int, release: int) -> int:
        return self._register({"release": release, **reasons.record()})

    def _judge(self, champion: int) -> Reasons:
        asked = AskedQuality("quality", RULE, self._quality)
        return reasons_for(self.registry, MODEL, champion, quality=asked)

    def _score_a_day(self) -> None:
        """Each record by the release that is in force at its time."""
        rows = self.data.between(self.now, self.now + DAY_MS)
        at, log, said = rows - self.rows[0], self.releases.log(), self.said
        assert log is not None
        places = log.places(self.data.left[rows])
        for place in np.unique(places).tolist():
            state, chosen = log.state(place), places == place
            said.champion[at[chosen]], said.release[at[chosen]] = state.champion, state.number
            said.score[at[chosen]] = self.models[state.champion].scores(self.data, rows[chosen])
            for version in state.shadows[-1:]:
                said.shadow[at[chosen]] = version
                said.beside[at[chosen]] = self.models[version].scores(self.data, rows[chosen])

    def _compare(self, start: int) -> None:
        """The window of a day, with the labels that came in it."""
        done = self._controller.close(
            self._counts(start), start, self._known, "watermark", self._labels(start)
        )
        self._known = done.state
        if done.comparison:
            self.compared.append(done.comparison)

    def _counts(self, start: int) -> MetricsReport:
        metrics, said = VersionMetrics(DAY_MS), self.said
        rows = self.data.between(start, start + DAY_MS)
        at = rows - self.rows[0]
        for release in np.unique(said.release[at]).tolist():
            mine = said.release[at] == release
            times, chosen = self.data.left[rows[mine]], at[mine]
            champion, shadow = int(said.champion[chosen[0]]), int(said.shadow[chosen[0]])
            live = _as_arrow(said.score[chosen])
            metrics.scored(champion, "champion", release, times, live, 0)
            if shadow:
                other = _as_arrow(said.beside[chosen])
                metrics.scored(shadow, "shadow", release, times, other, 0)
                metrics.paired(shadow, release, times, live, other)
        taken = metrics.take(())
        report = decode(taken) if taken else MetricsReport()
        counts = {(0, *key[1:]): counts for key, counts in report.counts.items()}
        return MetricsReport(counts, report.events)

    def _labels(self, start: int) -> LabelSums:
        data, said, sums = self.data, self.said, LabelSums()
        came = data.known[self.rows] & (data.landed[self.rows] >= start)
        came &= (data.landed[self.rows] < start + DAY_MS) & (said.release > 0) & (said.shadow > 0)
        for release in np.unique(said.release[came]).tolist():
            at = np.flatnonzero(came & (said.release == release))
            champion, shadow = int(said.champion[at[0]]), int(said.shadow[at[0]])
            truth = data.late[self.rows[at]].tolist()
            live = [
                measured(_row(champion, s), y) for s, y in zip(said.score[at].tolist(), truth, strict=True)
            ]
            other = [
                measured(_row(shadow, s), y) for s, y in zip(said.beside[at].tolist(), truth, strict=True)
            ]
            pairs = [(b.loss, a.loss) for a, b in zip(live, other, strict=True) if a and b]
            sums.qualities[0, champion, "champion", release] = quality_of([r for r in live if r])
            sums.qualities[0, shadow, "shadow", release] = quality_of([r for r in other if r], pairs)
        return sums

    def _quality(self) -> list[QualityRecord]:
        """The windows that no label can change any more, by version."""
        found, data, said = [], self.data, self.said
        for start in range(START - START % WINDOW_MS, self.now - WINDOW_MS - WAIT_MS + 1, WINDOW_MS):
            rows = data.between(max(start, START), start + WINDOW_MS)
            at = rows - self.rows[0]
            came = data.known[rows] & (data.landed[rows] < start + WINDOW_MS + WAIT_MS)
            for version in np.unique(said.champion[at]).tolist():
                mine = said.champion[at] == version
                chosen, n = at[mine & came], int((mine & came).sum())
                if n < 2:
                    continue
                truth = data.late[self.rows[chosen]]
                losses = -np.log(np.where(truth, said.score[chosen], 1 - said.score[chosen]))
                metric = of_mean(float(losses.mean()), float(losses.std(ddof=1) / np.sqrt(n)))
                state = LabelState(
                    n=n,
                    rejected=0,
                    coverage=n / int(mine.sum()),
                    delay_p50_ms=None,
                    delay_p90_ms=None,
                    until=None,
                )
                found.append(
                    QualityRecord(
                        job=JOB, model=MODEL, version=version, kind="binary",
                        window=WindowSpan(iso(start), iso(start + WINDOW_MS)), segment=None, revision=1,
                        final=True, records=int(mine.sum()), labels=state, estimated={},
                        realized={"log_loss": metric},
                    )
                )  # fmt: skip
        return found


def _as_arrow(scores: Floats) -> dict[str, pa.Array]:
    return {"score": pa.array(scores), "prediction": pa.array(scores >= 0.5)}


def _row(version: int, score: float) -> ScoredRow:
    return ScoredRow(version, "champion", 0, "binary", (False, True), score >= 0.5, score)
