"""The picture of docs/benchmarks.md: bars of speed and CPU time, light or dark as the reader's screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from flink_jobs.reports.svg import text
from tests.bench.rounds import Measures

_WIDTH, _NAMES, _BAR, _GAP, _TOP = 860, 140, 16, 10, 66
_PANEL = (_WIDTH - _NAMES - 30) / 2
_STYLE = """
svg{color-scheme:light dark}
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1b1f24}
.page{fill:#fff;stroke:#d5dae0}.title{font-weight:600;font-size:13px}.dim{fill:#59636e}.end{text-anchor:end}
.number{fill:#59636e;stroke:#fff;stroke-width:4px;paint-order:stroke}
.ours{fill:#0a62c9}.others{fill:#8c959f}.span{stroke:#1b1f24;stroke-width:1.5}
.base{stroke:#59636e;stroke-dasharray:4 3}
@media(prefers-color-scheme:dark){text{fill:#e6eaef}.page{fill:#0f1318;stroke:#333b44}.dim{fill:#98a2ad}
.number{fill:#98a2ad;stroke:#0f1318}.ours{fill:#5aa7ff}.others{fill:#6f7983}.span{stroke:#e6eaef}.base{stroke:#98a2ad}}
"""
_CUT = 3.0
OURS = ("stateless", "watched", "windowed", "skewed", "backlog")


def picture(measured: Mapping[str, Measures], caption: str) -> str:
    """Records a second and CPU seconds of each contender; a line from the least to the greatest round."""
    height = _TOP + len(measured) * (_BAR + _GAP) + 12
    rows = [
        f'<text x="{_NAMES - 8}" y="{_y(place) + 12}" class="end">{text(name)}</text>'
        for place, name in enumerate(measured)
    ]
    body = (
        f"<style>{_STYLE}</style>"
        f'<rect class="page" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>'
        f'<text x="16" y="22" class="dim">{text(caption)}</text>'
        f"{''.join(rows)}"
        f"{_panel(measured, 'records_per_s', _NAMES, 'records a second', _thousands)}"
        f"{_panel(measured, 'cpu_s_per_million', _NAMES + _PANEL + 20, 'CPU seconds per million', _seconds)}"
    )
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
    return f'<svg {head} role="img" aria-label="{text(caption)}">{body}</svg>\n'


def _panel(
    measured: Mapping[str, Measures], measure: str, left: float, title: str, label: Callable[[float], str]
) -> str:
    room = _PANEL - 70
    most = _most(measured, measure)
    scale = room / most
    title = f'<text x="{left:.0f}" y="48" class="title">{text(title)}</text>'
    bars, numbers = [], []
    for place, (name, spreads) in enumerate(measured.items()):
        spread, y = spreads[measure], _y(place)
        middle = y + _BAR / 2
        cut = "» " if spread["median"] > most else ""
        kind = "ours" if name.startswith(OURS) else "others"
        ends = [left + min(spread[end], most) * scale for end in ("min", "median", "max")]
        bars.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{ends[1] - left:.1f}" height="{_BAR}"/>'
            f'<line class="span" x1="{ends[0]:.1f}" x2="{ends[2]:.1f}" y1="{middle}" y2="{middle}"/>'
        )
        words = f"{cut}{label(spread['median'])}"
        numbers.append(f'<text x="{ends[2] + 6:.1f}" y="{y + 12}" class="number">{words}</text>')
    return "".join([title, *bars, _base(measured, measure, left, scale), *numbers])


def _most(measured: Mapping[str, Measures], measure: str) -> float:
    """Where the scale ends: a bar many times as long as all others would leave nothing to see of them."""
    ordered = sorted(spreads[measure]["max"] for spreads in measured.values())
    upper = ordered[len(ordered) // 2 :]
    return next((low for low, high in pairwise(upper) if high > _CUT * low), ordered[-1])


def _base(measured: Mapping[str, Measures], measure: str, left: float, scale: float) -> str:
    """Where the hand-written loop is."""
    if "bare" not in measured:
        return ""
    x = left + measured["bare"][measure]["median"] * scale
    return f'<line class="base" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{_y(len(measured)) - 4}"/>'


def _y(place: int) -> int:
    return _TOP + place * (_BAR + _GAP)


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f}"
