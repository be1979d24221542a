"""What a model says of rows, and how good that is: metrics by kind of output, with fixed names.

said = predicted(model, rows.frame(), output)
measure(said, rows.labels, output, "late")      # {"rows": 100.0, "late_share": 0.2, "auc": 0.91, …}
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics
from sklearn.inspection import permutation_importance
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from flink_jobs.errors import InputError
from udfs.log_loss import log_losses as losses_of
from udfs.model.manifest import Output

Floats = npt.NDArray[np.float64]
HIGHER_IS_BETTER = {"auc", "average_precision", "accuracy", "r2"}
IMPORTANCE_ROWS = 5_000
_SCORING = {"binary": "roc_auc", "multiclass": "neg_log_loss", "regression": "neg_root_mean_squared_error"}


def predicted(model: Any, rows: pd.DataFrame, output: Output) -> Floats:
    """(n,) probabilities of the positive class or numbers; (n, k) probabilities for k classes.

    A class that the model was not fitted with has probability 0.
    """
    if output.kind == "regression":
        return np.asarray(model.predict(rows), np.float64)
    found = np.asarray(model.predict_proba(rows), np.float64)
    classes = np.asarray(model.classes_).tolist()
    said = np.zeros((len(rows), len(output.classes)))
    for place, name in enumerate(classes):
        said[:, output.classes.index(name)] = found[:, place]
    return said[:, 1] if output.kind == "binary" else said


def measure(said: Floats, labels: npt.NDArray[Any], output: Output, label: str) -> dict[str, float]:
    """Metrics of n predictions. Raises InputError where labels are all of one class."""
    if output.kind == "regression":
        values = _regression(said, labels, label)
    else:
        _require_classes(labels, output, label)
        values = (_binary if output.kind == "binary" else _multiclass)(said, labels, output, label)
    return {"rows": float(len(labels))} | {name: float(value) for name, value in values.items()}


def _require_classes(labels: npt.NDArray[Any], output: Output, label: str) -> None:
    seen = set(labels.tolist())
    if len(seen) < 2:
        got = ", ".join(map(str, seen)) or "no row"
        raise InputError(
            f"rows that a model is judged by must have two or more classes of {label}; got {got} only "
            "(another holdout, fewer folds, or more data would do)"
        )


def _binary(said: Floats, labels: npt.NDArray[Any], output: Output, label: str) -> dict[str, Any]:
    positive = labels == output.classes[1]
    return {
        f"{label}_share": positive.mean(),
        "auc": metrics.roc_auc_score(positive, said),
        "average_precision": metrics.average_precision_score(positive, said),
        "log_loss": metrics.log_loss(positive, said, labels=[False, True]),
        "brier": metrics.brier_score_loss(positive, said),
        "mean_score": said.mean(),
    }


def _multiclass(said: Floats, labels: npt.NDArray[Any], output: Output, label: str) -> dict[str, Any]:
    codes = class_codes(labels, output)
    return {
        "accuracy": (said.argmax(axis=1) == codes).mean(),
        "log_loss": log_losses(said, labels, output).mean(),
        "brier": briers(said, labels, output).mean(),
    }


def _regression(said: Floats, labels: npt.NDArray[Any], label: str) -> dict[str, Any]:
    return {
        f"mean_{label}": labels.mean(),
        "mae": metrics.mean_absolute_error(labels, said),
        "rmse": metrics.root_mean_squared_error(labels, said),
        "r2": metrics.r2_score(labels, said),
        "mean_prediction": said.mean(),
    }


def class_codes(labels: npt.NDArray[Any], output: Output) -> npt.NDArray[np.int64]:
    """(n,) places of the labels among the classes."""
    places = {name: place for place, name in enumerate(output.classes)}
    return np.array([places[label] for label in labels.tolist()], np.int64)


def _by_class(said: Floats) -> Floats:
    return np.column_stack([1 - said, said]) if said.ndim == 1 else said


def log_losses(said: Floats, labels: npt.NDArray[Any], output: Output) -> Floats:
    """(n,) -ln of what each row's own class was given, kept off 0 and 1 as scikit-learn does."""
    own = _by_class(said)[np.arange(len(labels)), class_codes(labels, output)]
    return losses_of(own)


def briers(said: Floats, labels: npt.NDArray[Any], output: Output) -> Floats:
    """(n,) squared errors: of the positive class for two classes, summed over the classes for more."""
    wanted = np.eye(len(output.classes))[class_codes(labels, output)]
    errors = ((_by_class(said) - wanted) ** 2).sum(axis=1)
    return np.asarray(errors / 2 if said.ndim == 1 else errors)


def importance(
    model: Any, rows: pd.DataFrame, labels: npt.NDArray[Any], output: Output, seed: int
) -> dict[str, float]:
    """What each input is worth: how much worse the model gets when its values change places, at least 0.

    AUC for two classes, log loss for more, root mean squared error for numbers; of 5,000 rows at most.
    """
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), IMPORTANCE_ROWS)).astype(int)
    # Many small predictions: threads would wait for each other more than they help.
    with threadpool_limits(1):
        found = permutation_importance(
            model,
            rows.iloc[chosen],
            labels[chosen],
            scoring=_SCORING[output.kind],
            n_repeats=3,
            random_state=seed,
        )
    return {str(name): max(float(lost), 0.0) for name, lost in zip(rows, found.importances_mean, strict=True)}
