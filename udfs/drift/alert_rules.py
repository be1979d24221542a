"""When an alert fires: the rules that a job gives, or Tailrace's own."""

from __future__ import annotations

from typing import Literal

import msgspec

from udfs.alerts.records import Severity
from udfs.profile.params import Role

Subject = Literal["drift", "missing", "unseen", "joint", "dead_rate", "volume"]

DEFAULT_DEAD_RATE = 0.05
DEFAULT_VOLUME_FACTOR = 3.0


class AlertRuleParams(msgspec.Struct, frozen=True):
    """Fires after `windows` = (bad, of). No `columns` or `roles` means all.

    With `segments` each segment has alerts of its own; by default there are none, since a segment is compared
    with the reference of all rows, from which it may always differ.

    From `above` on a window is bad: of the column's `statistic` (drift), the rise of the null rate (missing),
    the share of the values (unseen), the score (joint), the share of the records (dead_rate), or the factor
    to the median of the last 8 windows, up or down (volume). With `above` null the record's verdict decides,
    the column's `min_effect`, 5% dead letters, or a factor of 3.
    """

    name: str
    on: Subject
    columns: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    statistic: str = "effect"
    above: float | None = None
    severity: Severity = "warning"
    windows: tuple[int, int] = (2, 3)
    resolve_after: int = 2
    cooldown_ms: int = 0
    segments: bool = False

    def __post_init__(self) -> None:
        bad, of = self.windows
        if not 1 <= bad <= of:
            raise ValueError(f"rule {self.name}: bad windows must be 1 to {of}; got {bad}")
        if self.resolve_after < 1:
            raise ValueError(f"rule {self.name}: resolve_after must be positive; got {self.resolve_after}")


DEFAULT_RULES = (
    AlertRuleParams("output-drift", "drift", roles=("prediction", "score")),
    AlertRuleParams("input-drift", "drift", roles=("input", "feature"), severity="info"),
    AlertRuleParams("missing", "missing", above=0.05),
    AlertRuleParams("unseen", "unseen", above=0.01, severity="info"),
    AlertRuleParams("joint-drift", "joint", severity="info"),
    AlertRuleParams("dead-letters", "dead_rate", above=DEFAULT_DEAD_RATE, severity="critical"),
    AlertRuleParams("volume", "volume", above=DEFAULT_VOLUME_FACTOR),
)
