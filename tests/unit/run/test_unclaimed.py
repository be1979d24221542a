"""Which start of a JobManager is that of a second job, and which is its own, or an agreed successor's."""

from __future__ import annotations

import pytest

from flink_jobs.kubernetes import render
from flink_jobs.run import application
from flink_jobs.run.unclaimed import WhyNot, why_not
from tests.helpers.kubernetes import deployment


@pytest.mark.parametrize(
    ("case", "recovered", "hand_over", "exactly_once", "runs", "expected"),
    [
        ("the first start, or an upgrade: the old one has ended", False, False, True, False, None),
        ("a second cluster beside one that runs", False, False, True, True, "runs"),
        ("the same, without transactions to end", False, False, False, True, "runs"),
        ("its own job, which a lost JobManager left", True, False, True, True, None),
        ("green beside blue", False, True, False, True, None),
        ("green beside blue, which has transactions", False, True, True, True, "transactions"),
        ("green beside blue, before anything runs", False, True, True, False, "transactions"),
        ("green, whose JobManager was lost", True, True, False, True, None),
    ],
)
def test_a_second_job_is_refused_and_no_restart_is(
    case: str, recovered: bool, hand_over: bool, exactly_once: bool, runs: bool, expected: WhyNot | None
) -> None:
    found = why_not(recovered=recovered, hand_over=hand_over, exactly_once=exactly_once, runs=lambda: runs)
    assert found == expected, case


@pytest.mark.parametrize("recovered", [True, False])
def test_who_need_not_ask_does_not_wait(recovered: bool) -> None:
    def asked() -> bool:
        pytest.fail("it takes two checkpoints")

    assert why_not(recovered=recovered, hand_over=not recovered, exactly_once=False, runs=asked) is None


def test_only_blue_and_green_are_told_of_each_other() -> None:
    for mode, told in (("application", False), ("blue_green", True)):
        flink = next(each for each in render(deployment(mode=mode)) if each["kind"].startswith("Flink"))
        spec = flink["spec"]["template"]["spec"] if mode == "blue_green" else flink["spec"]
        assert (spec["job"]["args"][-1] == application.HAND_OVER) is told
