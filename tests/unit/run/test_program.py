"""What is done before Flink is asked for anything, against a registry that is away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.run.program import Target, start, start_inside
from flink_jobs.system.processes import free_port
from tests.helpers import models

JOB = """
job: written
source: {topic: written, schema: {amount: {type: double, required: true}}}
model: {name: written, registry: models}
predictions: {format: avro, schema_registry: {url: "http://127.0.0.1:PORT"}}
"""


@pytest.mark.parametrize("inside", [False, True])
def test_predictions_in_avro_are_registered_wherever_the_job_is_submitted(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an id workers would write bytes that nobody can read."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))  # where there is no Java: it must not come to that
    inputs = pa.table({"amount": np.arange(3.0)})
    models.write(tmp_path / "models", "written", LinearRegression(), inputs, [0.0, 1.0, 2.0], "regression")
    text = JOB.replace("PORT", str(free_port()))
    plan = make_plan(load_job_text(text, "job.yaml", tmp_path, {}))
    with pytest.raises(WorkError, match=r"predictions: written\.predictions-value: "):
        start_inside(plan) if inside else start(plan, Target())
