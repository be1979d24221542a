"""Gauges of quality: those of a regression, which has neither AUC nor accuracy."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import msgspec

from tests.helpers import quality_records
from udfs.flink.quality import PublishedQuality
from udfs.quality.records import Metric, QualityRecord


class Group:
    """A metric group that can be read, as a reporter does."""

    def __init__(self) -> None:
        self.gauges: dict[str, Callable[[], int]] = {}

    def add_group(self, name: str) -> Group:
        assert name == "tailrace"
        return self

    def counter(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, inc=lambda n=1: None)

    def gauge(self, name: str, value: Callable[[], int]) -> None:
        self.gauges[name] = value


def test_gauges_of_a_regression_are_of_the_newest_window_with_and_without_labels() -> None:
    """The adversary is a late revision of an earlier window: it must not take the place of a newer one."""
    group = Group()
    published = PublishedQuality(group)

    def of_hour(hour: int, mae: float, rmse: float | None) -> QualityRecord:
        estimated = {"mae": Metric(value=mae), "rmse": Metric(value=2 * mae)}
        realized = {} if rmse is None else {"mae": Metric(value=rmse / 2), "rmse": Metric(value=rmse)}
        known = quality_records.record(hour)
        return msgspec.structs.replace(known, kind="regression", estimated=estimated, realized=realized)

    published.publish([of_hour(1, 3.25, 8.5), of_hour(2, 3.5, None), of_hour(0, 9.0, 99.0)], [])
    found = {name: read() for name, read in group.gauges.items() if name.endswith(("mae", "rmse"))}
    assert found == {
        "realized_mae": 4_250_000,
        "realized_rmse": 8_500_000,
        "estimated_mae": 3_500_000,
        "estimated_rmse": 7_000_000,
    }
