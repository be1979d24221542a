"""The `quality` section of a job file: how right the model is, with labels and without."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from flink_jobs.spec.diagnostics import wrong, wrong_at
from flink_jobs.spec.rollout import Labels
from flink_jobs.spec.scalars import PositiveDuration, Share, number, whole
from flink_jobs.spec.section import References, Section, Topic


class Quality(Section):
    """How right the model is in each window of its records' event time."""

    topic: Topic = Field(
        default="",
        validate_default=False,
        description="Topic to write; default: the job's name and .quality.",
    )
    window: PositiveDuration = Field(
        default="1h", validate_default=True, description="Length of the windows, in the records' event time."
    )
    labels: Labels | None = Field(
        default=None,
        description="Topic with what became true; default: that of comparisons.labels.",
    )
    revise: PositiveDuration | None = Field(
        default=None,
        description="Event time of labels after which a window is published anew; default: the window, or a "
        "24th of labels.wait if that is longer.",
    )
    segments: References = Field(
        default=(), description="Columns whose values are told apart, beside all together."
    )
    groups: References = Field(
        default=(), description="Columns whose values are compared for fairness; they may be personal data."
    )
    max_segments: Annotated[int, whole(1, 1000)] = Field(
        default=50, description="Values of a column that are told apart; the others are OTHER."
    )
    gap: Share = Field(
        default=0.1,
        description="Part of what was expected by which what came must differ to be a change, however sure.",
    )
    fall: Share = Field(
        default=0.05,
        description="Part by which AUC (of what it is above 0.5), accuracy or MAE must be worse than it was"
        " to be an alert, however sure.",
    )
    quantile: Annotated[float, number(0.001, 0.999)] | None = Field(
        default=None, description="The quantile that a regression predicts, for its pinball loss."
    )
    idle: PositiveDuration = Field(
        default="5m", validate_default=True, description="Silence, on the clock, after which windows close."
    )

    @model_validator(mode="after")
    def _check_groups(self) -> Quality:
        twice = [name for name in self.groups if name in self.segments]
        if twice:
            at = ("groups", self.groups.index(twice[0]))
            raise wrong_at({at: wrong("a column that is not among segments", repr(twice[0]))})
        return self
