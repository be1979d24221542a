"""What is registered of a training: the model with its golden rows, reference profile, metrics and lineage.

manifest = write(registry, trainer, data, parts, Fit(parameters, choice, None), measured, why=None)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flink_jobs.registry import Registry
from flink_jobs.training import lineage
from flink_jobs.training.calibrate import Choice
from flink_jobs.training.contract import Trainer
from flink_jobs.training.data import Data, LabelledRows
from flink_jobs.training.expected import Judged, expected_quality
from flink_jobs.training.measures import predicted
from flink_jobs.training.search import SearchResult
from udfs.model.formats.inputs import frame
from udfs.model.manifest import Lineage, Manifest, Output
from udfs.profile.profile import reference_profile
from udfs.scoring.version import numbers

GOLDEN_ROWS = 200


@dataclass(frozen=True)
class Parts:
    """Rows to fit on, rows held out from that, and later rows for the test, maybe none."""

    fit: LabelledRows
    held_out: LabelledRows
    test: LabelledRows


@dataclass(frozen=True)
class Fit:
    """The parameters, the model as it was calibrated or not, and the search, if there was one."""

    parameters: dict[str, Any]
    choice: Choice
    found: SearchResult | None


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, the digest of the predictions that gave them, and what each input is worth.

    `segments` are metrics by column and value.
    """

    metrics: dict[str, float]
    digest: str
    importance: dict[str, float]
    segments: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


def write(
    registry: Registry,
    trainer: Trainer,
    data: Data,
    parts: Parts,
    fit: Fit,
    measured: Evaluation,
    why: Mapping[str, Any] | None,
) -> Manifest:
    """The next version. Raises InputError when the model cannot be registered."""
    code = lineage.code_version(trainer.file, trainer.code)
    retrained: dict[str, Any] = {"retrained_for": dict(why)} if why else {}
    if measured.segments:
        retrained["segments"] = measured.segments
    return registry.write_version(
        trainer.name,
        model=fit.choice.model,
        format=trainer.format,
        signature=data.signature,
        golden_inputs=golden_rows(fit.choice.model, parts.held_out.inputs, trainer.output, data.private),
        profile=_profile(trainer, fit.choice, parts.held_out, measured.importance, data),
        metrics=measured.metrics,
        training=_record(trainer, data, parts, fit)
        | code
        | {"predictions_digest": measured.digest}
        | retrained,
        lineage=Lineage(
            data=data.fingerprint,
            code=code["code"],
            parameters=fit.parameters,
            parent=champion(registry, trainer.name),
        ),
        trusted_types=trainer.trusted_types,
        code=trainer.code,
        expected=_expected(trainer, fit.choice, parts, data.private),
    )


def _expected(trainer: Trainer, choice: Choice, parts: Parts, private: frozenset[str]) -> bytes | None:
    """By all rows that no part of the model was fitted on."""
    judged = [part for part in (parts.held_out.where(choice.judged), parts.test) if len(part)]
    if not judged:
        return None
    said = [predicted(choice.model, part.frame(), trainer.output) for part in judged]
    rows = Judged(
        np.concatenate(said),
        np.concatenate([part.labels for part in judged]),
        np.concatenate([part.times for part in judged]),
        _numbers([part.inputs for part in judged], private),
    )
    return expected_quality(rows, trainer.output, calibrated=trainer.calibrate)


def _numbers(parts: Sequence[pa.Table], private: frozenset[str]) -> dict[str, npt.NDArray[np.float64]]:
    """The inputs that are numbers or booleans, and no personal data; NaN where a value is missing."""
    rows = pa.concat_tables(parts)
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    return {
        name: numbers(rows[name])
        for name in rows.column_names
        if name not in private and any(is_kind(rows[name].type) for is_kind in kinds)
    }


def _record(trainer: Trainer, data: Data, parts: Parts, fit: Fit) -> dict[str, Any]:
    """What the manifest says of the training."""
    built = trainer.build(fit.parameters)
    estimator = built.steps[-1][1] if hasattr(built, "steps") else built
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
        "estimator": type(estimator).__name__,
        "parameters": fit.parameters,
        "seed": trainer.seed,
        "calibration": fit.choice.record(),
        "search": fit.found.record(trainer) if fit.found else None,
    }


def _iso(time: np.datetime64) -> str:
    return f"{np.datetime_as_string(time.astype('datetime64[s]'))}Z"


def _profile(
    trainer: Trainer,
    choice: Choice,
    rows: LabelledRows,
    importance: dict[str, float],
    data: Data,
) -> dict[str, Any]:
    """Of the inputs that are no personal data."""
    private = data.private
    shown = [name for name in rows.inputs.column_names if name not in private]
    return reference_profile(
        rows.inputs.select(shown),
        _outputs(trainer, choice, rows),
        importance={name: weight for name, weight in importance.items() if name in shown},
        segments=[name for name in trainer.segments if name not in private],
        event_time=pa.chunked_array([rows.times]) if trainer.hours_of_week else None,
        vectors=data.vectors,
    )


def _outputs(trainer: Trainer, choice: Choice, rows: LabelledRows) -> pa.Table:
    """What drift of the output is measured against."""
    said = predicted(choice.model, rows.frame(), trainer.output)
    if trainer.output.kind == "multiclass":
        classes = np.array([str(name) for name in trainer.output.classes], dtype=object)
        return pa.table({"prediction": pa.array(classes[said.argmax(axis=1)], pa.string())})
    return pa.table({"score" if trainer.output.kind == "binary" else "prediction": said})


def golden_rows(
    model: Any, reference: pa.Table, output: Output, private: frozenset[str] = frozenset()
) -> pa.Table:
    """Rows spread over the held-out ones, and one with every input missing, if the model can score that.

    The `private` inputs have made-up values in them.
    """
    count = min(GOLDEN_ROWS - 1, reference.num_rows)
    chosen = reference.take(np.linspace(0, reference.num_rows - 1, count).astype(int))
    for name in sorted(private):
        place = chosen.column_names.index(name)
        chosen = chosen.set_column(place, chosen.schema.field(name), _made_up(reference[name], count))
    nothing = pa.table({name: [None] for name in reference.column_names}, schema=reference.schema)
    try:
        scored = bool(np.isfinite(predicted(model, frame(nothing), output)).all())
    except Exception:
        scored = False
    return (pa.concat_tables([chosen, nothing]) if scored else chosen).combine_chunks()


def _made_up(column: pa.ChunkedArray, count: int) -> pa.Array:
    """Values of the column's size that are nobody's: evenly spaced about its 5th to 95th percentile."""
    if pa.types.is_boolean(column.type):
        return pa.array([row % 2 == 0 for row in range(count)], column.type)
    known = column.drop_null().to_numpy().astype(np.float64)
    low, high = np.quantile(known, [0.05, 0.95]) if len(known) else (0.0, 1.0)
    size = 10.0 ** np.floor(np.log10(max(abs(low), abs(high), 1e-9)))
    low, high = np.floor(low / size) * size, (np.floor(high / size) + 1) * size
    values = np.linspace(low, high, count)
    return pa.array(
        np.rint(values).astype(np.int64) if pa.types.is_integer(column.type) else values, column.type
    )


def champion(registry: Registry, name: str) -> int | None:
    """The version that jobs use now; None before the first."""
    return registry.resolve(name, "champion").version if registry.releases(name) else None
