"""Describes a column's change to people, as a sentence and as a few bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from udfs.drift.records import Bins
from udfs.drift.statistics import Floats, shares
from udfs.profile.counts import CategoricalCounts, ColumnCounts, Ints, NumericCounts, cells, rows
from udfs.profile.reference import CategoricalReference, ColumnReference

NO_CHANGE = "no change that matters"
TOO_FEW = "too few rows to tell"
# Beside them: below and above, or other and unseen.
_SHOWN = 10
_LONGEST = 60
_LEAST = 0.01
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Display:
    """Display bin i holds the cells from `starts[i]` to before the next one."""

    labels: tuple[str, ...]
    starts: Ints

    def bins(self, reference: Floats, current: Floats) -> Bins:
        """`reference` and `current` are shares of the cells."""
        first, second = np.add.reduceat(np.stack([reference, current]), self.starts, axis=1).tolist()
        return Bins(self.labels, tuple(first), tuple(second))


def display(reference: ColumnReference) -> Display:
    """At most 12 bins: groups of neighbouring bins, or the most frequent values."""
    if isinstance(reference, CategoricalReference):
        shown = min(len(reference.values), _SHOWN)
        labels = (*(_short(value) for value in reference.values[:shown]), "other", "unseen")
        return Display(labels, np.array([*range(shown), shown, len(reference.values) + 1]))
    bins = len(reference.counts)
    if not bins:
        return Display(("any value",), np.array([0]))
    groups = min(bins, _SHOWN)
    firsts = np.arange(groups) * bins // groups
    # The last bin may be that of a single value.
    last = reference.edges[-1]
    if bins > 1 and last == np.nextafter(reference.edges[-2], np.inf):
        last = reference.edges[-2]
    cuts = [reference.edges[i] for i in firsts.tolist()] + [last]
    texts = _numbers(cuts)
    inner = [f"{a} to {b}" if a != b else a for a, b in pairwise(texts)]
    return Display(
        (f"below {texts[0]}", *inner, f"above {texts[-1]}"), np.array([0, *(firsts + 1), bins + 1])
    )


def direction(name: str, reference: ColumnReference, before: ColumnCounts, counts: ColumnCounts) -> str:
    """How the values moved, in a sentence; `before` are the reference's counts."""
    if isinstance(before, NumericCounts) and isinstance(counts, NumericCounts):
        return _numeric(name, before, counts)
    assert isinstance(reference, CategoricalReference)
    assert isinstance(before, CategoricalCounts)
    assert isinstance(counts, CategoricalCounts)
    return _categorical(reference, before, counts)


def cell_direction(reference: ColumnReference, cell: int, before: ColumnCounts, counts: ColumnCounts) -> str:
    """How the share of one cell changed, where that of all others hardly did."""
    old, new = (float(shares(cells(side))[cell]) for side in (before, counts))
    return _rose(_cell_name(reference, cell), old, new)


def _cell_name(reference: ColumnReference, cell: int) -> str:
    if isinstance(reference, CategoricalReference):
        names = [*reference.values, "rare values", "values that the reference lacks"]
        return _short(names[cell])
    bins = len(reference.counts)
    if not bins:
        return "any value"
    texts = _numbers(reference.edges)
    if cell in (0, bins + 1):
        return f"values below {texts[0]}" if cell == 0 else f"values above {texts[-1]}"
    ends = texts[cell - 1], texts[min(cell, len(texts) - 1)]
    last = reference.edges[min(cell, len(texts) - 1)]
    # The bin of a single value ends just above it.
    alone = last <= np.nextafter(reference.edges[cell - 1], np.inf)
    return f"values of {ends[0]}" if alone else f"values from {ends[0]} to {ends[1]}"


def missing_direction(before: ColumnCounts, counts: ColumnCounts) -> str:
    """How the share of nulls, or of invalid values, changed: the larger of the two."""
    named = {"null": "nulls", "invalid": "invalid values (NaN or infinite)"}
    changes = [(what, *_rates(before, counts, kind)) for kind, what in named.items()]
    return _rose(*max(changes, key=lambda change: abs(change[2] - change[1])))


def _rates(before: ColumnCounts, counts: ColumnCounts, kind: str) -> tuple[float, float]:
    old, new = (getattr(side, kind, 0) / max(rows(side), 1) for side in (before, counts))
    return old, new


def _numeric(name: str, before: NumericCounts, counts: NumericCounts) -> str:
    """Looks at the shares beyond the reference's 10th and 90th percentile, which were 10% each."""
    old, new = (np.concatenate([[0.0], np.cumsum(shares(side.counts))]) for side in (before, counts))
    low, high = float(np.interp(0.1, old, new)), max(0.0, 1 - float(np.interp(0.9, old, new)))
    rise = float((old - new).max()) - float((new - old).max())
    beyond = f"{_percent(high)} of rows now above the reference's 90th percentile"
    under = f"{_percent(low)} of rows now below the reference's 10th percentile"
    if min(low, high) > 0.1 + _LEAST and abs(rise) < 0.5 * float(np.abs(old - new).max()):
        return f"{name} spread out; {under}, {beyond}"
    if max(low, high) < 0.1 - _LEAST and abs(rise) < 0.5 * float(np.abs(old - new).max()):
        return f"{name} narrowed; {under}, {beyond}"
    if rise > 0:
        return f"{name} moved up; {beyond if high > 0.1 + _LEAST else _only(under)}"
    return f"{name} moved down; {under if low > 0.1 + _LEAST else _only(beyond)}"


def _only(text: str) -> str:
    """Of the side that the values left: it had 10%."""
    return f"only {text.replace(' now ', ' still ')}"


def _categorical(
    reference: CategoricalReference, before: CategoricalCounts, counts: CategoricalCounts
) -> str:
    old, new = shares(cells(before)), shares(cells(counts))
    index = int(np.argmax(np.abs(new - old)))
    if index == len(reference.values) + 1:
        examples = f", such as {_short(counts.examples[0])}" if counts.examples else ""
        return f"{_percent(float(new[index]))} of rows now have values that the reference lacks{examples}"
    names = [*reference.values, "rare values"]
    return _rose(_short(names[index]), float(old[index]), float(new[index]))


def _rose(what: str, old: float, new: float) -> str:
    verb = "rose" if new > old else "fell"
    for digits in range(4):
        texts = [f"{100 * share:.{digits}f}%" for share in (old, new)]
        if texts[0] != texts[1]:
            break
    return f"{what} {verb} from {texts[0]} to {texts[1]}"


def _percent(share: float) -> str:
    # Below, what is left of a difference of two shares is rounding.
    known = share if share > _ROUNDING else 0.0
    return f"{100 * known:.0f}%" if known >= 0.01 or not known else f"{100 * known:.1g}%"


def _numbers(values: Sequence[float]) -> list[str]:
    """As few digits as tell the values apart, at least three."""
    for digits in range(3, 18):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
