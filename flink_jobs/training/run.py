"""One training from records to a registered version.

manifest = train(load_trainer(Path("models/flight_delay")), Registry(Path("models")), Settings(trials=20))
manifest.metrics["test_auc"], manifest.training["predictions_digest"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flink_jobs.errors import InputError
from flink_jobs.loader import load_job
from flink_jobs.registry import Registry
from flink_jobs.training import lineage
from flink_jobs.training.calibrate import Choice, choose, uncalibrated
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import Data, Features, Rows, features_on_flink, load_data
from flink_jobs.training.fit import fitted, plain
from flink_jobs.training.measures import importance, measure, predicted
from flink_jobs.training.search import Found, Limits, search
from flink_jobs.training.show import Show
from flink_jobs.training.splits import as_numpy, parse_time
from udfs.formats.inputs import frame
from udfs.manifest import Lineage, Manifest, Output
from udfs.profile import reference_profile

GOLDEN_ROWS = 200
CACHE = Path(".tailrace/features")


@dataclass(frozen=True)
class Settings:
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


@dataclass(frozen=True)
class Parts:
    """Rows to fit on, rows held out from that, and later rows for the test, maybe none."""

    fit: Rows
    held_out: Rows
    test: Rows


def train(
    trainer: Trainer,
    registry: Registry,
    settings: Settings | None = None,
    show: Show | None = None,
    features: Features = features_on_flink,
) -> Manifest:
    """Fits, measures and registers a version; the first one becomes champion.

    Raises InputError where train.py, its job or its records do not fit, WorkError when the job or a trial
    fails.
    """
    settings, show = settings or Settings(), show or Show.silent()
    if settings.test_from:
        trainer = replace(trainer, test_from=settings.test_from)
    job = load_job(trainer.job, settings.environ)
    if trainer.prepare:
        trainer.prepare(job)
    with show.step("Features") as note:
        data = load_data(trainer, job, features, settings.cache, note)
        note(f"{data.records:,} records, {len(data.rows):,} rows with a known {trainer.label}")
    parts = split(trainer, data.rows)
    found = _searched(trainer, data, parts.fit, settings, show)
    parameters = plain(found.parameters if found else trainer.parameters)
    with show.step("Fitting") as note:
        note(f"{len(parts.fit):,} rows")
        model = fitted(trainer, parameters, parts.fit)
        choice = _calibrated(trainer, model, parts.held_out)
    with show.step("Measuring"):
        metrics, digest = _metrics(trainer, choice, parts, parameters)
        weights = importance(
            choice.model, parts.held_out.frame(), parts.held_out.labels, trainer.output, trainer.seed
        )
    record = _record(trainer, data, parts, parameters, choice, found)
    record["predictions_digest"] = digest
    if settings.why:
        record["retrained_for"] = dict(settings.why)
    manifest = registry.write_version(
        trainer.name,
        model=choice.model,
        format=trainer.format,
        signature=data.signature,
        golden_inputs=golden_rows(choice.model, parts.held_out.inputs, trainer.output),
        profile=_profile(trainer, choice, parts.held_out, weights),
        metrics=metrics,
        training=record,
        lineage=Lineage(
            data=data.fingerprint,
            code=record["code"],
            parameters=parameters,
            parent=champion(registry, trainer.name),
        ),
        trusted_types=trainer.trusted_types,
    )
    if settings.promote or not registry.releases(trainer.name):
        registry.promote(trainer.name, manifest.version)
    return manifest


def split(trainer: Trainer, rows: Rows) -> Parts:
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


def _searched(trainer: Trainer, data: Data, rows: Rows, settings: Settings, show: Show) -> Found | None:
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
    code = lineage.code_version(trainer.file)["code"]
    parts = [data.fingerprint, data.features_fingerprint, code, str(trainer.test_from), str(trainer.seed)]
    return f"{trainer.name}-{lineage.digest(parts)[:16]}"


def _calibrated(trainer: Trainer, model: Any, held_out: Rows) -> Choice:
    if not trainer.calibrate:
        return uncalibrated(model, held_out, "train.py says so")
    return choose(model, held_out, trainer.output)


def _metrics(
    trainer: Trainer, choice: Choice, parts: Parts, parameters: Mapping[str, Any]
) -> tuple[dict[str, float], str]:
    """Metrics of the held-out rows that nothing was fitted on and of the test; a digest of what was said."""
    output, label = trainer.output, trainer.label
    judged = parts.held_out.where(choice.judged)
    said = [predicted(choice.model, part.frame(), output) for part in (judged, parts.test) if len(part)]
    found = _prefixed("holdout", measure(said[0], judged.labels, output, label))
    if len(parts.test):
        found |= _prefixed("test", measure(said[1], parts.test.labels, output, label))
    on, prefix = (parts.test, "test") if len(parts.test) else (judged, "holdout")
    for name, inputs in trainer.ablations.items():
        model = fitted(trainer, parameters, parts.fit, inputs)
        without = measure(predicted(model, on.frame()[list(inputs)], output), on.labels, output, label)
        kept = {"auc", "average_precision", "accuracy", "log_loss", "rmse", "mae"}
        found |= _prefixed(f"{prefix}_{name}", {key: value for key, value in without.items() if key in kept})
    return found, lineage.predictions_digest(np.concatenate([each.ravel() for each in said]))


def _prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in values.items()}


def _profile(trainer: Trainer, choice: Choice, rows: Rows, importance: dict[str, float]) -> dict[str, Any]:
    return reference_profile(
        rows.inputs,
        _outputs(trainer, choice, rows),
        importance=importance,
        segments=trainer.segments,
        event_time=pa.chunked_array([rows.times]) if trainer.hours_of_week else None,
    )


def _outputs(trainer: Trainer, choice: Choice, rows: Rows) -> pa.Table:
    """What drift of the output is measured against."""
    said = predicted(choice.model, rows.frame(), trainer.output)
    if trainer.output.kind == "multiclass":
        classes = np.array([str(name) for name in trainer.output.classes], dtype=object)
        return pa.table({"prediction": pa.array(classes[said.argmax(axis=1)], pa.string())})
    return pa.table({"score" if trainer.output.kind == "binary" else "prediction": said})


def _record(
    trainer: Trainer,
    data: Data,
    parts: Parts,
    parameters: dict[str, Any],
    choice: Choice,
    found: Found | None,
) -> dict[str, Any]:
    """What the manifest says of the training."""
    steps = getattr(trainer.build(parameters), "steps", None)
    estimator = steps[-1][1] if steps else trainer.build(parameters)
    known = np.concatenate([parts.fit.times, parts.held_out.times])
    return {
        **trainer.about,
        "label": trainer.label,
        "records": data.records,
        "records_without_features": data.lost,
        "rows": len(parts.fit),
        "first_event": _iso(known.min()),
        "last_event": _iso(known.max()),
        "holdout": str(trainer.holdout),
        "test_from": trainer.test_from,
        "fingerprint": data.fingerprint,
        "features_fingerprint": data.features_fingerprint,
        **lineage.code_version(trainer.file),
        "estimator": type(estimator).__name__,
        "parameters": parameters,
        "seed": trainer.seed,
        "calibration": choice.record(),
        "search": found.record(trainer) if found else None,
    }


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time.astype('datetime64[s]'))}Z"


def golden_rows(model: Any, reference: pa.Table, output: Output) -> pa.Table:
    """Rows spread over the held-out ones, and one with every input missing, if the model can score that."""
    count = min(GOLDEN_ROWS - 1, reference.num_rows)
    chosen = reference.take(np.linspace(0, reference.num_rows - 1, count).astype(int))
    nothing = pa.table({name: [None] for name in reference.column_names}, schema=reference.schema)
    try:
        scored = bool(np.isfinite(predicted(model, frame(nothing), output)).all())
    except Exception:
        scored = False
    return (pa.concat_tables([chosen, nothing]) if scored else chosen).combine_chunks()


def champion(registry: Registry, name: str) -> int | None:
    """The version that jobs use now; None before the first."""
    return registry.resolve(name, "champion").version if registry.releases(name) else None
