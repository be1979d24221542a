"""What contradicts the job file's promises is refused, or is set with a reason that everybody sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.errors import JobFileError
from flink_jobs.plan import Plan, describe
from flink_jobs.plan.validate import validated_plan
from tests.helpers.samples import write_model

ACKS = {"value": "1", "unsafe": True, "reason": "one broker only"}


def planned(tmp_path: Path, **sections: Any) -> Plan:
    data = {
        "job": "a",
        "source": {"topic": "in", "schema": {"x": {"type": "double", "required": True}}},
        "model": {"name": "m", "registry": "models"},
        **sections,
    }
    if not (tmp_path / "models").exists():
        write_model(tmp_path / "models", "m", "x")
    (tmp_path / "job.yaml").write_text(json.dumps(data))
    return validated_plan(tmp_path / "job.yaml", environ={})


def test_an_override_is_in_force_and_shown_with_its_reason(tmp_path: Path) -> None:
    interval = {"value": "1 s", "unsafe": True, "reason": "a drill"}
    plan = planned(
        tmp_path,
        kafka={"overrides": {"acks": ACKS}},
        runtime={"overrides": {"execution.checkpointing.interval": interval}},
    )
    assert all("'properties.acks' = '1'" in table.ddl(reveal=True) for table in plan.tables)
    assert plan.options["execution.checkpointing.interval"] == "1 s"
    text = describe.as_text(plan)
    assert "kafka: acks" in text
    assert "because: one broker only" in text
    assert "because: a drill" in text


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"kafka": {"properties": {"acks": "1"}}},
            "a property other than acks, which comes from runtime.delivery",
        ),
        ({"kafka": {"overrides": {"acks": "1"}}}, "kafka.overrides.acks: must be"),
        (
            {"kafka": {"overrides": {"acks": {"value": "1", "unsafe": True}}}},
            "kafka.overrides.acks.reason: must be",
        ),
        (
            {"kafka": {"overrides": {"acks": ACKS | {"unsafe": False}}}},
            "kafka.overrides.acks.unsafe: must be",
        ),
        ({"kafka": {"overrides": {"acks": ACKS | {"reason": " "}}}}, "must be a reason, in a line"),
        ({"kafka": {"overrides": {"group.id": ACKS}}}, "must be one of: security.protocol, "),
        ({"kafka": {"overrides": {"transactional.id": ACKS}}}, "must be one of: security.protocol, "),
        (
            {"runtime": {"overrides": {"pipeline.name": ACKS}}},
            "must be one of: execution.checkpointing.mode, ",
        ),
    ],
)
def test_without_a_reason_a_promise_stands(tmp_path: Path, sections: dict[str, Any], expected: str) -> None:
    with pytest.raises(JobFileError) as error:
        planned(tmp_path, **sections)
    assert expected in str(error.value)
