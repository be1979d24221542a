"""Quix Streams as its tutorials show it: one function for each record, JSON in and out.

It runs in an environment of its own (scripts/quix_env) and knows nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import joblib
import numpy as np
from quixstreams import Application


def main() -> None:
    task = json.loads(sys.argv[1])
    model, columns = joblib.load(task["model"]), task["columns"]
    app = Application(
        broker_address=task["brokers"],
        consumer_group=task["group"],
        auto_offset_reset="earliest",
        loglevel="WARNING",
    )
    source = app.topic(task["source"], value_deserializer="json")
    output = app.topic(task["output"], value_serializer="json")

    def predict(row: dict[str, Any]) -> dict[str, Any]:
        score = float(model.predict_proba(np.array([[row[column] for column in columns]]))[0, 1])
        known = {"id": row["id"], "card": row["card"], "event_time": row["ts"]}
        return known | {"prediction": score >= 0.5, "score": score}

    app.dataframe(source).apply(predict).to_topic(output)
    app.run(count=task["records"], collect=False)


if __name__ == "__main__":
    main()
