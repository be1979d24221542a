"""PyFlink as its documentation shows it: tables in the `json` format, and a pandas UDF with the model."""

from __future__ import annotations

import json
import sys
from typing import Any

import joblib
import numpy as np
import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import ScalarFunction, udf


class Predict(ScalarFunction):  # type: ignore[misc]
    """Loads the model once for each worker."""

    def __init__(self, path: str) -> None:
        self._path = path

    def open(self, function_context: Any) -> None:
        self._model = joblib.load(self._path)

    def eval(self, *columns: pd.Series[float]) -> pd.Series[float]:
        return pd.Series(self._model.predict_proba(np.column_stack(columns))[:, 1])


def main() -> None:
    task = json.loads(sys.argv[1])
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for key, value in {
        "pipeline.jars": task["jars"],
        "parallelism.default": str(task["parallelism"]),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }.items():
        tables.get_config().set(key, value)
    predict = udf(Predict(task["model"]), result_type=DataTypes.DOUBLE(), func_type="pandas")
    tables.create_temporary_function("predict", predict)
    names = ", ".join(f"`{name}`" for name in task["columns"])
    doubles = ", ".join(f"`{name}` DOUBLE" for name in task["columns"])
    tables.execute_sql(f"""
        CREATE TABLE source (
          id BIGINT, ts BIGINT, card BIGINT, {doubles}
        ) WITH (
          'connector' = 'kafka', 'topic' = '{task["source"]}', 'format' = 'json',
          'properties.bootstrap.servers' = '{task["brokers"]}', 'properties.group.id' = '{task["group"]}',
          'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
        )""")
    tables.execute_sql(f"""
        CREATE TABLE predictions (
          id BIGINT, card BIGINT, event_time BIGINT, score DOUBLE
        ) WITH (
          'connector' = 'kafka', 'topic' = '{task["output"]}', 'format' = 'json',
          'properties.bootstrap.servers' = '{task["brokers"]}'
        )""")
    # A column made of the score would have Flink call the function twice for each record.
    tables.execute_sql(f"INSERT INTO predictions SELECT id, card, ts, predict({names}) FROM source").wait()


if __name__ == "__main__":
    main()
