"""What is done before Flink is asked for anything, against a registry that is away; and a mute Flink."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from flink_jobs.errors import WorkError
from flink_jobs.jobfile import load_job_text
from flink_jobs.plan import make_plan
from flink_jobs.run.program import Target, _within, start, start_inside
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


def test_a_cluster_that_never_answers_holds_nobody_up() -> None:
    """The adversary is a JobManager that took the connection and stands still; Flink's client waits on."""
    answered = Event()
    with pytest.raises(WorkError, match=r"not said within 0 s whether it took the job"):
        _within(0.05, answered.wait)
    answered.set()


@pytest.mark.parametrize("error", [ValueError("no"), FutureTimeoutError("theirs"), KeyboardInterrupt()])
def test_what_the_cluster_says_is_what_comes_back(error: BaseException) -> None:
    def refuse() -> None:
        raise error

    assert _within(60, lambda: 7) == 7
    with pytest.raises(type(error)) as raised:
        _within(60, refuse)
    assert raised.value is error
