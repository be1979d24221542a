"""Fitting what a trainer builds, on labelled rows, and judging it fold by fold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from flink_jobs.errors import InputError
from flink_jobs.training.contract import Parameters, Trainer
from flink_jobs.training.data import LabelledRows
from flink_jobs.training.measures import HIGHER_IS_BETTER, measure, predicted
from flink_jobs.training.splits import expanding_folds


def fitted(
    trainer: Trainer, parameters: Parameters, rows: LabelledRows, inputs: Sequence[str] | None = None
) -> Any:
    """What the trainer builds, fitted to the rows; on some of the inputs only, if they are named."""
    table = rows.frame()
    table = table if inputs is None else table[list(inputs)]
    model = trainer.build(parameters)
    if not hasattr(model, "fit"):
        raise InputError(f"build() must give an estimator with fit; got a {type(model).__name__}")
    return model.fit(table, rows.labels, **_weights(trainer, model, table, rows))


def _weights(trainer: Trainer, model: Any, table: pd.DataFrame, rows: LabelledRows) -> dict[str, Any]:
    if trainer.weights is None:
        return {}
    weights = trainer.weights(table, rows.labels)
    if len(weights) != len(rows):
        raise InputError(f"weights() must give one for each of {len(rows)} rows; got {len(weights)}")
    steps = getattr(model, "steps", None)
    return {f"{steps[-1][0]}__sample_weight" if steps else "sample_weight": weights}


def fold_values(trainer: Trainer, parameters: Parameters, rows: LabelledRows) -> Iterator[float]:
    """The trainer's objective on one fold after the other, each judged by a model of what came before."""
    for fit, judged in expanding_folds(rows.times, trainer.folds, trainer.gap):
        known = LabelledRows(rows.inputs.take(fit), rows.labels[fit], rows.times[fit])
        later = LabelledRows(rows.inputs.take(judged), rows.labels[judged], rows.times[judged])
        said = predicted(fitted(trainer, parameters, known), later.frame(), trainer.output)
        yield measure(said, later.labels, trainer.output, trainer.label)[trainer.target]


def direction(trainer: Trainer) -> str:
    """As Optuna says it."""
    return "maximize" if trainer.target in HIGHER_IS_BETTER else "minimize"


def plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as JSON values. Raises InputError for what is none."""
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(parameters), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"parameters must be plain JSON values; {error}") from None
    return found
