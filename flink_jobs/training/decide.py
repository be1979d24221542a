"""Whether drift is reason enough to train again: a pure decision on drift records (docs/training.md).

decision = decide(records, RetrainRule(bad=2, of=3), version=1, importance=profile["importance"], after=None)
decision.retrain, decision.reason
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flink_jobs.errors import InputError
from udfs.drift.records import DriftRecord

OUTPUTS = ("prediction", "score")


@dataclass(frozen=True)
class RetrainRule:
    """Train when, of the last `of` windows, `bad` have output drift or too much input drift.

    Input drift of a window is the sum of the drifted inputs' importance, which is 1 for all of them
    together; more than `input_share` is too much, 1 switches that off.
    """

    bad: int = 2
    of: int = 3
    input_share: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.bad <= self.of:
            raise InputError(f"bad must be from 1 to of, which is {self.of}; got {self.bad}")
        if not 0 < self.input_share <= 1:
            raise InputError(f"input_share must be above 0 and at most 1; got {self.input_share}")


@dataclass(frozen=True)
class JudgedWindow:
    """One window: which outputs drifted, and the importance of the inputs that did."""

    start: str
    end: str
    outputs: tuple[str, ...]
    input_share: float


@dataclass(frozen=True)
class RetrainDecision:
    """`windows`: the last that counted, oldest first; `known`: how many the newest version has seen."""

    retrain: bool
    reason: str
    windows: tuple[JudgedWindow, ...]
    known: int

    @property
    def until(self) -> str | None:
        """The end of the last window that counted."""
        return self.windows[-1].end if self.windows else None

    def record(self) -> dict[str, Any]:
        """For the manifest and for programs."""
        return {
            "reason": self.reason,
            "until": self.until,
            "windows": [asdict(each) for each in self.windows],
        }


def decide(
    records: Iterable[DriftRecord],
    rule: RetrainRule,
    *,
    version: int,
    importance: Mapping[str, float],
    after: datetime | None,
) -> RetrainDecision:
    """Decides on one model's records: those of all segments together, of `version`, with enough data.

    Windows that end at or before `after` were known to the newest version, and count no more. Of a window
    that is there twice the later record holds.
    """
    closed = {
        (record.job, record.window.start): record
        for record in records
        if record.version == version and record.segment is None and record.window.closed != "early"
    }
    require_one_job(sorted({job for job, _ in closed}))
    enough = [record for record in closed.values() if record.verdict != "insufficient_data"]
    fresh = [record for record in enough if after is None or _time(record.window.end) > after]
    fresh.sort(key=lambda record: _time(record.window.end))
    windows = tuple(_judged(record, importance) for record in fresh[-rule.of :])
    retrain, reason = _verdict(windows, rule, len(enough) - len(fresh))
    return RetrainDecision(retrain, reason, windows, len(enough) - len(fresh))


def require_one_job(jobs: Sequence[str], what: str = "drift") -> None:
    """Raises InputError for records of several."""
    if len(jobs) > 1:
        raise InputError(
            f"the {what} records must be of one job; got {', '.join(jobs)}: choose one by its name"
        )


def _judged(record: DriftRecord, importance: Mapping[str, float]) -> JudgedWindow:
    drifted = [column for column in record.columns if column.verdict == "drift"]
    outputs = tuple(column.name for column in drifted if column.role in OUTPUTS)
    share = sum(importance.get(column.name, 0.0) for column in drifted if column.role not in OUTPUTS)
    return JudgedWindow(record.window.start, record.window.end, outputs, round(share, 6))


def _verdict(windows: tuple[JudgedWindow, ...], rule: RetrainRule, known: int) -> tuple[bool, str]:
    outputs = [window for window in windows if window.outputs]
    inputs = [window for window in windows if window.input_share > rule.input_share]
    of = f"of the last {len(windows)} windows" if len(windows) != 1 else "of 1 window"
    if len(outputs) >= rule.bad:
        names = ", ".join(sorted({name for window in outputs for name in window.outputs}))
        return True, f"in {len(outputs)} {of} the output drifted ({names}); {rule.bad} are enough"
    if len(inputs) >= rule.bad:
        worst = max(window.input_share for window in inputs)
        return True, (
            f"in {len(inputs)} {of} inputs drifted that are worth more than {rule.input_share:.0%} of the "
            f"importance (up to {worst:.0%}); {rule.bad} are enough"
        )
    if not windows:
        return False, "no window to judge by" + (f"; the newest version has seen {known}" if known else "")
    return False, (
        f"in {len(outputs)} {of} the output drifted, and in {len(inputs)} too many inputs; "
        f"{rule.bad} would be needed"
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
