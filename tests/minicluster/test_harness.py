"""The job harness does what its own example says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flink_jobs import testing
from flink_jobs.testing import Broker
from tests.helpers.samples import write_model

JOB = """
job: payments
kafka: {brokers: "kafka.example:9092"}
source: {topic: payments, schema: {amount: {type: double, required: true}}}
model: {name: fraud, registry: ../models}
"""


def example() -> Callable[[Broker], None]:
    """The test function in the module's docstring."""
    code = (testing.__doc__ or "").split("\n\n", maxsplit=1)[1]
    names: dict[str, Any] = {"Path": Path}
    exec(code, names)
    function: Callable[[Broker], None] = names["test_payments"]
    return function


def test_the_example(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "models", "fraud", "amount")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "payments.yaml").write_text(JOB)
    monkeypatch.chdir(tmp_path)
    example()(broker)
