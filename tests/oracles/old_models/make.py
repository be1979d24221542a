"""Writes models as scikit-learn 1.5.2 does, in an environment that has it:

    python3.11 -m venv /tmp/old && /tmp/old/bin/pip install scikit-learn==1.5.2 pandas
    /tmp/old/bin/python tests/oracles/old_models/make.py

`logistic` loads in 1.9; `columns` does not, as a class that it needs is gone.
"""

from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
FRAME = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "n": [1, 0, 1, 0]})
LATE = ["early", "early", "late", "late"]

if __name__ == "__main__":
    scaled = make_column_transformer((StandardScaler(), ["a"]), remainder="passthrough")
    joblib.dump(LogisticRegression().fit(FRAME, LATE), HERE / "logistic.joblib", compress=3)
    joblib.dump(
        make_pipeline(scaled, LogisticRegression()).fit(FRAME, LATE), HERE / "columns.joblib", compress=3
    )
