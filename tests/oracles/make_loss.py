"""What NannyML's loss estimation says of its car prices, as loss.json: run in an environment of its own.

    python -m venv oracle && oracle/bin/pip install nannyml==0.13.1 "pandas<3" statsmodels
    NML_DISABLE_USAGE_LOGGING=1 oracle/bin/python tests/oracles/make_loss.py

Every twentieth row of the reference and of the analysis period, in chunks of 300. Rows are kept as what the
model said, what came, and the inputs that are numbers.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nannyml
import pandas as pd

EACH, CHUNK = 20, 300
METRICS = ["mae", "rmse"]
FEATURES = [
    "car_age",
    "km_driven",
    "price_new",
    "accident_count",
    "door_count",
    "fuel",
    "transmission",
]


def rows(frame: pd.DataFrame) -> dict[str, Any]:
    """What the model said, what came, and the inputs that are numbers."""
    said, came, *inputs = (frame[name].astype(int).tolist() for name in ("y_pred", "y_true", *FEATURES[:5]))
    return {"said": said, "came": came, "inputs": dict(zip(FEATURES[:5], inputs, strict=True))}


def main() -> None:
    reference, analysis, targets = nannyml.load_synthetic_car_price_dataset()
    reference = reference.iloc[::EACH].reset_index(drop=True)
    analysis = analysis.merge(targets, on="id").iloc[::EACH].reset_index(drop=True)
    options = {"y_pred": "y_pred", "y_true": "y_true", "metrics": METRICS, "chunk_size": CHUNK}
    estimator = nannyml.DLE(feature_column_names=FEATURES, **options).fit(reference)
    estimates = estimator.estimate(analysis.drop(columns="y_true")).filter(period="analysis").to_df()
    calculator = nannyml.PerformanceCalculator(problem_type="regression", **options).fit(reference)
    realized = calculator.calculate(analysis).filter(period="analysis").to_df()
    chunks = [
        {
            **rows(analysis.iloc[start : start + CHUNK]),
            "estimated": {name: float(estimates[name, "value"].iloc[number]) for name in METRICS},
            "realized": {name: float(realized[name, "value"].iloc[number]) for name in METRICS},
        }
        for number, start in enumerate(range(0, len(analysis), CHUNK))
    ]
    made = {"nannyml": version("nannyml"), "reference": rows(reference), "chunks": chunks}
    Path(__file__).with_name("loss.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
