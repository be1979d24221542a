"""Pictures as SVG: axes, lines and text that is safe in a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import groupby

from flink_jobs.system.terminal import plain

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 560, 150, 64, 8, 20

Values = Sequence[float | None]


def text(value: str) -> str:
    """Safe in HTML, inside elements and quoted attributes; invisible characters are shown escaped."""
    return escape(plain(value))


def number(value: float | None) -> str:
    """A number in at most four digits, or a dash."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 and float(value).is_integer() else f"{value:.4g}"


class Frame:
    """Places n windows and values from `bottom` to `top` on the picture."""

    def __init__(self, count: int, bottom: float, top: float) -> None:
        self.bottom, self.top = (bottom, top) if top > bottom else (bottom - 0.5, top + 0.5)
        self.step = (WIDTH - LEFT - 10) / max(1, count - 1)

    def x(self, place: int) -> float:
        return LEFT + place * self.step

    def y(self, value: float) -> float:
        # Halved first: the difference of two large values may not be a finite number.
        span = self.top / 2 - self.bottom / 2
        return HEIGHT - BOTTOM - (value / 2 - self.bottom / 2) / span * (HEIGHT - BOTTOM - TOP)

    def path(self, values: Values, name: str) -> str:
        """One line per run of windows that have a value."""
        runs = groupby(enumerate(values), key=lambda pair: pair[1] is not None)
        return "".join(self._run(list(run), name) for present, run in runs if present)

    def _run(self, run: Iterable[tuple[int, float | None]], name: str) -> str:
        points = [f"{self.x(place):.1f},{self.y(value):.1f}" for place, value in run if value is not None]
        # A line of one point has no length; round caps make it a dot.
        return f'<polyline class="{name}" points="{" ".join(points if len(points) > 1 else points * 2)}"/>'

    def dot(self, place: int, value: float) -> str:
        return f'<circle cx="{self.x(place):.1f}" cy="{self.y(value):.1f}" r="3"/>'

    def level(self, value: float, name: str = "limit") -> str:
        y = f"{self.y(value):.1f}"
        return f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y}" y2="{y}"/>'

    def axes(self, first: str, last: str, label: Callable[[float], str]) -> str:
        """The least and greatest value at the side, the texts `first` and `last` below."""
        ends = "".join(
            f'<text x="{LEFT - 5}" y="{self.y(value) + 4:.1f}" class="end">{escape(label(value))}</text>'
            f"{self.level(value, 'axis')}"
            for value in (self.bottom, self.top)
        )
        ends += f'<text x="{LEFT}" y="{HEIGHT - 4}">{text(first)}</text>'
        if first != last:
            ends += f'<text x="{WIDTH - 10}" y="{HEIGHT - 4}" class="end">{text(last)}</text>'
        return ends


def svg(width: float, height: float, body: str, name: str, label: str) -> str:
    """A picture of this size in pixels; `label` is what a screen reader says."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    return f'<svg {size} class="{name}" role="img" aria-label="{label}">{body}</svg>'
