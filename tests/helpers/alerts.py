"""Alerts as they stand in the topic, with what a test cares for."""

from __future__ import annotations

from typing import Any

from udfs.alerts.records import AlertRecord, Damage, WindowSpan


def alert(name: str, hour: int = 1, damage: Damage = "inputs", **changes: Any) -> AlertRecord:
    """Of the window that ends at the hour; the worst are critical, outputs a warning, inputs info."""
    severity = {"inputs": "info", "outputs": "warning"}.get(damage, "critical")
    values: dict[str, Any] = {
        "job": "flights",
        "id": name,
        "rule": f"{damage}-rule",
        "state": "firing",
        "severity": severity,
        "model": "delay",
        "version": 1,
        "segment": None,
        "column": None if damage in ("realized", "estimated", "release") else name,
        "statistic": "effect",
        "value": 0.2,
        "threshold": 0.02,
        "message": f"{name} moved",
        "window": WindowSpan(time(hour - 1), time(hour)),
        "since": time(hour - 1),
        "windows_bad": 1,
        "windows_seen": 1,
        "impact": 0.2,
        "rank": 1,
        "examples": (),
        "damage": damage,
    }
    return AlertRecord(**{**values, **changes})


def time(hour: int) -> str:
    return f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00.000Z"
