"""Days, shares and counts as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from udfs.alerts.records import WindowSpan

_DAY = timedelta(days=1)


def day(time: str, window: WindowSpan | None = None) -> str:
    """The date, and the time of day: unless it is midnight, or always beside windows shorter than a day."""
    midnight = time[11:16] in ("", "00:00")
    short = window is not None and _length(window) < _DAY
    return time[:10] if midnight and not (short and time[11:16]) else f"{time[:10]} {time[11:16]}"


def begin(window: WindowSpan) -> str:
    """When a window begins: a date where windows are days."""
    return day(window.start, window)


def _length(window: WindowSpan) -> timedelta:
    try:
        return datetime.fromisoformat(window.end) - datetime.fromisoformat(window.start)
    except (ValueError, TypeError):
        return _DAY


def percent(share: float) -> str:
    """A share in at most three digits; "<0.1%" rather than a zero that is none."""
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def chance(p: float | None) -> str:
    """A p-value with its sign, or a dash: none is zero.

    >>> chance(4e-269), chance(0.0312)
    ('< 0.0001', '= 0.031')
    """
    if p is None:
        return "–"
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def plural(count: int, word: str) -> str:
    """A count with its word, in the plural where it is not one."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")
