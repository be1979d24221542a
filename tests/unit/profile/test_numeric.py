"""Cells of numeric columns: the grid finds what a plain comparison with the edges finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.examples import examples
from udfs.profile.numeric import Cells

finite = st.floats(allow_nan=False, allow_infinity=False)
edge_lists = st.lists(st.one_of(finite, st.floats(-10, 10)), max_size=80, unique=True).map(sorted)


def plain(edges: list[float], value: float) -> int:
    """Below, the bins (the last with its upper edge), above."""
    if not edges:
        return 1
    inner = max(len(edges) - 1, 1)
    return sum(value >= edge for edge in edges[:inner]) + (value > edges[-1])


@settings(max_examples=examples(300))
@given(edge_lists, st.lists(st.one_of(finite, st.floats(-10, 10)), min_size=1, max_size=50))
def test_each_value_is_in_its_cell(edges: list[float], values: list[float]) -> None:
    around = [math.nextafter(edge, way) for edge in edges for way in (-math.inf, edge, math.inf)]
    values += [value for value in around if math.isfinite(value)]
    expected = [plain(edges, value) for value in values]
    cells = Cells(np.array(edges))
    assert cells.find(np.array(values)).tolist() == expected
    large = np.tile(values, 500)  # the grid is for large batches
    assert cells.find(large).tolist() == expected * 500


@pytest.mark.parametrize("scale", [1e-310, 1.0, 1e300])
def test_cells_of_real_quantiles(scale: float) -> None:
    random = np.random.default_rng(5)
    for sample in (
        random.normal(size=5_000),
        random.standard_t(2, size=5_000),
        random.exponential(size=5_000),
    ):
        edges = np.unique(np.quantile(sample * scale, np.linspace(0, 1, 65)))
        found = Cells(edges).find(sample * scale)
        assert found.tolist() == [plain(edges.tolist(), value) for value in (sample * scale).tolist()]
