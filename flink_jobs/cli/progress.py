"""The line that a running job shows: spinning at a terminal, a plain line every few seconds elsewhere.

with Progress(console, unit="records") as progress:
    running.wait(progress.show)
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Self

from rich.console import Console

RATE_SECONDS = 4.0
PLAIN_SECONDS = 5.0


class Progress:
    """Shows counts as they come, unless not `shown`; `unit` is what the model scores, records or windows."""

    def __init__(
        self,
        console: Console,
        unit: str,
        *,
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._unit = unit
        self._shown = shown
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()
        self._printed = clock()
        self._status = console.status("starting Flink", spinner_style="cyan")

    def __enter__(self) -> Self:
        if self._console.is_terminal and self._shown:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        """Shows a text now."""
        self._status.update(text)

    def show(self, counts: Counter[str]) -> None:
        """Shows the job's counters; where lines cannot change, at most every five seconds."""
        now = self._clock()
        text = self.line(counts, now)
        if self._console.is_terminal:
            self._status.update(text)
        elif self._shown and now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            self._console.print(text, markup=False)

    def line(self, counts: Counter[str], now: float) -> str:
        """The counts, and the records read per second over the last few seconds."""
        rate = self._rate(now, counts["read"])
        if not counts["read"]:
            return "nothing read yet"
        return f"read {counts['read']:,}  {summary(counts, self._unit)}  {rate:,.0f} records/s"

    def _rate(self, now: float, read: int) -> float:
        self._seen.append((now, read))
        while now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return max(0.0, (read - before) / (now - then)) if now > then else 0.0


def summary(counts: Counter[str], unit: str) -> str:
    """What became of the records; "predicted 12 windows" where windows are scored."""
    scored = f"{counts['predicted']:,}" + (" windows" if unit == "windows" else "")
    return f"predicted {scored}  late {counts['late']:,}  dead {counts['dead']:,}"
