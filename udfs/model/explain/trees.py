"""Computes contributions along the path through each of scikit-learn's trees (Saabas, 2014).

A node's value is the mean of its leaves', weighted by the training rows that reached them. Each step of a row
from a node to its child adds the difference of their values to the input that the node asks; all steps add up
from the root's value, the base, to the leaf's.

Saabas: http://blog.datadive.net/interpreting-random-forests/, the method of the package treeinterpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from udfs.model.contract import Floats
from udfs.model.explain.base import Contributions, Indices, ModelExplainer
from udfs.model.explain.histogram_trees import HistogramTrees
from udfs.model.explain.paths import steps

_HISTOGRAMS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_GRADIENTS = (GradientBoostingClassifier, GradientBoostingRegressor)
_FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
_TREES = (DecisionTreeClassifier, DecisionTreeRegressor)


def build(estimator: Any, sources: Indices, inputs: int) -> ModelExplainer | None:
    """The explainer of a fitted tree or ensemble of trees; None when it is neither.

    `sources`: (m,) which input each of the estimator's m columns comes from.
    """
    if isinstance(estimator, _HISTOGRAMS):
        return HistogramTrees(estimator, sources, inputs)
    if isinstance(estimator, _GRADIENTS):
        return _Boosted(estimator, sources, inputs)
    if isinstance(estimator, (*_FORESTS, *_TREES)):
        return _Forest(getattr(estimator, "estimators_", [estimator]), sources, inputs)
    return None


class _Paths:
    """Contributions of one of scikit-learn's own trees."""

    def __init__(self, tree: Any, sources: Indices, inputs: int) -> None:
        self._tree, self._inputs = tree, inputs
        itself = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        found = steps(
            np.where(leaf, itself, tree.children_left),
            np.where(leaf, itself, tree.children_right),
            sources[np.where(leaf, 0, tree.feature)],
            tree.weighted_n_node_samples,
            tree.value[:, 0, :],
        )
        self.base, self._added, self._source = found.values[0], found.added, found.source

    def __call__(self, rows: npt.NDArray[np.float32], chosen: Indices) -> Floats:
        """(n, d); `chosen`: (n,) which of the tree's k values."""
        path = self._tree.decision_path(rows)
        row = np.repeat(np.arange(len(rows)), np.diff(path.indptr))
        cells = row * self._inputs + self._source[path.indices]
        weights = self._added[path.indices, chosen[row]]
        total = np.bincount(cells, weights, minlength=len(rows) * self._inputs).astype(np.float64, copy=False)
        return total.reshape(len(rows), self._inputs)


class _Forest:
    """The mean of its trees; of classifiers, in probability."""

    def __init__(self, members: list[Any], sources: Indices, inputs: int) -> None:
        self._trees = [_Paths(member.tree_, sources, inputs) for member in members]
        self._base = np.mean([tree.base for tree in self._trees], axis=0)

    def __call__(self, rows: Any, chosen: Indices) -> Contributions:
        matrix = _matrix(rows)
        values = sum(tree(matrix, chosen) for tree in self._trees) / len(self._trees)
        return Contributions(self._base[chosen], np.asarray(values))


class _Boosted:
    """Gradient boosting in log-odds or value; the base is what its initial estimator says, and the roots."""

    def __init__(self, estimator: Any, sources: Indices, inputs: int) -> None:
        self._estimator, self._inputs = estimator, inputs
        self._stages = [
            [_Paths(tree.tree_, sources, inputs) for tree in row] for row in estimator.estimators_
        ]

    def __call__(self, rows: Any, chosen: Indices) -> Contributions:
        matrix, rate = _matrix(rows), self._estimator.learning_rate
        start, only = self._estimator._raw_predict_init(matrix), np.zeros(len(chosen), dtype=np.intp)
        base, values = np.empty(len(chosen)), np.zeros((len(chosen), self._inputs))
        score = chosen if start.shape[1] > 1 else only
        for k in np.unique(score):
            of_class = np.flatnonzero(score == k)
            trees = [stage[k] for stage in self._stages]
            base[of_class] = start[of_class, k] + rate * sum(float(tree.base[0]) for tree in trees)
            part, zeros = matrix[of_class], only[of_class]
            values[of_class] = rate * sum(tree(part, zeros) for tree in trees)
        return Contributions(base, values)


def _matrix(rows: Any) -> npt.NDArray[np.float32]:
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    return np.ascontiguousarray(dense, dtype=np.float32)
