"""Days, shares and counts as people read them."""

from __future__ import annotations

from rich.markup import escape


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


def plain(text: str) -> str:
    r"""The text with control and other invisible characters escaped, for a terminal or a page.

    >>> plain("\x1b[2Jcurrency\u202e")
    '\\x1b[2Jcurrency\\u202e'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def terminal_text(text: str) -> str:
    r"""Somebody else's text for a place where rich reads markup: shown as it is, and harmless.

    >>> terminal_text("[red]late\x9b")
    '\\[red]late\\x9b'
    """
    return escape(plain(text))
