"""Days, shares and counts as people read them."""

from __future__ import annotations


def day(time: str) -> str:
    """The date, and the time of day unless it is midnight."""
    return time[:10] if time[11:16] in ("", "00:00") else f"{time[:10]} {time[11:16]}"


def percent(share: float) -> str:
    """A share in at most three digits; "<0.1%" rather than a zero that is none."""
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.0%}" if share >= 0.0995 else f"{share:.1%}"


def plural(count: int, word: str) -> str:
    """A count with its word, in the plural where it is not one."""
    return f"{count:,} {word}" + ("" if count == 1 else "s")
