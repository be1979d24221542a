"""What a loop is worth: flights of July to December, labels as they land. A Markdown table, or JSON.

    python -m tests.bench.loop --json loop.json

The model of June is kept (never), trained anew each Monday (weekly) or each night (always), or as the
lifecycle's policy has it (loop). The loop is the product's: its decisions, gate and release log, called each
midnight; only the features are computed in memory, and a fit takes every eighth flight, so that always ends.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs.demo import flights
from flink_jobs.lifecycle.advance import Loop
from flink_jobs.lifecycle.steps import Policy, StageRules
from flink_jobs.registry import Registry
from flink_jobs.registry.releases import Activation, Releases
from flink_jobs.training.decide_quality import QualityRule
from flink_jobs.training.reasons import AskedQuality, Reasons, reasons_for
from tests.helpers.registered import write
from udfs.alerts.records import WindowSpan
from udfs.quality.intervals import of_mean
from udfs.quality.records import LabelState, QualityRecord
from udfs.releases.log import BEGINNING
from udfs.rollout.controller import ControllerState, RolloutController, RolloutControllerParams
from udfs.rollout.gate import Gate
from udfs.rollout.labels import LabelSums
from udfs.rollout.losses import FLOOR, ScoredRow, measured, quality_of
from udfs.rollout.records import ComparisonRecord
from udfs.rollout.version_metrics import MetricsReport, VersionMetrics, decode
from udfs.times import iso, parse_time

DAY_MS = 86_400_000
WINDOW_MS = 7 * DAY_MS
WAIT_MS = DAY_MS
START, END = parse_time("2013-07-01"), parse_time("2014-01-01")
THIN = 8
JOB, MODEL = "flight-delay", "flight_delay"
TREES = {"max_iter": 50, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}
RULE = QualityRule(metric="log_loss", margin=0.02)
POLICY = Policy(per_week=1, shadow=StageRules(windows=3))
# As of a job with a lifecycle and labels.
GATE = Gate(latency=None, quality=0.05, drift=None)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Year:
    """Departures by time: features, when they left and landed (ms), and what was true, if `known`."""

    features: Floats
    left: Ints
    landed: Ints
    known: Flags
    late: Flags

    def between(self, start: int, end: int) -> Ints:
        """The rows that left in that time."""
        first, stop = np.searchsorted(self.left, [start, end])
        return np.arange(first, stop)


def year() -> Year:
    """A label comes when the flight lands: as much later than planned as it arrived late."""
    departures = flights.events(range(1, 13))
    table = flights.offline_features(departures).to_pandas()
    texts = [name for name, kind in flights.FEATURES.items() if kind == "string"]
    table[texts] = OrdinalEncoder().fit_transform(table[texts])
    left = np.array([parse_time(text) for text in departures["departed_at"]], np.int64)
    late = departures["arr_delay"] - departures["dep_delay"]
    minutes = (departures["scheduled_minutes"] + late).fillna(0).to_numpy(np.float64)
    known = departures["late"].notna().to_numpy()
    return Year(
        table.to_numpy(np.float64),
        left,
        left + np.maximum(minutes, 1).astype(np.int64) * 60_000,
        known,
        departures["late"].fillna(False).to_numpy(bool),
    )


@dataclass(frozen=True)
class Trained:
    """A model, what it lost on every fifth day, which it was not fitted on, and its last flight."""

    model: Any
    held_out: float
    last_ms: int

    def scores(self, data: Year, rows: Ints) -> Floats:
        found: Floats = self.model.predict_proba(data.features[rows])[:, 1]
        return np.clip(found, FLOOR, 1 - FLOOR)


def fit(data: Year, now: int) -> Trained:
    """Of every eighth flight that has landed."""
    rows = np.flatnonzero(data.known & (data.landed < now))[::THIN]
    out = data.left[rows] // DAY_MS % 5 == 0
    model = HistGradientBoostingClassifier(**TREES, early_stopping=False, random_state=2013)
    model.fit(data.features[rows[~out]], data.late[rows[~out]])
    said = model.predict_proba(data.features[rows[out]])[:, 1]
    return Trained(model, float(log_loss(data.late[rows[out]], said)), int(data.left[rows[-1]]))


def every(data: Year, days: int) -> tuple[Floats, int]:
    """Scores with a model that is so many days old at most, and the number of trainings after the first."""
    scores, trainings, now = [], -1, START
    while now < END:
        model, trainings = fit(data, now), trainings + 1
        # Monday is the first day of July 2013, too.
        scores.append(model.scores(data, data.between(now, min(now + days * DAY_MS, END))))
        now += days * DAY_MS
    return np.concatenate(scores), trainings


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
    models: dict[int, Trained] = field(default_factory=dict)
    compared: list[ComparisonRecord] = field(default_factory=list)
    steps: list[tuple[str, str, str]] = field(default_factory=list)
    now: int = START

    def __post_init__(self) -> None:
        self.rows = self.data.between(START, END)
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
        self.releases.promote(1, Activation(BEGINNING, past=True, by="bench"))
        known = (lambda: self.compared, self._judge, self._fit)
        loop = Loop(POLICY, JOB, MODEL, self.registry, self.releases, *known)
        while self.now < END:
            for taken in loop.advance(lambda: self.now)[:-1]:
                step = taken.step
                self.steps.append((iso(self.now)[:10], step.kind, step.reason))
            self._score_a_day()
            self.now += DAY_MS
            self._compare(self.now - DAY_MS)
        return self.said.score

    def _register(self, why: dict[str, Any]) -> int:
        trained = fit(self.data, self.now)
        training = {"last_event": iso(trained.last_ms), "retrained_for": why}
        metrics = {"holdout_log_loss": trained.held_out}
        version = write(self.registry, MODEL, metrics=metrics, training=training).version
        self.models[version] = trained
        return version

    def _fit(self, reasons: Reasons, champion: int, release: int) -> int:
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


def measure() -> dict[str, Any]:
    """Each strategy on the same flights; seconds are of this machine."""
    data = year()
    rows = data.between(START, END)
    judged = data.known[rows]
    truth = data.late[rows][judged]
    found: list[dict[str, Any]] = []

    def told(name: str, scores: Floats, trainings: int, since: float, **more: Any) -> None:
        said = scores[judged]
        found.append(
            {
                "strategy": name, "auc": float(roc_auc_score(truth, said)),
                "log_loss": float(log_loss(truth, said)), "trainings": trainings,
                "seconds": round(time.monotonic() - since, 1), **more,
            }
        )  # fmt: skip
        print(f"{name}: {found[-1]['seconds']} s", file=sys.stderr, flush=True)

    since = time.monotonic()
    told("never", fit(data, START).scores(data, rows), 0, since)
    since = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        life = Life(data, Path(folder))
        scores = life.live()
    kinds = [kind for _, kind, _ in life.steps]
    told(
        "loop", scores, kinds.count("fit"), since,
        promoted=kinds.count("promote"), dropped=kinds.count("drop"), steps=life.steps,
    )  # fmt: skip
    since = time.monotonic()
    told("weekly", *every(data, 7), since)
    since = time.monotonic()
    told("always", *every(data, 1), since)
    return {"flights": len(rows), "labelled": int(judged.sum()), "rows": found}


def table(found: dict[str, Any]) -> str:
    """As docs/lifecycle.md has it."""
    lines = ["| trained | AUC | log loss | trainings |", "|---|---|---|---|"]
    lines += [
        f"| {row['strategy']} | {row['auc']:.4f} | {row['log_loss']:.4f} | {row['trainings']} |"
        for row in found["rows"]
    ]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    chosen = options.parse_args()
    found = measure()
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
