"""How many examples a property is tried on: a fifth of them by default, all in the long form.

@settings(max_examples=examples(200))     # pytest --long

Examples differ from run to run: many short ones find what a long one does.
"""

from __future__ import annotations

from hypothesis import settings

LONG, SHORT, FEWEST = 100, 20, 10


def examples(count: int) -> int:
    """`count` in the long form; in the short one no fewer than ten, where each example is a long story."""
    return max(min(count, FEWEST), count * settings().max_examples // LONG)


def sized(whole: int, short: int) -> int:
    """How many rows or draws a test takes: `whole` in the long form, `short` in each run."""
    return whole if settings().max_examples == LONG else short
