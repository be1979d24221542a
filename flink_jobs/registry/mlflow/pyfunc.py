"""Lets MLflow load a pushed version, checked as a worker checks it: `mlflow.pyfunc.load_model(uri)`.

mlflow.pyfunc.load_model("models:/flight_delay/1").predict(frame)    # columns prediction, score, …
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from udfs.model.contract import Model
from udfs.model.loading import load_version


class Predictor:
    """A version with MLflow's interface: DataFrames in and out."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, inputs: pd.DataFrame) -> pd.DataFrame:
        """`prediction`, and `score` or one `probability of <class>` for each class."""
        signature = self._model.signature
        schema = signature.schema()
        table = pa.Table.from_pandas(inputs[signature.names], schema=schema, preserve_index=False)
        scored = self._model.predict(table.replace_schema_metadata(None))
        columns: dict[str, object] = {"prediction": list(scored.prediction)}
        if scored.score is not None:
            columns["score"] = scored.score
        if scored.probabilities is not None:
            labels = signature.output.classes
            columns |= {f"probability of {c}": scored.probabilities[:, k] for k, c in enumerate(labels)}
        return pd.DataFrame(columns, index=inputs.index)


def _load_pyfunc(path: str) -> Predictor:
    """What MLflow calls with the version's folder."""
    return Predictor(load_version(Path(path)).model)
