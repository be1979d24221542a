"""What fairlearn says of NannyML's census data, as fairness.json: run in an environment of its own.

    python -m venv oracle && oracle/bin/pip install nannyml==0.13.1 fairlearn==0.15.0 "pandas<3" statsmodels
    NML_DISABLE_USAGE_LOGGING=1 oracle/bin/python tests/oracles/make_fairness.py

Employment in Massachusetts (ACS), which is in NannyML's wheel; fairlearn's own data sets are downloads. Cells
are (group, prediction, label, records).
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import nannyml
from fairlearn import metrics

COLUMNS = ("SEX", "RAC1P")


def main() -> None:
    _, analysis, targets = nannyml.load_us_census_ma_employment_data()
    frame = analysis.merge(targets, on="id")
    frame = frame.rename(columns={"employed": "truth", "prediction": "said"}).iloc[:20_000]
    truth, said = frame["truth"].astype(int), frame["said"].astype(int)
    found = {}
    for column in COLUMNS:
        groups = frame[column].astype(str)
        options = {"sensitive_features": groups}
        values = {}
        for name, rate in (
            ("selection_rate", metrics.selection_rate),
            ("true_positive_rate", metrics.true_positive_rate),
            ("false_positive_rate", metrics.false_positive_rate),
        ):
            by_group = metrics.MetricFrame(metrics=rate, y_true=truth, y_pred=said, **options)
            values[name] = {
                "by_group": {str(k): float(v) for k, v in by_group.by_group.items()},
                "difference": float(by_group.difference()),
                "ratio": float(by_group.ratio()),
            }
        table = frame.assign(group=groups, truth=truth, said=said).groupby(["group", "said", "truth"]).size()
        cells = [[str(g), int(s), int(t), int(n)] for (g, s, t), n in table.items()]
        parity = {
            "difference": metrics.demographic_parity_difference(truth, said, **options),
            "ratio": metrics.demographic_parity_ratio(truth, said, **options),
        }
        found[column] = {"cells": cells, "metrics": values, "demographic_parity": parity}
    made = {"fairlearn": version("fairlearn"), "columns": found}
    Path(__file__).with_name("fairness.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
