"""When a partition counts as idle, in a JVM without a cluster: its clock is moved by hand.

The adversaries are a machine that is busy for as long as it likes, one that stood still, and a partition that
is silent for ever beside one that never rests.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from flink_jobs.run.idleness import patient_idleness
from flink_jobs.run.jvm import apart_gateway

IDLE_MS = 300


class Output:
    """A watermark output that notes when it is idle."""

    def __init__(self) -> None:
        self.idle = False

    def emitWatermark(self, _watermark: Any) -> None:  # noqa: N802 (Flink's name)
        self.idle = False

    def markIdle(self) -> None:  # noqa: N802 (Flink's name)
        self.idle = True

    def markActive(self) -> None:  # noqa: N802 (Flink's name)
        self.idle = False

    class Java:
        implements = ("org.apache.flink.api.common.eventtime.WatermarkOutput",)


class Reader:
    """A source instance with two partitions, `silent` and `busy`, and the gauge of its task's waiting."""

    def __init__(self) -> None:
        made, _ = patient_idleness()
        gateway = apart_gateway()
        flink = gateway.jvm.org.apache.flink
        group = flink.runtime.metrics.groups.UnregisteredMetricGroups.createUnregisteredOperatorMetricGroup()
        self.waiting = group.getTaskIOMetricGroup().getIdleTimeMsPerSecond()
        clock = flink.util.clock.SystemClock.getInstance()
        context = flink.streaming.api.operators.source.TimestampsAndWatermarksContext(group, clock)
        base = flink.api.common.eventtime.WatermarkStrategy.forMonotonousTimestamps()
        arguments = gateway.new_array(gateway.jvm.Object, 3)
        arguments[0], arguments[1], arguments[2] = base, str(IDLE_MS), "nobody"
        strategy = made.getConstructors()[0].newInstance(arguments)
        self.silent, self.busy = (strategy.createWatermarkGenerator(context) for _ in range(2))
        self.output, self.other = Output(), Output()
        self.busy.onEvent("x", 1, self.other)
        self.look()

    def look(self) -> bool:
        """Whether the silent partition is idle, by what is known now."""
        self.busy.onPeriodicEmit(self.other)
        self.silent.onPeriodicEmit(self.output)
        return self.output.idle

    def wait(self, seconds: float) -> None:
        self.waiting.markStart()
        time.sleep(seconds)
        self.waiting.markEnd()


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_a_partition_is_idle_when_its_reader_has_waited_so_long(reader: Reader) -> None:
    reader.wait(0.1)
    assert not reader.look()
    reader.wait(0.3)
    assert reader.look()
    reader.silent.onEvent("x", 2, reader.output)
    assert not reader.look()


def test_time_in_which_the_task_is_busy_does_not_count(reader: Reader) -> None:
    for _ in range(4):
        time.sleep(IDLE_MS / 1_000)
        assert not reader.look()


def test_a_machine_that_stood_still_is_no_silence(reader: Reader) -> None:
    """What is measured as one long wait may be a process that was stopped: a second of it counts."""
    reader.wait(2.5)
    quiet = _field(reader.silent, "reader")
    reader.look()
    assert _value(quiet, "quietMs") == 1_000


def test_a_partition_that_is_silent_for_ever_holds_nothing_back(reader: Reader) -> None:
    time.sleep(IDLE_MS / 1_000)
    _set(reader.busy, "records", 999_999)
    assert not reader.look()
    _set(reader.busy, "records", 1_000_001)
    assert reader.look()


def _java_field(of: Any, name: str) -> Any:
    field = of.getClass().getDeclaredField(name)
    field.setAccessible(True)
    return field


def _field(of: Any, name: str) -> Any:
    return _java_field(of, name).get(of)


def _value(of: Any, name: str) -> int:
    return int(_java_field(of, name).getLong(of))


def _set(of: Any, name: str, value: int) -> None:
    _java_field(of, name).setLong(of, value)
