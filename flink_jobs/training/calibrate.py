"""Whether a classifier's probabilities are corrected by isotonic regression: decided on held-out rows.

The rule: the correction is fitted on the earlier half of the held-out rows and judged on the later half. It
is kept when it lowers log loss and Brier score there, and the log loss by more than two standard errors of
the rows' own differences. Otherwise, and with fewer than 1,000 rows to fit it on, the model stays as it is.

choice = choose(pipeline, held_out, output)
choice.model, choice.method, choice.judged
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flink_jobs.training.data import LabelledRows
from flink_jobs.training.measures import briers, log_losses, predicted
from flink_jobs.training.splits import Mask
from udfs.model.manifest import Output

LEAST_ROWS = 1_000
ERRORS = 2.0


@dataclass(frozen=True)
class Choice:
    """`method`: isotonic or none; `judged`: the held-out rows that no part of `model` was fitted on."""

    model: Any
    method: str
    reason: str
    judged: Mask
    numbers: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """For the manifest."""
        return {"method": self.method, "reason": self.reason, **self.numbers}


def uncalibrated(model: Any, rows: LabelledRows, reason: str) -> Choice:
    """The model as it is, and why."""
    return Choice(model, "none", reason, np.ones(len(rows), bool))


def choose(model: Any, rows: LabelledRows, output: Output) -> Choice:
    """The model or its correction, by the rule above; `rows` were held out from fitting it."""
    if output.kind == "regression":
        return uncalibrated(model, rows, "a regression has no probabilities")
    early = rows.times < np.sort(rows.times)[len(rows) // 2]
    earlier, later = rows.where(early), rows.where(~early)
    if len(earlier) < LEAST_ROWS:
        return uncalibrated(model, rows, f"{len(earlier):,} rows to fit it on are fewer than {LEAST_ROWS:,}")
    if len(set(earlier.labels.tolist())) < len(output.classes):
        return uncalibrated(model, rows, "the rows to fit it on do not have all classes")
    corrected = _isotonic(model, earlier)
    plain, better = (predicted(each, later.frame(), output) for each in (model, corrected))
    gains = log_losses(plain, later.labels, output) - log_losses(better, later.labels, output)
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    brier = [float(briers(each, later.labels, output).mean()) for each in (plain, better)]
    numbers = {
        "log_loss_gain": float(gains.mean()),
        "log_loss_gain_error": error,
        "brier_gain": brier[0] - brier[1],
    }
    if gains.mean() > ERRORS * error and brier[1] < brier[0]:
        reason = "isotonic lowers log loss, by more than two standard errors, and Brier score"
        return Choice(corrected, "isotonic", reason, ~early, numbers)
    reason = "isotonic does not lower both log loss, by more than two standard errors, and Brier score"
    return Choice(model, "none", reason, np.ones(len(rows), bool), numbers)


def _isotonic(model: Any, rows: LabelledRows) -> Any:
    """The same model with its probabilities corrected; it is not fitted again."""
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415  # Start-up: loads scikit-learn
    from sklearn.frozen import FrozenEstimator  # noqa: PLC0415  # Start-up: loads scikit-learn

    return CalibratedClassifierCV(FrozenEstimator(model), method="isotonic").fit(rows.frame(), rows.labels)
