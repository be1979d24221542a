"""What NannyML and Evidently say, as values.json: run in an environment of its own.

    python -m venv oracle && oracle/bin/pip install nannyml==0.13.1 evidently==0.7.23 "pandas<3"
    NML_DISABLE_USAGE_LOGGING=1 oracle/bin/python tests/oracles/make_values.py

Each case keeps the counts on the bins that the tool made, so that the same definition can be checked exactly.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd
from evidently.legacy.calculations.stattests import (
    jensenshannon_stat_test,
    psi_stat_test,
    wasserstein_stat_test,
)
from evidently.legacy.core import ColumnType
from scipy.stats import ks_2samp, wasserstein_distance

SEED = 20131101
ZERO = 1e-4


def seeded() -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(SEED)
    frames = []
    for rows, shift in ((4000, 0.0), (1000, 0.3)):
        number = np.round(random.normal(shift, 1.0, rows), 6)
        category = random.choice(["a", "b", "c", "d"], rows, p=[0.4 - shift / 3, 0.3, 0.2, 0.1 + shift / 3])
        frames.append(pd.DataFrame({"number": number, "category": category}))
    return frames[0], frames[1]


def nannyml_value(reference: pd.DataFrame, current: pd.DataFrame, column: str, method: str) -> float:
    """Of the first chunk of all rows of `current`."""
    kind = "categorical_methods" if reference[column].dtype == object else "continuous_methods"
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=[column], chunk_size=len(current), **{kind: [method]}
    )
    result = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
    return float(result[column, method, "value"].iloc[0])


def doane(reference: pd.Series, current: pd.Series) -> tuple[list[int], list[int]]:
    """NannyML's bins; what is outside of them is one more cell."""
    edges = np.histogram_bin_edges(reference.astype("float64"), bins="doane")
    first, second = (np.histogram(side, bins=edges)[0] for side in (reference, current))
    return [*first.tolist(), 0], [*second.tolist(), len(current) - int(second.sum())]


def sturges(reference: pd.Series, current: pd.Series) -> tuple[list[int], list[int]]:
    """Evidently's bins for numbers."""
    edges = np.histogram_bin_edges(pd.concat([reference, current]), bins="sturges")
    first, second = (np.histogram(side, bins=edges)[0] for side in (reference, current))
    return first.tolist(), second.tolist()


def categories(reference: pd.Series, current: pd.Series) -> tuple[list[int], list[int]]:
    names = sorted(set(reference) | set(current))
    first, second = ([int((side == name).sum()) for name in names] for side in (reference, current))
    return first, second


def case(tool: str, statistic: str, cells: tuple[list[int], list[int]], value: float) -> dict[str, object]:
    return {"tool": tool, "statistic": statistic, "reference": cells[0], "current": cells[1], "value": value}


def cases(reference: pd.DataFrame, current: pd.DataFrame) -> list[dict[str, object]]:
    number, category = (
        (reference["number"], current["number"]),
        (reference["category"], current["category"]),
    )
    found = []
    for method in ("jensen_shannon", "hellinger"):
        value = nannyml_value(reference, current, "number", method)
        found.append(case("nannyml", method, doane(*number), value))
    for method in ("jensen_shannon", "hellinger", "l_infinity", "chi2"):
        value = nannyml_value(reference, current, "category", method)
        found.append(case("nannyml", method, categories(*category), value))
    for name, test in (("psi", psi_stat_test), ("jensen_shannon", jensenshannon_stat_test)):
        for kind, pair, cells in (
            (ColumnType.Numerical, number, sturges),
            (ColumnType.Categorical, category, categories),
        ):
            value = test.func(*pair, kind, 0.1)[0]
            found.append(case("evidently", name, cells(*pair), float(value)))
    return found


def unbinned(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, float]:
    pair = reference["number"], current["number"]
    return {
        "nannyml_ks": nannyml_value(reference, current, "number", "kolmogorov_smirnov"),
        "nannyml_wasserstein": nannyml_value(reference, current, "number", "wasserstein"),
        "evidently_wasserstein": float(wasserstein_stat_test.func(*pair, ColumnType.Numerical, 0.1)[0]),
        "scipy_ks": float(ks_2samp(*pair).statistic),
        "scipy_wasserstein": float(wasserstein_distance(*pair)),
    }


def car_loan() -> dict[str, object]:
    """NannyML's own data: the first chunk of 5,000 rows, on its bins and on 64 quantiles as cells."""
    reference, analysis, _ = nannyml.load_synthetic_car_loan_dataset()
    column = "debt_to_income_ratio"
    chunk = analysis.iloc[:5000]
    first, second = reference[column], chunk[column]
    quantiles = np.unique(np.quantile(first, np.linspace(0, 1, 65), method="inverted_cdf"))
    edges = np.concatenate([[-np.inf], quantiles[:-1], [np.nextafter(quantiles[-1], np.inf), np.inf]])
    cells = [np.histogram(side, bins=edges)[0].tolist() for side in (first, second)]
    return {
        "jensen_shannon": case(
            "nannyml",
            "jensen_shannon",
            doane(first, second),
            nannyml_value(reference, chunk, column, "jensen_shannon"),
        ),
        "ks": case(
            "nannyml",
            "ks",
            (cells[0], cells[1]),
            nannyml_value(reference, chunk, column, "kolmogorov_smirnov"),
        ),
        "evidently_jensen_shannon": case(
            "evidently",
            "jensen_shannon",
            sturges(first, second),
            float(jensenshannon_stat_test.func(first, second, ColumnType.Numerical, 0.1)[0]),
        ),
    }


def main() -> None:
    reference, current = seeded()
    values = {
        "versions": {name: version(name) for name in ("nannyml", "evidently", "numpy", "scipy")},
        "seed": SEED,
        "data_sums": [float(reference["number"].sum()), float(current["number"].sum())],
        "cases": cases(reference, current),
        "unbinned": unbinned(reference, current),
        "car_loan": car_loan(),
    }
    Path(__file__).with_name("values.json").write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
