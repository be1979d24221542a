"""How sure the gate became of a version, window after window: rows for a terminal and a page.

steps = running_steps(records)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from udfs.rollout.records import ComparisonRecord, GateReport, RunningLoss

MEASURES = {"log_loss": "log loss", "rmse": "RMSE"}


@dataclass(frozen=True)
class Step:
    """What the gate knew of the loss at the end of a window."""

    end: str
    gate: GateReport
    quality: RunningLoss


def running_steps(records: Sequence[ComparisonRecord]) -> list[Step]:
    """Of the version that the gate judged last, since it began beside its champion."""
    last = next((record.gate for record in reversed(records) if record.gate), None)
    if last is None:
        return []
    found: list[Step] = []
    for record in records:
        gate = record.gate
        if gate is None or gate.quality is None:
            continue
        if (gate.version, gate.role, gate.champion) != (last.version, last.role, last.champion):
            continue
        if found and gate.windows <= found[-1].gate.windows:
            found = []  # It began anew.
        found.append(Step(record.window.end, gate, gate.quality))
    return found


def running_table(steps: Sequence[Step], rows: int) -> Table:
    """At most so many rows, the last of them the newest. Fits 80 columns."""
    measure = MEASURES[steps[-1].quality.measure]
    table = Table(box=None, pad_edge=False)
    for column in ("until", "labels", measure, "champion", "worse", "from", "to", "allowed", "gate"):
        justify = "left" if column in ("until", "gate") else "right"
        table.add_column(column, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    for step in thinned(steps, rows):
        found = step.quality
        table.add_row(
            step.end[5:16].replace("T", " "),
            f"{found.n:,}",
            f"{found.loss:.4g}",
            f"{found.champion_loss:.4g}",
            *(signed(value) for value in (found.part, found.low, found.high, step.gate.allowed)),
            step.gate.outcome,
        )
    return table


def thinned(steps: Sequence[Step], rows: int) -> list[Step]:
    """So many of them, evenly, with the first and the last."""
    if len(steps) <= rows:
        return list(steps)
    if rows == 1:
        return [steps[-1]]
    return [steps[round(i * (len(steps) - 1) / (rows - 1))] for i in range(rows)]


def signed(part: float | None) -> str:
    """A part of the champion's loss, or a dash where there is no bound."""
    if part is None or part > 10:
        return "–"
    return f"{part:+.1%}"
