"""What a version said of n rows, and what was true, as arrays that metrics are computed from.

    said = outputs_of(output, history.table)
    said.positive, said.score           # binary: (n,) booleans, (n,) probabilities of the positive class

Classes are codes, 0 to k - 1, in the order of the signature; a label of -1 is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flink_jobs.errors import InputError
from udfs.model.manifest import Output, OutputKind

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """One version's output for n rows.

    `prediction` (n,): class codes, 0 and 1 for an anomaly, values of a regression. `score` (n,): probability
    of the positive class, anomaly score, or the value of a regression. `probabilities` (n, k): only
    multiclass, whose `score` is the probability of the predicted class.
    """

    kind: OutputKind
    prediction: Floats
    score: Floats
    probabilities: Floats | None = None

    def take(self, rows: npt.NDArray[np.bool_] | Integers) -> Predictions:
        """The rows chosen by flags or positions."""
        chosen = None if self.probabilities is None else self.probabilities[rows]
        return Predictions(self.kind, self.prediction[rows], self.score[rows], chosen)


def outputs_of(output: Output, table: pa.Table) -> Predictions:
    """The columns prediction, score and probabilities of a table as a job's predictions have them."""
    if output.kind == "regression":
        values = _floats(table.column("prediction"))
        return Predictions(output.kind, values, values)
    codes = class_codes(output, table.column("prediction").to_pylist(), "prediction")
    if output.kind != "multiclass":
        return Predictions(output.kind, codes.astype(np.float64), _floats(table.column("score")))
    nested = table.column("probabilities").combine_chunks()
    columns = [_floats(nested.field(str(name))) for name in output.classes]
    probabilities = np.stack(columns, axis=1) if columns else np.zeros((0, 0))
    score = probabilities[np.arange(len(codes)), codes] if len(codes) else np.zeros(0)
    return Predictions(output.kind, codes.astype(np.float64), score, probabilities)


def class_codes(output: Output, values: Sequence[object], what: str) -> Integers:
    """(n,) codes of class values, -1 for None.

    A value may be a class, its text, or 0 and 1 for false and true. Raises InputError for any other.
    """
    classes = (False, True) if output.kind == "anomaly" else output.classes
    known: dict[object, int] = {}
    for code, name in enumerate(classes):
        known |= {_typed(form): code for form in (name, str(name), str(name).lower())}
        if isinstance(name, bool):
            known |= {_typed(int(name)): code, _typed(float(name)): code}
        elif isinstance(name, int):
            known[_typed(float(name))] = code
    known[_typed(None)] = -1
    try:
        return np.array([known[_typed(value)] for value in values], np.int64)
    except KeyError:
        odd = next(value for value in values if _typed(value) not in known)
        names = ", ".join(str(name) for name in classes)
        raise InputError(f"{what} must be one of the model's classes ({names}); got {odd!r}") from None


def label_values(output: Output, labels: pa.ChunkedArray, what: str) -> tuple[Floats, Flags]:
    """(n,) what was true, as `Predictions.prediction` has it, and (n,) whether that is known.

    Raises InputError for labels that are no numbers (regression) or no classes of the model.
    """
    if output.kind == "regression":
        try:
            values = _floats(labels)
        except pa.ArrowInvalid as error:
            raise InputError(f"{what} must be numbers; {error}") from error
        return values, np.isfinite(values)
    plain = labels.to_pylist()
    codes = class_codes(output, [None if value != value else value for value in plain], what)
    return codes.astype(np.float64), codes >= 0


def _typed(value: object) -> object:
    """True and 1 are the same key of a dict, and must not be."""
    return type(value).__name__, value


def _floats(column: pa.ChunkedArray | pa.Array) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
