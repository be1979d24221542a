"""The flights of July to December as a loop sees them: features, labels as they land, and models of them.

data = year()
scores, trainings = every(data, 7)      # trained anew each Monday
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs.demo import flights
from udfs.rollout.losses import FLOOR
from udfs.times import parse_time

DAY_MS = 86_400_000
START, END = parse_time("2013-07-01"), parse_time("2014-01-01")
# So that training each night ends.
THIN = 8
TREES = {"max_iter": 50, "learning_rate": 0.1, "max_leaf_nodes": 15, "min_samples_leaf": 50}
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
