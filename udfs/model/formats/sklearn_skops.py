"""Loads scikit-learn estimators and pipelines written with skops, which runs no code of their maker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from skops import io

from udfs.errors import ModelError
from udfs.model.formats.sklearn_joblib import SklearnModel
from udfs.model.manifest import Signature

# Classes of fitted estimators beyond those that skops trusts. Their loading sets attributes, and calls
# nothing that the file chooses.
SAFE_TYPES = frozenset(
    [
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    ]
)


def unsafe_types(data: bytes) -> list[str]:
    """The names of all types in a skops file that must be trusted by name, sorted."""
    return sorted(set(io.get_untrusted_types(data=data)) - SAFE_TYPES)


def check_types(data: bytes, trusted: Sequence[str]) -> None:
    """Raise `ModelError` when a skops file holds types that are neither safe nor in `trusted`."""
    unknown = [name for name in unsafe_types(data) if name not in trusted]
    if unknown:
        raise ModelError(
            f"the skops model must hold only types that are safe or in trusted_types ({_listed(trusted)}); "
            f"got {_listed(unknown)}"
        )


def load(data: bytes, signature: Signature, trusted: Sequence[str] = ()) -> SklearnModel:
    """Build an estimator that holds only types that are safe or that `trusted` names."""
    return SklearnModel(read_estimator(data, trusted), signature)


def read_estimator(data: bytes, trusted: Sequence[str] = ()) -> Any:
    """The estimator in a skops file. Raises `ModelError` as `check_types` does."""
    check_types(data, trusted)
    return io.loads(data, trusted=[*SAFE_TYPES, *trusted])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
