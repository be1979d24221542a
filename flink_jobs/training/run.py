"""One training from records to a registered version.

trainer = load_trainer(Path("models/flight_delay"))
manifest = train(trainer, registry, TrainingSettings(limits=Limits(trials=20)))
manifest.metrics["test_auc"], manifest.training["predictions_digest"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.jobfile import load_job
from flink_jobs.registry import Registry
from flink_jobs.training import lineage
from flink_jobs.training.calibrate import Choice, choose, uncalibrated
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import (
    ComputeFeatures,
    Data,
    LabelledRows,
    features_on_flink,
    load_data,
    require_vectors,
)
from flink_jobs.training.fit import fitted, plain
from flink_jobs.training.measures import importance, measure, predicted
from flink_jobs.training.search import Limits, SearchResult, search
from flink_jobs.training.show import Show
from flink_jobs.training.splits import as_numpy, parse_time
from flink_jobs.training.version import Evaluation, Fit, Parts, write
from udfs.model.manifest import Manifest

COMPARED = {"auc", "average_precision", "accuracy", "log_loss", "rmse", "mae"}
CACHE = Path(".tailrace/features")
# Values of a segment that are measured, and rows that one must have for that.
MOST_SEGMENTS, SEGMENT_ROWS = 50, 30


@dataclass(frozen=True)
class TrainingSettings:
    """How a training runs. `cache` keeps features, `studies` searches (default: beside train.py).

    `why` is kept in the manifest: what a retraining was decided by. `environ` is for the job file.
    """

    limits: Limits = field(default_factory=Limits)
    promote: bool = False
    test_from: str | None = None
    cache: Path = CACHE
    studies: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    why: Mapping[str, Any] | None = None


def train(
    trainer: Trainer,
    registry: Registry,
    settings: TrainingSettings | None = None,
    show: Show | None = None,
    features: ComputeFeatures = features_on_flink,
) -> Manifest:
    """Fits, measures and registers a version; the first one becomes champion.

    Raises InputError where train.py, its job or its records do not fit, WorkError when the job or a trial
    fails.
    """
    settings, show = settings or TrainingSettings(), show or Show.silent()
    if settings.test_from:
        trainer = replace(trainer, test_from=settings.test_from)
    job = load_job(trainer.job, settings.environ)
    if trainer.prepare:
        trainer.prepare(job)
    with show.step("Features") as note:
        data = load_data(trainer, job, features, settings.cache, note)
        note(f"{data.records:,} records, {len(data.rows):,} rows with a known {trainer.label}")
    parts = split(trainer, data.rows)
    require_vectors(parts.held_out, data.vectors)
    found = _searched(trainer, data, parts.fit, settings, show)
    parameters = plain(found.parameters if found else trainer.parameters)
    with show.step("Fitting") as note:
        note(f"{len(parts.fit):,} rows")
        model = fitted(trainer, parameters, parts.fit)
        choice = _calibrated(trainer, model, parts.held_out)
    with show.step("Measuring"):
        measured = _measured(trainer, choice, parts, parameters, data.private)
    manifest = write(registry, trainer, data, parts, Fit(parameters, choice, found), measured, settings.why)
    if settings.promote or not registry.releases(trainer.name):
        registry.promote(trainer.name, manifest.version)
    return manifest


def split(trainer: Trainer, rows: LabelledRows) -> Parts:
    """Test rows by their time, then held-out ones. Raises InputError when nothing is left to fit or judge."""
    late = np.zeros(len(rows), bool)
    if trainer.test_from:
        late = rows.times >= as_numpy(parse_time(trainer.test_from, "test_from"))
    known = rows.where(~late)
    out = np.asarray(trainer.holdout(known.times), bool)
    parts = Parts(known.where(~out), known.where(out), rows.where(late))
    for what, part in (("to fit", parts.fit), (f"held out ({trainer.holdout})", parts.held_out)):
        if not len(part):
            raise InputError(f"of {len(rows):,} rows some must be {what}; got none")
    return parts


def _searched(
    trainer: Trainer, data: Data, rows: LabelledRows, settings: TrainingSettings, show: Show
) -> SearchResult | None:
    if not settings.limits.wanted:
        return None
    folder = settings.studies or _folder(trainer) / "studies"
    key = study_key(trainer, data)
    with show.search(trainer, settings.limits) as progress:
        return search(trainer, rows, folder / "studies.db", key, settings.limits, progress)


def _folder(trainer: Trainer) -> Path:
    """Where train.py is; a Trainer that was not loaded from one keeps its studies where it is used."""
    return trainer.file.parent if trainer.file else Path()


def study_key(trainer: Trainer, data: Data) -> str:
    """Names a search by what its trials depend on: they can only be compared with their like."""
    code = lineage.code_version(trainer.file, trainer.code)["code"]
    parts = [data.fingerprint, data.features_fingerprint, code, str(trainer.test_from), str(trainer.seed)]
    return f"{trainer.name}-{lineage.digest(parts)[:16]}"


def _calibrated(trainer: Trainer, model: Any, held_out: LabelledRows) -> Choice:
    if not trainer.calibrate:
        return uncalibrated(model, held_out, "train.py says so")
    return choose(model, held_out, trainer.output)


def _measured(
    trainer: Trainer,
    choice: Choice,
    parts: Parts,
    parameters: Mapping[str, Any],
    private: frozenset[str] = frozenset(),
) -> Evaluation:
    """The held-out rows that nothing was fitted on and the test give the metrics."""
    output, held_out = trainer.output, parts.held_out
    judged = held_out.where(choice.judged)
    said = predicted(choice.model, judged.frame(), output)
    metrics = _prefixed("holdout", measure(said, judged.labels, output, trainer.label))
    if len(parts.test):
        tested = predicted(choice.model, parts.test.frame(), output)
        metrics |= _prefixed("test", measure(tested, parts.test.labels, output, trainer.label))
        said = np.concatenate([said, tested])
    on, prefix = (parts.test, "test") if len(parts.test) else (judged, "holdout")
    metrics |= _without(trainer, parts.fit, on, parameters, prefix)
    weights = importance(choice.model, held_out.frame(), held_out.labels, output, trainer.seed)
    segments = _by_segment(trainer, choice, on, private)
    return Evaluation(metrics, lineage.predictions_digest(said.ravel()), weights, segments)


def _by_segment(
    trainer: Trainer, choice: Choice, on: LabelledRows, private: frozenset[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Column to value to metrics of its rows; only their number where it is small, or all are of a class."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in trainer.segments:
        if name in private:
            continue
        texts = on.inputs[name].cast(pa.string()).to_pandas().to_numpy()
        values, counts = np.unique(texts[~pd.isna(texts)].astype(str), return_counts=True)
        largest = np.argsort(-counts, kind="stable")[:MOST_SEGMENTS]
        found[name] = {
            str(values[place]): _of_segment(trainer, choice, on.where(texts == values[place]))
            for place in sorted(largest.tolist())
        }
    return found


def _of_segment(trainer: Trainer, choice: Choice, rows: LabelledRows) -> dict[str, float]:
    if len(rows) < SEGMENT_ROWS:
        return {"rows": float(len(rows))}
    try:
        said = predicted(choice.model, rows.frame(), trainer.output)
        return measure(said, rows.labels, trainer.output, trainer.label)
    except InputError:
        return {"rows": float(len(rows))}


def _without(
    trainer: Trainer, fit: LabelledRows, on: LabelledRows, parameters: Mapping[str, Any], prefix: str
) -> dict[str, float]:
    """Metrics of the same pipeline on some inputs only, for each of the ablations."""
    found: dict[str, float] = {}
    for name, inputs in trainer.ablations.items():
        model = fitted(trainer, parameters, fit, inputs)
        said = predicted(model, on.frame()[list(inputs)], trainer.output)
        values = measure(said, on.labels, trainer.output, trainer.label)
        kept = {key: value for key, value in values.items() if key in COMPARED}
        found |= _prefixed(f"{prefix}_{name}", kept)
    return found


def _prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in values.items()}
