"""What a loop is worth: July to December, labels as they land, beside training never, weekly and each night.

    scripts/demo --loop             # or: python -m flink_jobs.demo --loop

The model of June is kept (never), trained anew each Monday (weekly) or each night (always), or as a policy
has it (loop): when quality is reason enough, by way of a shadow, and no worse than the champion. All fit the
same small model on every eighth flight that has landed. No broker and no Flink: `tests/kafka/test_loop.py`
has a loop on a running job.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from sklearn.metrics import log_loss, roc_auc_score

from flink_jobs.demo.common import step
from flink_jobs.demo.loop_life import Happened, Life
from flink_jobs.demo.loop_year import END, START, Floats, Year, every, fit, year

Tell = Callable[[Happened], None]
_SAID = {
    "train": "a training begins",
    "fit": "version {version} is trained",
    "give_up": "the training is given up",
    "shadow": "version {version} scores as a shadow",
    "promote": "version {version} is champion",
    "drop": "version {version} is dropped",
}


def run(console: Console) -> bool:
    """Prints each step of the loop with its reason, and the table; True if a version became champion."""
    with step("Flights of the year") as note:
        data = year()
        note(f"{len(data.between(START, END)):,} from July on; labels come as they land")
    found = measure(data, lambda happened: console.print(said(happened), markup=False))
    console.print()
    console.print(table(found), markup=False)
    loop = next(row for row in found["rows"] if row["strategy"] == "loop")
    promoted, dropped = loop["promoted"], loop["dropped"]
    console.print(
        f"\nOf {loop['trainings']} trainings of the loop {promoted} became champion, {dropped} were dropped."
    )
    return bool(promoted)


def said(happened: Happened) -> str:
    """A step in a line: when, what, why."""
    what = _SAID[happened.step].format(version=happened.version)
    return f"  {happened.day}  {what}: {happened.reason}"


def measure(data: Year, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Each strategy on the same flights; seconds are of this machine."""
    rows = data.between(START, END)
    judged = data.known[rows]
    truth = data.late[rows][judged]
    found: list[dict[str, Any]] = []

    def add(name: str, scores: Floats, trainings: int, since: float, **more: Any) -> None:
        said = scores[judged]
        found.append(
            {
                "strategy": name, "auc": float(roc_auc_score(truth, said)),
                "log_loss": float(log_loss(truth, said)), "trainings": trainings,
                "seconds": round(time.monotonic() - since, 1), **more,
            }
        )  # fmt: skip

    with step("Never: the model of June") as note:
        since = time.monotonic()
        add("never", fit(data, START).scores(data, rows), 0, since)
        note(_short(found[-1]))
    with step("Loop") as note, tempfile.TemporaryDirectory() as folder:
        since = time.monotonic()
        life = Life(data, Path(folder), tell)
        scores = life.live()
        kinds = [happened.step for happened in life.steps]
        add(
            "loop", scores, kinds.count("fit"), since,
            promoted=kinds.count("promote"), dropped=kinds.count("drop"),
            steps=[(each.day, each.step, each.reason) for each in life.steps],
        )  # fmt: skip
        note(_short(found[-1]))
    for name, days in (("weekly", 7), ("always", 1)):
        with step(f"{name.title()}: trained anew each {'Monday' if days == 7 else 'night'}") as note:
            since = time.monotonic()
            add(name, *every(data, days), since)
            note(_short(found[-1]))
    return {"flights": len(rows), "labelled": int(judged.sum()), "rows": found}


def _short(row: dict[str, Any]) -> str:
    return f"AUC {row['auc']:.4f}, {row['trainings']} trainings"


def table(found: dict[str, Any]) -> str:
    """As docs/lifecycle.md has it."""
    lines = ["| trained | AUC | log loss | trainings |", "|---|---|---|---|"]
    lines += [
        f"| {row['strategy']} | {row['auc']:.4f} | {row['log_loss']:.4f} | {row['trainings']} |"
        for row in found["rows"]
    ]
    return "\n".join(lines)
