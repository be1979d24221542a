"""What NannyML says of its car loan data, as quality.json: run in an environment of its own.

    python -m venv oracle && oracle/bin/pip install nannyml==0.13.1 "pandas<3" statsmodels
    NML_DISABLE_USAGE_LOGGING=1 oracle/bin/python tests/oracles/make_quality.py

Chunks of 5,000 records. Each keeps its records as counts: (score, prediction, records, positive labels), and
as (calibrated probability, prediction, records), which CBPE is made of: the scores have two decimals.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd

CHUNK = 5_000
METRICS = ["roc_auc", "average_precision", "accuracy", "precision", "recall", "f1"]
COLUMNS = {"y_pred_proba": "y_pred_proba", "y_pred": "y_pred", "y_true": "repaid"}


def counted(frame: pd.DataFrame, by: list[str]) -> list[list[float]]:
    found = frame.groupby(by).agg(n=("y_pred", "size"), positive=("repaid", "sum")).reset_index()
    return [[float(x) for x in row] for row in found.to_numpy().tolist()]


def main() -> None:
    reference, analysis, targets = nannyml.load_synthetic_car_loan_dataset()
    options = {"problem_type": "classification_binary", "metrics": METRICS, "chunk_size": CHUNK}
    estimator = nannyml.CBPE(**COLUMNS, **options).fit(reference)
    estimates = estimator.estimate(analysis).filter(period="analysis").to_df()
    frame = analysis.merge(targets, on="id")
    calculator = nannyml.PerformanceCalculator(**COLUMNS, **options).fit(reference)
    realized = calculator.calculate(frame).filter(period="analysis").to_df()
    probabilities = estimator.calibrator.calibrate(frame["y_pred_proba"])
    frame["calibrated"] = np.asarray(probabilities, dtype=np.float64)
    chunks = []
    for number, start in enumerate(range(0, len(frame), CHUNK)):
        part = frame.iloc[start : start + CHUNK]
        chunks.append(
            {
                "scores": counted(part, ["y_pred_proba", "y_pred"]),
                "calibrated": [row[:3] for row in counted(part, ["calibrated", "y_pred"])],
                "estimated": {name: float(estimates[name, "value"].iloc[number]) for name in METRICS},
                "realized": {name: float(realized[name, "value"].iloc[number]) for name in METRICS},
            }
        )
    made = {"nannyml": version("nannyml"), "chunk_size": CHUNK, "chunks": chunks}
    Path(__file__).with_name("quality.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
