"""The `lifecycle` section of a job file: when to train again, and what a new version must go through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.paths import AbsolutePath
from flink_jobs.spec.scalars import Parsed, PositiveDuration, Share, number, whole
from flink_jobs.spec.section import Reference, Section
from udfs.quality.records import QualityMetric
from udfs.times import parse_time

Windows = Annotated[int, whole(1, 1000)]


def _parse_moment(value: object) -> str:
    try:
        if isinstance(value, str):
            parse_time(value)
            return value
    except ValueError:
        pass
    raise wrong('a time such as "2026-12-20T00:00Z", in quotes', repr(value))


Moment = Annotated[str, Parsed(_parse_moment, {"type": "string"})]


class OnDrift(Section):
    """How much drift is reason enough; as the options of `tailrace retrain`."""

    bad: Windows = Field(default=2, description="So many windows must have drifted …")
    of: Windows = Field(default=3, description="… of the last so many.")
    input_share: Share = Field(
        default=0.5, description="Inputs of more than this share of the importance must have drifted."
    )

    @model_validator(mode="after")
    def _check(self) -> OnDrift:
        if self.bad > self.of:
            raise wrong_at({("bad",): wrong(f"at most of, which is {self.of}", str(self.bad))})
        if not self.input_share:
            raise wrong_at({("input_share",): wrong("a share above 0", str(self.input_share))})
        return self


class OnQuality(Section):
    """How bad quality is reason enough; as the options of `tailrace retrain`."""

    metric: QualityMetric = Field(default="log_loss", description="Metric of the quality records.")
    source: Literal["realized", "estimated"] = Field(
        default="realized", description="By labels, or the estimate without them."
    )
    reference: Annotated[float, number(-1e12, 1e12)] | None = Field(
        default=None,
        description="A window is worse if its whole interval is, than this; default: the champion's test.",
    )
    margin: Annotated[float, number(0, 1e12)] = Field(default=0.0, description="… and by more than this.")
    bad: Windows = Field(default=2, description="So many windows must be worse …")
    of: Windows = Field(default=3, description="… of the last so many.")
    coverage: Share = Field(
        default=0.95, description="Part of a window's labels that must have come, unless no more can."
    )

    @model_validator(mode="after")
    def _check(self) -> OnQuality:
        if self.bad > self.of:
            raise wrong_at({("bad",): wrong(f"at most of, which is {self.of}", str(self.bad))})
        if not self.coverage:
            raise wrong_at({("coverage",): wrong("a share above 0", str(self.coverage))})
        return self


class TrainAgain(Section):
    """When to train again, and how much of it at most."""

    model_dir: AbsolutePath | None = Field(
        default=None,
        description="Folder with train.py, relative to the job file; default: the model's in model.registry.",
    )
    drift: OnDrift | None = Field(default=None, description="Train when the champion's drift is enough.")
    quality: OnQuality | None = Field(
        default=None, description="Train when the champion's quality is bad enough."
    )
    trials: Annotated[int, whole(1, 10_000)] | None = Field(
        default=None, description="Trials of a search; left out: train.py's own parameters."
    )
    per_week: Annotated[int, whole(1, 1000)] = Field(
        default=1, description="Trainings that begin in any 7 days, at most."
    )
    budget: PositiveDuration = Field(
        default="2h",
        validate_default=True,
        description="Time that trainings take in any 7 days, at most; one that takes longer is given up.",
    )

    @model_validator(mode="after")
    def _check(self) -> TrainAgain:
        if self.drift is None and self.quality is None:
            raise wrong("drift, quality or both, even if {}", "neither")
        return self


class ShadowStage(Section):
    """What a version must do as a shadow before it may go on."""

    windows: Windows = Field(default=3, description="Windows of comparisons in which it must have scored.")
    at_most: PositiveDuration = Field(
        default="14d",
        validate_default=True,
        description="Event time after which a version that has not passed is dropped.",
    )


class CanaryStage(Section):
    """What a version must do as a canary before it may go on."""

    share: Share = Field(default=0.1, description="Share of the keys.")
    key: Reference = Field(description="Column whose values are divided.")
    windows: Windows = Field(default=3, description="Windows of comparisons in which it must have scored.")
    at_most: PositiveDuration = Field(
        default="14d",
        validate_default=True,
        description="Event time after which a version that has not passed is dropped.",
    )

    @model_validator(mode="after")
    def _check(self) -> CanaryStage:
        if not self.share:
            raise wrong_at({("share",): wrong("a share above 0", str(self.share))})
        return self


class Freeze(Section):
    """A time in which nothing new begins."""

    start: Moment = Field(description="When it begins, on the clock.")
    end: Moment = Field(description="When it ends.")

    @model_validator(mode="after")
    def _check(self) -> Freeze:
        if parse_time(self.start) >= parse_time(self.end):
            raise wrong_at({("end",): wrong(f"after start, which is {self.start}", repr(self.end))})
        return self


class Lifecycle(Section):
    """What `tailrace lifecycle` does by itself; the gate is that of `comparisons`."""

    train: TrainAgain = Field(description="When to train again.")
    shadow: ShadowStage = Field(
        default_factory=ShadowStage, description="A new version first scores beside the champion."
    )
    canary: CanaryStage | None = Field(
        default=None,
        description="Then it scores a share of the keys; left out: it is champion after the shadow.",
    )
    freeze: Annotated[tuple[Freeze, ...], Field(strict=False)] = Field(
        default=(), description="Times in which nothing is trained or released; versions are still dropped."
    )
