"""Drift records of windows that are numbered, and reports of their columns, with what a test cares for."""

from __future__ import annotations

from typing import Any

from udfs.alerts.records import WindowSpan
from udfs.drift.records import Bins, ColumnReport, DriftRecord, Verdict, Volume


def report(name: str = "x", verdict: Verdict = "ok", **changes: Any) -> ColumnReport:
    values: dict[str, Any] = {
        "name": name,
        "role": "input",
        "kind": "categorical",
        "n": 1_000,
        "verdict": verdict,
        "p": 0.5,
        "q": 0.5,
        "effect": 0.2,
        "min_effect": 0.02,
        "visible_effect": 0.05,
        "direction": "UA rose from 12% to 19%",
        "null_rate": 0.0,
        "reference_null_rate": 0.0,
        "invalid": 0,
        "below": 0,
        "above": 0,
        "other": 0,
        "unseen": 0,
        "unseen_examples": (),
        "mean": None,
        "reference_mean": None,
        "std": None,
        "reference_std": None,
        "quantiles": {},
        "reference_quantiles": {},
        "statistics": {},
        "bins": Bins(("UA", "DL", "AA"), (0.12, 0.5, 0.38), (0.19, 0.5, 0.31)),
    }
    return ColumnReport(**{**values, **changes})


def record(i: int, *columns: ColumnReport, **changes: Any) -> DriftRecord:
    values: dict[str, Any] = {
        "job": "j",
        "model": "m",
        "version": 1,
        "window": WindowSpan(f"w{i:03}", f"w{i + 1:03}"),
        "segment": None,
        "records": Volume(1_000),
        "problems": (),
        "freshness_ms": None,
        "level": 0.01,
        "verdict": "ok",
        "drifted": (),
        "columns": columns,
        "joint": None,
    }
    return DriftRecord(**{**values, **changes})
