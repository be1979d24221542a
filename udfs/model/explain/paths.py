"""Computes contributions along the paths of a tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udfs.model.contract import Floats
from udfs.model.explain.base import Indices


class Steps(NamedTuple):
    """Of a tree's nodes: `values` (nodes, k), what the step to each `added` (nodes, k), to which `source`."""

    values: Floats
    added: Floats
    source: Indices


def steps(left: Indices, right: Indices, asks: Indices, weight: Floats, leaf_values: Floats) -> Steps:
    """`asks`: (nodes,) the input that a node asks; `left`, `right`: its children, which stand behind it.

    A leaf has itself as its children; of `leaf_values`, (nodes, k), only those of leaves count.
    """
    values = leaf_values.astype(np.float64)
    added, source = np.zeros_like(values), np.zeros(len(left), dtype=np.intp)
    inner = np.flatnonzero(left != np.arange(len(left)))
    total = weight[left] + weight[right]
    if not total[inner].all():
        raise ValueError("the children of a node of a tree have no weight")
    for node in inner[::-1]:
        one, other = left[node], right[node]
        values[node] = (values[one] * weight[one] + values[other] * weight[other]) / total[node]
    for children in (left[inner], right[inner]):
        added[children] = values[children] - values[inner]
        source[children] = asks[inner]
    return Steps(values, added, source)
