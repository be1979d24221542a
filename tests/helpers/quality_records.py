"""Records of quality, as they stand in the topic."""

from __future__ import annotations

from udfs.alerts.records import Segment, WindowSpan
from udfs.quality.records import Disparity, Gap, GroupsReport, LabelState, Metric, QualityRecord


def record(
    hour: int,
    *,
    changed: bool = False,
    worse: bool = True,
    labels: int = 500,
    segment: str | None = None,
    version: int = 1,
    job: str = "flights",
) -> QualityRecord:
    """Of an hour of 1,000 records; AUC .9, or .81 where labels changed what they mean."""
    auc = 0.81 if changed else 0.9
    measure = Disparity(
        "selection_rate",
        Metric(value=0.2, low=0.1, high=0.3),
        Metric(value=0.5, low=0.4, high=0.7),
        "old",
        "young",
    )
    came = (0.6 if worse else 0.3) if changed else 0.41
    return QualityRecord(
        job=job,
        model="delay",
        version=version,
        kind="binary",
        window=WindowSpan(f"2026-01-01T{hour:02}:00:00.000Z", f"2026-01-01T{hour + 1:02}:00:00.000Z"),
        segment=Segment("origin", segment) if segment else None,
        revision=1,
        final=hour < 2,
        records=1_000,
        labels=LabelState(
            n=labels,
            rejected=0,
            coverage=labels / 1_000,
            delay_p50_ms=3_600_000.0,
            delay_p90_ms=7_200_000.0,
            until=f"2026-01-01T{hour + 2:02}:00:00.000Z",
        ),
        estimated={"auc": Metric(value=0.89, low=0.87, high=0.91, binned=0.001)},
        realized={
            "auc": Metric(value=auc, low=auc - 0.02, high=auc + 0.02, binned=0.001),
            "log_loss": Metric(value=came, low=came - 0.02, high=came + 0.02),
        },
        gap=Gap("log_loss", 0.4, came, 0.02, (came - 0.4) / 0.02, came / 0.4 - 1, changed, worse),
        groups=(GroupsReport("age", (), (measure,)),) if segment is None else (),
    )
