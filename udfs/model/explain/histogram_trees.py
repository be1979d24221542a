"""Explains predictions of scikit-learn's histogram gradient boosting.

Every row that ends in a leaf came the same way, so a leaf has all contributions of its path in a table; the
library's own prediction, on trees that answer with the number of their leaf, says which.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

from udfs.model.contract import Floats
from udfs.model.explain.base import Contributions, Indices
from udfs.model.explain.paths import steps


class _Tree(NamedTuple):
    """`numbered` predicts the number of a row's leaf; `table` (leaves, d) has its contributions."""

    numbered: Any
    table: Floats
    base: float


class HistogramTrees:
    """In log-odds, or on the scale of the loss' link; the baseline and the trees' roots are the base."""

    def __init__(self, estimator: Any, sources: Indices, inputs: int) -> None:
        self._estimator, self._inputs = estimator, inputs
        self._categories = estimator._bin_mapper.make_known_categories_bitsets()
        sources = sources[_sorted_columns(estimator)]
        self._stages = [[_tree(tree, sources, inputs) for tree in row] for row in estimator._predictors]
        roots = np.sum([[tree.base for tree in row] for row in self._stages], axis=0)
        self._base = estimator._baseline_prediction.ravel() + roots

    def __call__(self, rows: Any, chosen: Indices) -> Contributions:
        matrix = self._estimator._preprocess_X(rows, reset=False)
        score = chosen if len(self._base) > 1 else np.zeros(len(chosen), dtype=np.intp)
        values = np.zeros((len(chosen), self._inputs))
        for k in np.unique(score):
            of_class = np.flatnonzero(score == k)
            values[of_class] = self._of_class(matrix[of_class], k)
        return Contributions(self._base[score], values)

    def _of_class(self, matrix: Floats, k: int) -> Floats:
        values = np.zeros((len(matrix), self._inputs))
        for stage in self._stages:
            leaf = stage[k].numbered.predict(matrix, *self._categories, 1).astype(np.intp)
            values += stage[k].table[leaf]
        return values


def _sorted_columns(estimator: Any) -> Indices:
    """The columns as the trees see them: categorical ones first, if there are any."""
    categorical = estimator.is_categorical_
    if categorical is None:
        return np.arange(estimator.n_features_in_)
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])


def _tree(tree: Any, sources: Indices, inputs: int) -> _Tree:
    nodes, itself = tree.nodes, np.arange(len(tree.nodes))
    is_leaf = nodes["is_leaf"].astype(bool)
    left = np.where(is_leaf, itself, nodes["left"])
    right = np.where(is_leaf, itself, nodes["right"])
    found = steps(left, right, sources[nodes["feature_idx"]], nodes["count"], nodes["value"][:, np.newaxis])
    along = np.zeros((len(nodes), inputs))
    for node in np.flatnonzero(~is_leaf):
        for child in (left[node], right[node]):
            along[child] = along[node]
            along[child, found.source[child]] += found.added[child, 0]
    leaves = np.flatnonzero(is_leaf)
    numbered = nodes.copy()
    numbered["value"][leaves] = np.arange(len(leaves))
    answers = TreePredictor(numbered, tree.binned_left_cat_bitsets, tree.raw_left_cat_bitsets)
    return _Tree(answers, along[leaves], float(found.values[0, 0]))
